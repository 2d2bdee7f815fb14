"""Which attempts end, by the changes of all queues, read on from where it was begun."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tocsin_server.domain.clock import EndedRun
from tocsin_server.domain.filters import JobFilter, ListQuery
from tocsin_server.domain.job import Job
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

_AT_ONCE = timedelta(0)
_RUNNING = JobFilter(states=frozenset({State.ACTIVE}))
_PAGE = 1_000


class EndedRuns:
    """Follows the queues. Each attempt's beginning and end are changes of their own."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._cursors: dict[str, str] = {}
        self._running: dict[tuple[str, str], Job] = {}
        self._ended: list[EndedRun] = []

    async def begin(self, queues: Sequence[str]) -> None:
        """Follow from now on; what runs already counts once it ends."""
        await asyncio.gather(*(self._begin_queue(queue) for queue in queues))

    async def read(self, queues: Sequence[str]) -> bool:
        """Whether anything has changed since the last reading. A queue that is new is followed from its beginning."""
        return any(await asyncio.gather(*(self._read_queue(queue) for queue in queues)))

    async def wait(self, queues: Sequence[str], seconds: float) -> None:
        """Until something may have changed in one of these queues, for so long at most. They were read before."""
        within = timedelta(seconds=seconds)
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._store.events(queue, self._cursors[queue], wait=within, limit=1))
            for queue in queues
        ]
        waits = waits or [asyncio.ensure_future(asyncio.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def take(self) -> list[EndedRun]:
        """What has ended since the last taking, in an order that does not hang on who was faster."""
        ended, self._ended = sorted(self._ended, key=lambda run: run.order), []
        return ended

    async def _begin_queue(self, queue: str) -> None:
        self._cursors[queue] = await self._store.cursor(queue)
        page = await self._store.page(ListQuery(queue, _RUNNING, limit=_PAGE, with_total=False))
        self._running |= {(queue, job.job_id): job for job in page.jobs}

    async def _read_queue(self, queue: str) -> bool:
        if queue not in self._cursors:
            await self._begin_queue(queue)
            return True
        changed = False
        while True:
            batch = await self._store.events(queue, self._cursors[queue], wait=_AT_ONCE)
            self._cursors[queue] = batch.cursor
            if not batch.events:
                return changed or batch.gap
            changed = True
            for event in batch.events:
                self._take(event.job)

    def _take(self, job: Job) -> None:
        key = job.queue, job.job_id
        if job.state is State.ACTIVE:
            self._running.setdefault(key, job)
            return
        began = self._running.pop(key, None)
        if began is None:
            return
        error = next((one for one in reversed(job.errors) if one.attempt == began.attempt), None)
        self._ended.append(
            EndedRun(
                queue=job.queue,
                job_id=job.job_id,
                type=job.spec.type,
                attempt=began.attempt,
                due=began.schedule_time,
                start=began.start_time or began.schedule_time,
                state=job.state,
                error="" if error is None else f"{error.type}: {error.message}",
                arrival=began.arrival,
            )
        )
