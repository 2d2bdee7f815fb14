"""Times that have passed become jobs, as somebody asks for them: of the days before a schedule was made, or of those on
which it was paused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from tocsin_server.domain.errors import OutcomeUnknown
from tocsin_server.domain.job import View
from tocsin_server.domain.nominal_times import job_id_of
from tocsin_server.domain.schedules.backfill import BackfilledTime, backfill_times
from tocsin_server.domain.schedules.errors import CalendarNotFound, ScheduleNotFound
from tocsin_server.domain.schedules.firing import MOST_FIRED
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.schedules.timing import Occurrence
from tocsin_server.operations.calendars import calendars_of, reckoned
from tocsin_server.store.interface import JobStore

#: A schedule is fired while it is backfilled, mostly once; so often a step is tried.
_ROUNDS = 20
_CALL_BYTES = 1 << 20  # of payloads in a step


async def backfill(
    store: JobStore, queue: str, schedule_id: str, start: datetime, end: datetime, *, dry_run: bool = False
) -> list[BackfilledTime]:
    """What becomes of a schedule's times from `start` on and before `end`, and of none that is its own yet (see
    domain/schedules/backfill.py). Their jobs are due at once, whatever overlap and max_runs say; one whose id stands is
    kept. ScheduleNotFound, CalendarNotFound, TooManyTimes; InvalidFields for a calendar that its zone cannot read;
    QuotaExceeded, which leaves what was made before.
    """
    schedule = await _read(store, queue, schedule_id)
    calendars = await calendars_of(store, [schedule])
    if absent := sorted({*schedule.calendar_names} - calendars.keys()):
        raise CalendarNotFound(absent[0])
    reckoning, now = reckoned(schedule, calendars), await store.ping()
    # Off the loop: a thousand times that calendars move take a second.
    times = await asyncio.to_thread(backfill_times, schedule, reckoning, start, end, now)
    kept: set[datetime] = set()
    for part in _parts([one for one in times if one.runs], schedule):
        kept |= await _make(store, schedule, part, dry_run=dry_run)
    return [
        BackfilledTime(one, job_id_of(schedule_id, one.time) if one.runs else None, one.time in kept) for one in times
    ]


async def _make(store: JobStore, schedule: Schedule, times: Sequence[Occurrence], *, dry_run: bool) -> set[datetime]:
    """Make the jobs of these times, and count them; the times whose jobs stood already."""
    queue, schedule_id = schedule.spec.queue, schedule.spec.schedule_id
    for _ in range(_ROUNDS):
        schedule = await _read(store, queue, schedule_id)
        drafts = [schedule.draft(one) for one in times]
        standing = await store.get(queue, [str(draft.job_id) for draft in drafts], View.BASIC)
        missing = [draft for draft, job in zip(drafts, standing, strict=True) if job is None]
        after = replace(schedule, backfilled=schedule.backfilled + len(missing))
        if dry_run or not missing or await store.schedules.put_schedule(after, missing):
            return {one.time for one, job in zip(times, standing, strict=True) if job is not None}
    raise OutcomeUnknown(f"schedule {schedule_id!r} is changed by others all the time")


async def _read(store: JobStore, queue: str, schedule_id: str) -> Schedule:
    [found] = await store.schedules.read_schedules(queue, [schedule_id])
    if found is None:
        raise ScheduleNotFound(queue, schedule_id)
    return found


def _parts(times: Sequence[Occurrence], schedule: Schedule) -> Iterator[Sequence[Occurrence]]:
    """As many as a step may make. Each bears the payload."""
    payload = schedule.spec.job.payload
    most = max(1, min(MOST_FIRED, _CALL_BYTES // max(1, len(payload.body) if payload else 0)))
    for start in range(0, len(times), most):
        yield times[start : start + most]
