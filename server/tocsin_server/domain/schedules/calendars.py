"""Calendars that are kept: named days off, which schedules of any queue name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tocsin_server.domain.record import record
from tocsin_server.domain.schedules.timing import Calendar, Timing


@record
class KeptCalendar:
    """A calendar as it stands."""

    name: str
    days: Calendar
    note: str = ""
    revision: int = 1  # grows by 1 with each change
    update_time: datetime | None = None


@record
class CalendarUser:
    """A schedule of which it is known that it names a calendar, or did. `token` is another one whenever somebody is
    about to write the schedule; `pending`: somebody is, so what the schedule names now says little."""

    queue: str
    schedule_id: str
    token: str
    pending: bool


#: Calendars by name, those that are there of what somebody asked for.
Calendars = Mapping[str, KeptCalendar]


def days_of(calendars: Calendars) -> dict[str, Calendar]:
    """What reckoning asks of them."""
    return {name: kept.days for name, kept in calendars.items()}


def revisions_of(timing: Timing, calendars: Calendars) -> tuple[int, ...]:
    """The revisions of the calendars that a timing names, in its order. LookupError for one that is not there."""
    for use in timing.calendars:
        if use.name not in calendars:
            raise LookupError(f"calendar {use.name!r} is not there: make it anew, or change the schedule")
    return tuple(calendars[use.name].revision for use in timing.calendars)
