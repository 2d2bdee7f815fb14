"""Schedules and calendars of another store put in their place, so that no time is fired twice and none is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tocsin_server.domain.errors import InvalidFields, OutcomeUnknown, QuotaExceeded, TocsinError
from tocsin_server.domain.job import Put
from tocsin_server.domain.schedules.calendars import Calendars, KeptCalendar, revisions_of
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.operations.calendars import KeptCalendars, about_to_name
from tocsin_server.store.interface import JobStore

_ROUNDS = 20  # a schedule is fired while it is written over, mostly once


async def place_schedules(store: JobStore, schedules: Sequence[Schedule], *, over: bool) -> list[Put | TocsinError]:
    """Put schedules in place; of each what that did. InvalidFields for one that names a calendar that is not there."""
    return [await _placed(store, one, over=over) for one in schedules]


async def place_calendars(store: JobStore, calendars: Sequence[KeptCalendar], *, over: bool) -> list[Put | TocsinError]:
    """Put calendars in place; schedules that name one which is written over are reckoned anew."""
    done: list[Put | TocsinError] = []
    for calendar in calendars:
        [stands] = await store.calendars.read_calendars([calendar.name])
        if stands is not None and (stands.days, stands.note) == (calendar.days, calendar.note):
            done.append(Put.SAME)
        elif stands is not None and not over:
            done.append(Put.KEPT)
        else:
            try:
                await KeptCalendars(store).put(KeptCalendar(calendar.name, calendar.days, calendar.note))
                done.append(Put.CREATED if stands is None else Put.REPLACED)
            except QuotaExceeded as error:
                done.append(error)
    return done


async def _placed(store: JobStore, schedule: Schedule, *, over: bool) -> Put | TocsinError:
    spec = schedule.spec
    try:
        async with about_to_name(store, spec) as calendars:
            for _ in range(_ROUNDS):
                [stands] = await store.schedules.read_schedules(spec.queue, [spec.schedule_id])
                if stands is not None and is_same(schedule, stands):
                    return Put.SAME
                if stands is not None and not over:
                    return Put.KEPT
                after = by_their_calendars(further(schedule, stands), calendars)
                if await store.schedules.put_schedule(replace(after, stamp="" if stands is None else stands.stamp)):
                    return Put.CREATED if stands is None else Put.REPLACED
    except InvalidFields as error:
        return error
    raise OutcomeUnknown(f"schedule {spec.schedule_id!r} is changed by others all the time")


def is_same(one: Schedule, other: Schedule) -> bool:
    """Whether both are one, as far as it has come; the revisions of calendars are each store's own."""
    return replace(one, calendar_revisions=()) == replace(other, calendar_revisions=())


def further(schedule: Schedule, stands: Schedule | None) -> Schedule:
    """The schedule, no less far than it has come where it stands: a time that was fired there is not fired again."""
    if stands is None or stands.create_time != schedule.create_time or _times(stands) <= _times(schedule):
        return schedule
    return replace(stands, spec=schedule.spec, revision=max(schedule.revision, stands.revision))


def by_their_calendars(schedule: Schedule, calendars: Calendars) -> Schedule:
    """The schedule as one that was reckoned by the calendars here, whose days are those of where it comes from, or else
    hold for the times after the next one."""
    return replace(schedule, calendar_revisions=revisions_of(schedule.spec.timing, calendars))


def _times(schedule: Schedule) -> int:
    """How many of its times were dealt with."""
    return schedule.fired + schedule.missed + schedule.overlap_skipped
