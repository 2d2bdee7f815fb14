"""What a schedule says of its times: a cron or an interval, from when to when, how often, and on which days not."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import IntEnum

from tocsin_server.domain.record import record

#: From Monday on, as datetime counts them.
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


class OnExcluded(IntEnum):
    """What becomes of a time on a day that a calendar excludes. The numbers are those of tocsin.v1.CalendarUse."""

    SKIP = 1
    NEXT_DAY = 2  # at the same time of day on the next day that no calendar of the schedule excludes
    PREVIOUS_DAY = 3


@record
class Cron:
    """Lines of cron, which together are a union, by the wall clock of a zone. An empty zone is UTC."""

    lines: tuple[str, ...]
    time_zone: str = ""


@record
class Every:
    """Each `interval` after `anchor`, by elapsed time; the anchor itself is the first of its times.

    Without an anchor of its own it has its schedule's start time, or else the time the schedule was made at.
    """

    interval: timedelta
    anchor: datetime | None = None


@record
class Calendar:
    """Days that are excluded. An empty zone is that of the schedule."""

    dates: frozenset[date] = frozenset()
    weekdays: frozenset[int] = frozenset()  # 0 is Monday, as in datetime
    ics: str = ""
    time_zone: str = ""


@record
class CalendarUse:
    """A calendar by its name, and what it does to a schedule's times."""

    name: str
    on_excluded: OnExcluded = OnExcluded.SKIP


@record
class Timing:
    """All of a schedule that says when it runs."""

    rule: Cron | Every
    start_time: datetime | None = None  # no time before it
    end_time: datetime | None = None  # no time at it or after it
    max_runs: int | None = None
    jitter: timedelta = timedelta(0)
    calendars: tuple[CalendarUse, ...] = ()

    @property
    def time_zone(self) -> str:
        """Whose wall clock it goes by; an interval by none, which is UTC."""
        return self.rule.time_zone if isinstance(self.rule, Cron) else ""


@record
class DstGap:
    """The wall clock leaps over this time, which therefore comes right after the leap."""

    skipped: datetime  # of no zone


@record
class DstFold:
    """The wall clock shows this time twice that day; of a fixed line it is the first."""


@record
class Excluded:
    """A calendar excludes the day of this time."""

    calendar: str
    time: datetime  # in the schedule's zone
    moved_to: datetime | None  # None: it is skipped


@record
class Jittered:
    """The run is due so long after its time."""

    by: timedelta


Note = DstGap | DstFold | Excluded | Jittered


@record
class Occurrence:
    """One time of a schedule. What runs is known by `time` (the nominal one), and is due at `due_time`."""

    time: datetime  # UTC
    local: datetime  # the same in the schedule's zone
    due_time: datetime
    runs: bool  # False: a calendar took it out
    notes: tuple[Note, ...] = ()
