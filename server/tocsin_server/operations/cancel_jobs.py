"""Cancelling jobs by their ids: concurrent calls gathered into one store call."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from tocsin_server.background import Unbroken
from tocsin_server.domain.changes import CancelJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job
from tocsin_server.operations.gathering import Gathering
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log


class CancelJobs:
    """Cancels what waits, and asks what runs to stop. Calls about one job are gathered (gathering.py); those about
    several have company enough and go by themselves. A store call is not cancelled with its callers."""

    def __init__(self, store: JobStore, *, linger: timedelta = timedelta(milliseconds=3)) -> None:
        self._store = store
        self._gathering = Gathering(store.cancel, linger)
        self._unbroken = Unbroken()

    async def cancel(self, queue: str, wishes: Sequence[CancelJob]) -> Sequence[Job | TocsinError]:
        """As `JobStore.cancel` does. CancelledUnsent where the caller is cancelled and nothing was sent for it."""
        if len(wishes) == 1:
            jobs: Sequence[Job | TocsinError] = [await self._gathering.send(queue, wishes[0])]
        else:
            jobs = await self._unbroken.run(self._store.cancel(queue, wishes))
        job_log.cancel_asked(jobs)
        return jobs

    async def close(self) -> None:
        """Wait until all store calls have ended."""
        await self._unbroken.close()
        await self._gathering.close()
