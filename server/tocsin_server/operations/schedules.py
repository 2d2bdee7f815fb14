"""KeptSchedules as callers keep them: made, looked at, changed, and run out of turn."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.errors import OutcomeUnknown
from tocsin_server.domain.schedules.calendars import Calendars, revisions_of
from tocsin_server.domain.schedules.errors import CalendarNotFound, ScheduleChanged, ScheduleExists, ScheduleNotFound
from tocsin_server.domain.schedules.firing import unfired
from tocsin_server.domain.schedules.ics import UnreadCalendar
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Occurrence
from tocsin_server.domain.times import time_to_ms, to_time
from tocsin_server.operations.calendars import about_to_name, calendars_of, reckoned
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.store.interface import JobStore

#: A schedule is fired while it is changed, mostly once; so often a change is tried.
_ROUNDS = 20


class KeptSchedules:
    """All queues' schedules."""

    def __init__(self, store: JobStore, scheduling: ScheduleJobs) -> None:
        self._store = store
        self._scheduling = scheduling

    async def create(self, spec: ScheduleSpec, job: JobRequest) -> Schedule:
        """Make it stand; its first time is the first after now. ScheduleExists; InvalidFields for a calendar that is
        not there."""
        draft = await self._scheduling.draft(job)
        async with about_to_name(self._store, spec) as calendars:
            now = await self._store.ping()
            schedule = await _from_now_on(Schedule(replace(spec, job=draft.spec), now, None), calendars, now)
            if not await self._store.schedules.put_schedule(schedule):
                raise ScheduleExists(spec.queue, spec.schedule_id)
        return schedule

    async def get(self, queue: str, schedule_id: str) -> Schedule:
        """ScheduleNotFound."""
        [found] = await self._store.schedules.read_schedules(queue, [schedule_id])
        if found is None:
            raise ScheduleNotFound(queue, schedule_id)
        return found

    async def update(
        self,
        queue: str,
        schedule_id: str,
        changed: Callable[[Schedule], tuple[ScheduleSpec, JobRequest]],
        *,
        revision: int = 0,
    ) -> Schedule:
        """Let `changed` say what is asked for now, from what stands. ScheduleNotFound; ScheduleChanged where a revision
        is given and another one stands."""
        for _ in range(_ROUNDS):
            before = await self.get(queue, schedule_id)
            if revision and before.revision != revision:
                raise ScheduleChanged(queue, schedule_id, revision, before.revision)
            spec, job = changed(before)
            spec = replace(spec, job=(await self._scheduling.draft(job)).spec)
            if (after := await self._put(before, spec)) is not None:
                return after
        raise OutcomeUnknown(f"schedule {schedule_id!r} is changed by others all the time")

    async def pause(self, queue: str, schedule_id: str, reason: str) -> Schedule:
        """It does not run from now on. ScheduleNotFound."""
        return await self._pause(queue, schedule_id, reason, paused=True)

    async def resume(self, queue: str, schedule_id: str) -> Schedule:
        """It goes on with its first time after now. ScheduleNotFound, CalendarNotFound; InvalidFields for a calendar
        that its zone cannot read."""
        return await self._pause(queue, schedule_id, "", paused=False)

    async def delete(self, queue: str, schedule_id: str) -> None:
        """ScheduleNotFound."""
        names = (await self.get(queue, schedule_id)).calendar_names
        token, calendars = secrets.token_hex(8), self._store.calendars
        if names:
            await calendars.use_calendars(names, queue, schedule_id, token)
        stood = await self._store.schedules.delete_schedule(queue, schedule_id)
        if names:
            await calendars.used_calendars(names, queue, schedule_id, token, gone=True)
        if not stood:
            raise ScheduleNotFound(queue, schedule_id)

    async def calendars(self, schedule: Schedule) -> Calendars:
        """The calendars that it names, as far as they are there."""
        return await calendars_of(self._store, [schedule])

    async def trigger(self, queue: str, schedule_id: str) -> str:
        """Run it now, whatever else it says; the id of the job. ScheduleNotFound, QuotaExceeded."""
        for _ in range(_ROUNDS):
            before = await self.get(queue, schedule_id)
            now = to_time(time_to_ms(await self._store.ping()))
            draft = before.draft(_unplanned(now))
            after = replace(before, last_time=now, fired=before.fired + 1)
            if after.runs_left == 0:
                after = replace(after, next_time=None)
            if await self._store.schedules.put_schedule(after, [draft]):
                return str(draft.job_id)
        raise OutcomeUnknown(f"schedule {schedule_id!r} is changed by others all the time")

    async def _pause(self, queue: str, schedule_id: str, reason: str, *, paused: bool) -> Schedule:
        for _ in range(_ROUNDS):
            before = await self.get(queue, schedule_id)
            if before.spec.paused == paused:
                return before
            if (after := await self._put(before, replace(before.spec, paused=paused, pause_reason=reason))) is not None:
                return after
        raise OutcomeUnknown(f"schedule {schedule_id!r} is changed by others all the time")

    async def _put(self, before: Schedule, spec: ScheduleSpec) -> Schedule | None:
        """What stands with this spec; None where somebody was faster."""
        if spec == before.spec:
            return before
        after = replace(before, spec=spec, revision=before.revision + 1)
        put = self._store.schedules.put_schedule
        if (spec.timing, spec.paused) == (before.spec.timing, before.spec.paused):
            return after if await put(after) else None
        calendars, now = await self.calendars(before), await self._store.ping()
        after = replace(after, missed=before.missed + _dropped(before, calendars, now))
        if spec.timing == before.spec.timing:
            if not spec.paused and (gone := sorted({*before.calendar_names} - calendars.keys())):
                raise CalendarNotFound(gone[0])
            after = await _from_now_on(after, calendars, now)
            return after if await put(after) else None
        async with about_to_name(self._store, spec) as calendars:
            after = await _from_now_on(after, calendars, now)
            return after if await put(after) else None


def _dropped(before: Schedule, calendars: Calendars, now: datetime) -> int:
    """How many times a change drops that have come and were not fired yet: they are missed then."""
    if {*before.calendar_names} - calendars.keys():  # nobody can say
        return 0
    try:
        reckoning = before.reckoning(calendars)
    except UnreadCalendar:
        return 0
    return unfired(before, reckoning, now)


async def _from_now_on(schedule: Schedule, calendars: Calendars, now: datetime) -> Schedule:
    """One that is paused can be so also where a calendar that it names is not there."""
    if schedule.spec.paused:
        return schedule.from_now_on(None, now)
    reckoning = reckoned(schedule, calendars)
    if calendars:  # which may have a thousand days off to look through, in seconds: other calls go on meanwhile
        after = await asyncio.to_thread(schedule.from_now_on, reckoning, now)
    else:
        after = schedule.from_now_on(reckoning, now)
    return replace(after, calendar_revisions=revisions_of(schedule.spec.timing, calendars))


def _unplanned(now: datetime) -> Occurrence:
    return Occurrence(now, now, now, runs=True)
