"""Fires schedules: makes the jobs of the times that have come, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime

import structlog

from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import View
from tocsin_server.domain.limits import DEFAULT_GRACE
from tocsin_server.domain.queues import QueueSettings, Tick
from tocsin_server.domain.schedules.calendars import Calendars
from tocsin_server.domain.schedules.firing import FiringStep, next_step
from tocsin_server.domain.schedules.standing import Overlap, Schedule
from tocsin_server.domain.states import ENDED
from tocsin_server.maintenance.chore import QueueChore
from tocsin_server.operations.calendars import calendars_of
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore
from tocsin_server.store.schedule_store import DueSchedules, ScheduleWrite
from tocsin_server.telemetry.metrics import Metrics

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_PAGE = 500  # schedules a step
_PART = 50  # of them written in one call, while the next are reckoned
_IN_A_ROW = 20  # so many are reckoned, in some 2 ms, before others have the event loop


class ScheduleFirer(QueueChore):
    """Looks at schedules whose time has come, in any queue, at that time. Any number of servers may: a step is written
    on the condition that the schedule stands as it was read, so one does it.

    A schedule of which one run waits for the end of the job before it (QUEUE_ONE) is looked at each tick: whatever
    ended that job, it is gone or has an end state then.

    Those of a queue that drains go on to their next time and make no job, as if they were paused.

    metrics: counts what was fired and missed. settings_of: a queue's settings, as they are at hand.
    """

    name = "schedule_firer"
    # Of a step the store has a fifth; the rest is this process reckoning, beside its calls. And people wait for it.
    rests = False

    def __init__(
        self,
        store: JobStore,
        clock: StoreClock,
        metrics: Metrics | None = None,
        settings_of: Callable[[str], Awaitable[QueueSettings]] | None = None,
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self._store = store
        self._clock = clock
        self._settings_of = settings_of
        self._coming: dict[str, datetime] = {}  # by queue, when the first of its schedules is due
        self._skip: dict[str, int] = {}  # where the pass over a queue goes on: so many stay due that were looked at
        self._again: set[str] = set()  # queues in which a further step is due at once

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        for queue, tick in ticks.items():
            if tick.next_schedule is None:
                self._coming.pop(queue, None)
            else:
                self._coming[queue] = tick.next_schedule
        self._notice_due()

    def keep(self, queues: Collection[str]) -> None:
        self._coming = {queue: time for queue, time in self._coming.items() if queue in queues}
        self._skip = {queue: skip for queue, skip in self._skip.items() if queue in queues}
        self._again &= set(queues)

    def next_time(self) -> datetime | None:
        return min(self._coming.values(), default=None)

    async def step(self) -> bool:
        self._notice_due()
        return await super().step()

    async def do(self, queue: str) -> bool:
        skip = self._skip.pop(queue, 0)
        due = await self._store.schedules.due_schedules(queue, skip=skip, limit=_PAGE)
        stay = await self._fire(queue, due)
        if due.more:
            self._skip[queue] = skip + stay
            return True
        again = queue in self._again
        self._again.discard(queue)
        return again

    def _notice_due(self) -> None:
        now = self._clock.now()
        for queue in [queue for queue, time in self._coming.items() if time <= now]:
            del self._coming[queue]  # the next tick tells when the next one is
            self.notice(queue)

    async def _fire(self, queue: str, due: DueSchedules) -> int:
        """Do the next step of each; how many stay due. One part is written while the next one is reckoned."""
        calendars = await calendars_of(self._store, due.schedules)
        draining = self._settings_of is not None and (await self._settings_of(queue)).draining
        stay, writing = 0, None
        try:
            for start in range(0, len(due.schedules), _PART):
                part = due.schedules[start : start + _PART]
                going = await self._going(queue, part)
                steps = await self._reckoned(part, due.now, going, calendars, draining=draining)
                stay += len(part) - len(steps)
                if writing is not None:
                    stay += await writing
                writing = asyncio.ensure_future(self._carry_out(queue, steps, due.now))
            return stay if writing is None else stay + await writing
        finally:
            if writing is not None:
                await asyncio.gather(writing, return_exceptions=True)

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

    async def _reckoned(
        self,
        schedules: Sequence[Schedule],
        now: datetime,
        going: Collection[str],
        calendars: Calendars,
        *,
        draining: bool,
    ) -> list[tuple[Schedule, FiringStep]]:
        """What each of them is to do next, of those that have something to do."""
        steps, broken = [], list[tuple[Schedule, Exception]]()
        for at, schedule in enumerate(schedules):
            if at % _IN_A_ROW == 0:
                await asyncio.sleep(0)
            is_going = schedule.last_job_id in going
            try:
                if draining:
                    later = schedule.from_now_on(schedule.reckoning(calendars), now)
                    steps.append((schedule, FiringStep((), None, later, more=False)))
                    continue
                if schedule.calendar_names:  # these may exclude years of times: others have the event loop meanwhile
                    current, step = await asyncio.to_thread(_step, schedule, calendars, now, going=is_going)
                else:
                    current, step = _step(schedule, calendars, now, going=is_going)
            except (LookupError, ValueError) as error:
                # A calendar is not there; or a later server made it, and this one cannot reckon it.
                broken.append((schedule, error))
                continue
            if step is not None:
                steps.append((schedule, step))
            elif current is not schedule:
                steps.append((schedule, FiringStep((), None, current, more=False)))
        _say_not_fired(broken)
        return steps

    async def _carry_out(self, queue: str, steps: Sequence[tuple[Schedule, FiringStep]], now: datetime) -> int:
        """Do these steps; how many of the schedules stay due."""
        if not steps:
            return 0
        cancels = [
            _cancel(step.cancels, schedule.spec.schedule_id) for schedule, step in steps if step.cancels is not None
        ]
        if cancels:
            await self._store.cancel(queue, cancels)
        writes = [ScheduleWrite(step.after, [before.draft(one) for one in step.fires]) for before, step in steps]
        answers = await self._store.schedules.put_schedules(queue, writes)
        stay, refused = 0, list[tuple[Schedule, Exception]]()
        for (before, step), answer in zip(steps, answers, strict=True):
            if isinstance(answer, TocsinError):  # the queue has no room
                refused.append((before, answer))
            elif answer:
                look = step.after.look_time
                stay += look is not None and look <= now
                if step.more:
                    self._again.add(queue)
                missed = step.after.missed - before.missed
                if self._metrics is not None:
                    self._metrics.schedules_acted(queue, fired=len(step.fires), missed=missed)
                if missed:
                    _log.info("schedule_missed", queue=queue, schedule_id=before.spec.schedule_id, times=missed)
        _say_not_fired(refused)
        return stay + len(refused)


def _step(
    schedule: Schedule, calendars: Calendars, now: datetime, *, going: bool
) -> tuple[Schedule, FiringStep | None]:
    """The schedule by its calendars of now, also where their change is still on its way to it, and what it is to do."""
    current = schedule if schedule.reckoned_by(calendars) else schedule.by_calendars(calendars, now)
    return current, next_step(current, current.reckoning(calendars), now, going=going)


def _say_not_fired(schedules: Sequence[tuple[Schedule, Exception]]) -> None:
    """One line, however many they are: a queue without room has all of them come up each second."""
    if schedules:
        spec, error = schedules[0][0].spec, schedules[0][1]
        said = {"queue": spec.queue, "schedule_id": spec.schedule_id, "schedules": len(schedules)}
        _log.warning("schedule_not_fired", **said, error=str(error))


def _cancel(job_id: str, schedule_id: str) -> CancelJob:
    return CancelJob(job_id, f"the next run of schedule {schedule_id!r} is due", "", DEFAULT_GRACE)
