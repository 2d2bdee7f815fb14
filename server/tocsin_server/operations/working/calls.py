"""What workers ask for call by call, without a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from tocsin_server.background import Unbroken
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job_errors import LeaseLost
from tocsin_server.domain.lease import Claimed, Extended, Extension, Finished
from tocsin_server.domain.workers import Poll, WorkerIdentity
from tocsin_server.operations.finishing import STORE_TROUBLE, EndedAttempt
from tocsin_server.operations.working.handing_back import HandingBack
from tocsin_server.operations.working.outcomes import Outcomes
from tocsin_server.operations.working.polling import Polling
from tocsin_server.operations.working.workers import Workers
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log


class WorkerCalls:
    """Leases, extends and finishes for workers, and remembers who called."""

    def __init__(
        self, store: JobStore, polling: Polling, outcomes: Outcomes, workers: Workers, handing_back: HandingBack
    ) -> None:
        self._store = store
        self._polling = polling
        self._outcomes = outcomes
        self._workers = workers
        self._handing_back = handing_back
        self._unbroken = Unbroken()

    @asynccontextmanager
    async def leased(self, poll: Poll, left: float | None) -> AsyncIterator[Sequence[Claimed]]:
        """As Polling.leased."""
        with self._workers.polling(poll):
            async with self._polling.leased(poll, left) as claimed:
                if claimed:
                    self._workers.leased(poll, claimed)
                try:
                    yield claimed
                except BaseException:
                    self._workers.done(poll.worker, [one.lease for one in claimed])
                    raise

    def give_back(self, worker: WorkerIdentity, claimed: Sequence[Claimed]) -> None:
        """Jobs of a poll that do not fit into its answer."""
        leases = [one.lease for one in claimed]
        self._workers.done(worker, leases)
        self._handing_back.give_back(leases)

    async def report(self, worker: WorkerIdentity, ended: Sequence[EndedAttempt]) -> Sequence[Finished | TocsinError]:
        """What became of each outcome, in order. Raises only where all of it failed: what the store raises."""
        done = await self._outcomes.report([self._known(one) for one in ended])
        over = [one.lease for one, answer in zip(ended, done, strict=True) if not isinstance(answer, STORE_TROUBLE)]
        self._workers.done(worker, over)
        return done

    async def extend(
        self, worker: WorkerIdentity, lease: timedelta, beats: Sequence[tuple[Extension, str]]
    ) -> Sequence[Extended | TocsinError]:
        """Let leases last so long from now; each comes with its job's type. As JobStore.extend."""
        job_log.progressed((type_, extension) for extension, type_ in beats)
        answers = await self._unbroken.run(self._store.extend([extension for extension, _ in beats], lease))
        lost, kept = [], []
        for (extension, type_), answer in zip(beats, answers, strict=True):
            if isinstance(answer, Extended):
                kept.append((extension.lease, type_))
            elif isinstance(answer, LeaseLost):
                lost.append(extension.lease)
        self._workers.extended(worker, lease, kept)
        self._workers.done(worker, lost)
        return answers

    async def close(self) -> None:
        """Wait until all store calls have ended."""
        await self._polling.close()
        await self._outcomes.close()
        await self._unbroken.close()

    def drain(self) -> None:
        """End all polls with Draining."""
        self._polling.drain()

    def _known(self, ended: EndedAttempt) -> EndedAttempt:
        """With what is known here of its job."""
        held = self._workers.held(ended.lease)
        if held is None or held.retry is None:
            return ended
        return replace(ended, retry=held.retry, failures=held.failures, took=held.seconds)
