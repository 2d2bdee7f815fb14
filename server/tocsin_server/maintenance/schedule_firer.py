"""Fires schedules: makes the jobs of the times that have come, within a tick of their time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import structlog

from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.errors import QuotaExceeded
from tocsin_server.domain.job import View
from tocsin_server.domain.limits import DEFAULT_GRACE
from tocsin_server.domain.queues import Tick
from tocsin_server.domain.schedules.firing import next_step
from tocsin_server.domain.schedules.standing import Overlap, Schedule
from tocsin_server.domain.states import ENDED
from tocsin_server.maintenance.chore import QueueChore
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry.metrics import Metrics

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_PAGE = 100  # schedules a step
_AT_ONCE = 25  # of them under way


class ScheduleFirer(QueueChore):
    """Looks at schedules whose time has come, in any queue. Any number of servers may: a step is written on the
    condition that the schedule stands as it was read, so one does it.

    A schedule of which one run waits for the end of the job before it (QUEUE_ONE) is looked at each tick: whatever
    ended that job, it is gone or has an end state then.

    metrics: counts what was fired and missed.
    """

    name = "schedule_firer"

    def __init__(self, store: JobStore, clock: StoreClock, metrics: Metrics | None = None) -> None:
        super().__init__()
        self._metrics = metrics
        self._store = store
        self._clock = clock
        self._skip: dict[str, int] = {}  # where the pass over a queue goes on: so many stay due that were looked at
        self._again: set[str] = set()  # queues in which a further step is due at once

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        now = self._clock.now()
        for queue, tick in ticks.items():
            if tick.next_schedule is not None and tick.next_schedule <= now:
                self.notice(queue)

    def keep(self, queues: Collection[str]) -> None:
        self._skip = {queue: skip for queue, skip in self._skip.items() if queue in queues}
        self._again &= set(queues)

    async def do(self, queue: str) -> bool:
        skip = self._skip.pop(queue, 0)
        due = await self._store.schedules.due_schedules(queue, skip=skip, limit=_PAGE)
        going = await self._going(queue, due.schedules)
        stay = 0
        for start in range(0, len(due.schedules), _AT_ONCE):
            part = due.schedules[start : start + _AT_ONCE]
            for more, stays in await asyncio.gather(*(self._look(one, due.now, going) for one in part)):
                stay += stays
                if more:
                    self._again.add(queue)
        if len(due.schedules) == _PAGE:
            self._skip[queue] = skip + stay
            return True
        again = queue in self._again
        self._again.discard(queue)
        return again

    async def _going(self, queue: str, schedules: Sequence[Schedule]) -> frozenset[str]:
        """Ids of the jobs made last that have not ended, where that matters."""
        asked = [
            job_id
            for one in schedules
            if one.spec.overlap is not Overlap.ALLOW or one.held_time is not None
            if (job_id := one.last_job_id) is not None
        ]
        jobs = await self._store.get(queue, asked, View.BASIC) if asked else []
        return frozenset(job.job_id for job in jobs if job is not None and job.state not in ENDED)

    async def _look(self, schedule: Schedule, now: datetime, going: Collection[str]) -> tuple[bool, bool]:
        """Do its next step; whether another is due at once, and whether it stays due."""
        spec = schedule.spec
        try:
            reckoning = schedule.reckoning()
            step = next_step(schedule, reckoning, now, going=schedule.last_job_id in going)
            if step is None:
                return False, True
            if step.cancels is not None:
                await self._store.cancel(spec.queue, [_cancel(step.cancels, spec.schedule_id)])
            drafts = [schedule.draft(one) for one in step.fires]
            if not await self._store.schedules.put_schedule(step.after, drafts):
                return False, False
        except (QuotaExceeded, LookupError, ValueError) as error:
            # The queue has no room; or it is a schedule of a later server, which this one cannot reckon.
            _log.warning("schedule_not_fired", queue=spec.queue, schedule_id=spec.schedule_id, error=str(error))
            return False, True
        missed = step.after.missed - schedule.missed
        if self._metrics is not None:
            self._metrics.schedules_acted(spec.queue, fired=len(drafts), missed=missed)
        if missed:
            _log.info("schedule_missed", queue=spec.queue, schedule_id=spec.schedule_id, times=missed)
        look = step.after.look_time
        return step.more, look is not None and look <= now


def _cancel(job_id: str, schedule_id: str) -> CancelJob:
    return CancelJob(job_id, f"the next run of schedule {schedule_id!r} is due", "", DEFAULT_GRACE)
