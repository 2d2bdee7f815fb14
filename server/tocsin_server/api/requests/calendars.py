"""Requests about calendars, and their days, wherever a request has some."""

from __future__ import annotations

import re
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

from tocsin.v1 import calendar_pb2
from tocsin.v1 import calendar_service_pb2 as pb

from tocsin_server.api import page_tokens
from tocsin_server.api.requests.jobs import check_page_size
from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.ics import UnreadCalendar, read_ics
from tocsin_server.domain.schedules.timing import WEEKDAYS, Calendar
from tocsin_server.domain.time_zones import UnknownZone, zone_of

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NO_ZONE = "is no IANA time zone such as Europe/Berlin"


class NamesCalendar(Protocol):
    """A request about one calendar."""

    @property
    def name(self) -> str:
        """Of the calendar."""


def named_calendar(request: NamesCalendar) -> str:
    """The name, of a request that has nothing else to check."""
    wrong = Violations()
    wrong.name("name", request.name)
    wrong.done()
    return request.name


def list_calendars(request: pb.ListCalendarsRequest) -> tuple[str, int]:
    """The name after which the list goes on, and how many are wanted."""
    wrong = Violations()
    check_page_size(wrong, request.page_size)
    wrong.done()
    after = page_tokens.last_calendar(request.page_token) if request.page_token else ""
    return after, min(request.page_size or limits.CALENDARS_PAGE, limits.CALENDARS_PAGE)


def put_calendar(request: pb.PutCalendarRequest) -> tuple[KeptCalendar, int]:
    """The calendar as it is to stand, and the revision that must stand, 0 for any."""
    wrong, calendar = Violations(), request.calendar
    if not request.HasField("calendar"):
        wrong.add("calendar", "is needed")
        wrong.done()
    wrong.name("calendar.name", calendar.name)
    days = check_calendar(wrong, "calendar", calendar, zone_of(""))
    wrong.text("calendar.note", calendar.note, limits.REASON_BYTES)
    if calendar.revision < 0:
        wrong.add("calendar.revision", f"is {calendar.revision:,}; 0 stands for any, negative is refused")
    wrong.done()
    return KeptCalendar(calendar.name, days, calendar.note), calendar.revision


def check_calendar(
    wrong: Violations, path: str, calendar: calendar_pb2.Calendar, of_schedule: ZoneInfo | None
) -> Calendar:
    """Its days, also where something is wrong with them. `of_schedule`: the zone where it has none of its own."""
    dates: set[date] = set()
    if wrong.count(f"{path}.dates", calendar.dates, limits.CALENDAR_DATES):
        for i, text in enumerate(calendar.dates):
            if (day := _day(text)) is None:
                wrong.add(f"{path}.dates[{i}]", "is no date such as 2026-12-25")
            else:
                dates.add(day)
    weekdays: set[int] = set()
    if wrong.count(f"{path}.weekdays", calendar.weekdays, limits.CALENDAR_WEEKDAYS):
        for i, word in enumerate(calendar.weekdays):
            if word.upper() in WEEKDAYS:
                weekdays.add(WEEKDAYS.index(word.upper()))
            else:
                wrong.add(f"{path}.weekdays[{i}]", f"is none of {', '.join(WEEKDAYS)}")
    if len(weekdays) == len(WEEKDAYS):
        wrong.add(f"{path}.weekdays", "has all seven, which leaves no day to run on")
    zone = check_zone(wrong, f"{path}.time_zone", calendar.time_zone) if calendar.time_zone else of_schedule
    if calendar.ics and zone is not None:
        try:
            read_ics(calendar.ics, zone)  # it remembers: by this zone it is read again when times are reckoned
        except UnreadCalendar as error:
            wrong.add(f"{path}.ics", str(error))
    return Calendar(frozenset(dates), frozenset(weekdays), calendar.ics, calendar.time_zone)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def check_zone(wrong: Violations, field: str, name: str) -> ZoneInfo | None:
    """A zone by its name; empty is UTC."""
    try:
        return zone_of(name)
    except UnknownZone:
        wrong.add(field, _NO_ZONE)
        return None
