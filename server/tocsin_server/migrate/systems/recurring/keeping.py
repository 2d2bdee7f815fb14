"""A schedule that was brought from elsewhere, written where none of its id stands."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Put
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.schedules.timing import Every
from tocsin_server.operations.calendars import about_to_name
from tocsin_server.operations.transfer.recurring import by_their_calendars, place_calendars
from tocsin_server.store.interface import JobStore


async def keep_schedule(store: JobStore, schedule: Schedule, calendars: Sequence[KeptCalendar]) -> Put:
    """CREATED; SAME where it stands already, however far it has come since; KEPT where another one stands, or another
    calendar in the place of one of these, which it names. QuotaExceeded where there are too many calendars."""
    for placed in await place_calendars(store, calendars, over=False):
        if isinstance(placed, TocsinError):
            raise placed
        if placed is Put.KEPT:
            return Put.KEPT
    spec = schedule.spec
    async with about_to_name(store, spec) as named:
        if await store.schedules.put_schedule(by_their_calendars(schedule, named)):
            return Put.CREATED
    [stands] = await store.schedules.read_schedules(spec.queue, [spec.schedule_id])
    return Put.SAME if stands is not None and _is_the_same(schedule, stands) else Put.KEPT


def _is_the_same(schedule: Schedule, stands: Schedule) -> bool:
    """By what it runs and how often: an interval that has gone on meanwhile begins at another of its times."""
    ours, theirs = schedule.spec, stands.spec
    return (_rhythm(schedule), ours.job.type, ours.job.payload) == (
        _rhythm(stands),
        theirs.job.type,
        theirs.job.payload,
    )


def _rhythm(schedule: Schedule) -> object:
    rule = schedule.spec.timing.rule
    return rule.interval if isinstance(rule, Every) else rule
