"""Calendars that are kept, as users see them and put them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypedDict

from tocsin._times import time_in
from tocsin.v1 import calendar_pb2


class CalendarOptions(TypedDict, total=False):
    """Days that are excluded: all that any of these names."""

    dates: Sequence[date | str]  # "2026-12-25"
    weekdays: Sequence[str]  # "SAT"
    ics: str  # an iCalendar text
    time_zone: str  # whose days they are; that of each schedule
    note: str


@dataclass(frozen=True, slots=True)
class KeptCalendar:
    """A calendar that is kept. `message` is the tocsin.v1 message it was read from."""

    name: str
    dates: tuple[date, ...]
    weekdays: tuple[str, ...]
    ics: str = field(repr=False)
    time_zone: str
    note: str
    revision: int
    update_time: datetime | None
    message: calendar_pb2.Calendar = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: calendar_pb2.Calendar) -> KeptCalendar:
        """The calendar that a message holds."""
        return cls(
            name=message.name,
            dates=tuple(map(date.fromisoformat, message.dates)),
            weekdays=tuple(message.weekdays),
            ics=message.ics,
            time_zone=message.time_zone,
            note=message.note,
            revision=message.revision,
            update_time=time_in(message, "update_time"),
            message=message,
        )
