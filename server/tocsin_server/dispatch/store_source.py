"""The store as the worker runtime's source of jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta

from tocsin.tracing import TraceContext
from tocsin.worker.slots import FreeSlots
from tocsin.worker.source import AttemptOutcome, Heartbeat, HeartbeatAnswer, LeasedJob, Seat, Source

from tocsin_server.domain import limits
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import JobError
from tocsin_server.domain.job_errors import LeaseLost
from tocsin_server.domain.lease import Claimed, Ending, Extended, Extension, LimitPause
from tocsin_server.domain.logs import LogLine
from tocsin_server.domain.queues import HeldJob
from tocsin_server.operations.finishing import EndedAttempt, shorten
from tocsin_server.operations.leasing.holdings import Held, named
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.leasing.seats import Capacity
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log

#: The store's word for a runtime's, of which it has one or two more.
_ENDINGS = {int(one): one for one in Ending}


class StoreSource(Source):
    """Leases from the store, and records outcomes there.

    lease: how long leases hold unextended. queues: which to take jobs of; None: all. fresh: awaited with a queue
    before it is claimed from, so that the slots are as its settings say. parents: reads those of a job, by its
    queue and id.
    """

    #: Whether its slots are no room for the jobs of other seats, as Seat says.
    _apart = False

    def __init__(
        self,
        store: JobStore,
        leasing: Leasing,
        lease: timedelta = timedelta(seconds=30),
        *,
        queues: Collection[str] | None = None,
        fresh: Callable[[str], Awaitable[None]] | None = None,
        parents: Callable[[str, str], Awaitable[Sequence[bytes | None]]] | None = None,
    ) -> None:
        self._store = store
        self._leasing = leasing
        self._finishing = leasing.finishing
        self._lease = lease
        self._queues = queues
        self._fresh = fresh
        self._parents = parents
        self._extending: set[asyncio.Future[list[Extended | TocsinError]]] = set()
        self._beat = asyncio.Event()
        self._holder = leasing.holdings.holder(lambda queue: self._beat.set())

    def sit(
        self,
        types: Collection[str],
        capacity: Callable[[], FreeSlots],
        take: Callable[[Sequence[LeasedJob]], None],
    ) -> Seat:
        return self._seat(types, capacity, take, self._queues)

    def _seat(
        self,
        types: Collection[str],
        capacity: Callable[[], Capacity],
        take: Callable[[Sequence[LeasedJob]], None],
        queues: Collection[str] | None,
    ) -> Seat:
        def begin(claimed: Sequence[Claimed]) -> None:
            self._holder.hold(claimed)
            take([_leased(one) for one in claimed])

        return self._leasing.seat(
            types, capacity, begin, queues=queues, lease=self._lease, fresh=self._fresh, apart=self._apart
        )

    async def extend(self, heartbeats: Sequence[Heartbeat]) -> Sequence[HeartbeatAnswer]:
        held = [self._holder.at(beat.job.queue, beat.job.token) for beat in heartbeats]
        extensions = [
            Extension(one.lease, _progress(beat.progress), tuple(LogLine(level, text) for level, text in beat.log))
            for one, beat in zip(held, heartbeats, strict=True)
            if one is not None
        ]
        asked = time.monotonic()
        answers = iter(await self._extend(extensions) if extensions else [])
        job_log.progressed(zip((one.type for one in held if one is not None), extensions, strict=True))
        found = []
        for one, beat in zip(held, heartbeats, strict=True):
            if one is None:
                found.append(HeartbeatAnswer(lost=True))
                continue
            answer = next(answers)
            if isinstance(answer, Extended):
                one.renewed = one.heard = asked
            elif isinstance(answer, LeaseLost):
                self._holder.forget(beat.job.queue, beat.job.token)  # no outcome will be taken of it
            found.append(_beat_answer(answer))
        return found

    async def parents(self, job: LeasedJob) -> Sequence[bytes | None]:
        return () if self._parents is None else await self._parents(job.queue, job.job_id)

    async def _extend(self, extensions: Sequence[Extension]) -> Sequence[Extended | TocsinError]:
        extending = asyncio.ensure_future(self._store.extend(extensions, self._lease))
        self._extending.add(extending)
        extending.add_done_callback(self._extending.discard)
        return await extending

    def held(self) -> tuple[HeldJob, ...]:
        """Some of what runs here."""
        return named(self._holder.all())

    def overdue(self, age: timedelta) -> Sequence[Held]:
        """As Holder.overdue."""
        return self._holder.overdue(age)

    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[bool]:
        handed_over = [(one.job, one.lease) for one in outcomes if one.lease is not None]
        if not handed_over:
            return await self._finish(outcomes)
        # Those that end here and those that go on elsewhere do not wait for each other.
        here = [outcome for outcome in outcomes if outcome.lease is None]
        handing_over = asyncio.gather(*(self._hand_over(job, lease) for job, lease in handed_over))
        recorded, _ = await asyncio.gather(self._finish(here), handing_over)
        answers = iter(recorded)
        return [outcome.lease is not None or next(answers) for outcome in outcomes]

    async def _finish(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[bool]:
        held = [self._holder.at(outcome.job.queue, outcome.job.token) for outcome in outcomes]
        ended = [_ended(one, outcome) for one, outcome in zip(held, outcomes, strict=True) if one is not None]
        recorded = iter(await self._finishing.finish(ended) if ended else ())
        for outcome in outcomes:
            self._holder.forget(outcome.job.queue, outcome.job.token)
        return [False if one is None else next(recorded) for one in held]

    async def _hand_over(self, job: LeasedJob, span: timedelta) -> None:
        """Leave a lease to whoever the job was handed to. That it is lost says nothing: who is fast has reported."""
        held = self._holder.forget(job.queue, job.token)
        if held is None:
            return
        # No heartbeat is sent from now on; one under way must not make the lease short again afterwards.
        while self._extending:
            await asyncio.wait(set(self._extending))
        await self._finishing.leave(held.lease, span)

    async def lull(self) -> None:
        await self._leasing.lull()

    @property
    def heartbeat_every(self) -> timedelta:
        return self._lease / 3

    async def beat_wanted(self) -> None:
        await self._beat.wait()
        self._beat.clear()


def _leased(claimed: Claimed) -> LeasedJob:
    job, spec = claimed.job, claimed.job.spec
    return LeasedJob(
        queue=spec.queue,
        job_id=job.job_id,
        type=spec.type,
        attempt=claimed.lease.attempt,
        token=claimed.lease.token,
        payload_kind=spec.payload.kind if spec.payload is not None else 0,
        payload_body=spec.payload.body if spec.payload is not None else b"",
        create_time=job.create_time,
        schedule_time=job.schedule_time,
        timeout=spec.terms.timeout,
        failures=job.failures,
        crashes=job.crashes,
        priority=spec.priority,
        tags=spec.tags,
        fired=job.fired,
        trace=None if spec.conditions is NO_CONDITIONS else _trace(spec.conditions),
    )


def _trace(conditions: Conditions) -> TraceContext | None:
    return TraceContext(conditions.traceparent, conditions.tracestate) if conditions.traceparent else None


def _progress(said: tuple[float, str] | None) -> tuple[float, str] | None:
    if said is None:
        return None
    fraction, message = said
    return min(max(fraction, 0.0), 1.0), shorten(message, limits.PROGRESS_MESSAGE_BYTES)


def _beat_answer(answer: Extended | TocsinError) -> HeartbeatAnswer:
    if isinstance(answer, Extended):
        return HeartbeatAnswer(cancel_reason=answer.cancel_reason, cancel_grace=answer.cancel_grace)
    # Anything else than a lost lease is a store that did not answer for this one: the next beat asks again.
    return HeartbeatAnswer(lost=isinstance(answer, LeaseLost))


def _pause(outcome: AttemptOutcome) -> LimitPause | None:
    return None if outcome.retry_in is None else LimitPause(outcome.pause_limit, outcome.retry_in)


def _ended(held: Held, outcome: AttemptOutcome) -> EndedAttempt:
    error = None
    if outcome.error_type or outcome.error_message or outcome.error_trace:
        error = JobError(outcome.error_type, outcome.error_message, outcome.error_trace)
    return EndedAttempt(
        held.lease,
        _ENDINGS[outcome.ending],
        held.retry,
        held.failures,
        result=outcome.result,
        error=error,
        retryable=outcome.retryable,
        retry_in=outcome.retry_in,
        pause=_pause(outcome) if outcome.pause_limit else None,
        reason=outcome.reason,
        type=held.type,
        took=time.monotonic() - held.since,
    )
