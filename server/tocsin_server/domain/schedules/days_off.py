"""The days that a calendar excludes."""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from tocsin_server.domain.schedules.ics import IcsDays, read_ics
from tocsin_server.domain.schedules.timing import Calendar
from tocsin_server.domain.schedules.wall_clock import WallClock
from tocsin_server.domain.time_zones import zone_of

_YEARS_KEPT = 8


@lru_cache(maxsize=64)
def days_off(calendar: Calendar, zone: ZoneInfo) -> DaysOff:
    """The calendar made ready, once for all schedules that name it. UnknownZone, UnreadCalendar."""
    return DaysOff(calendar, zone)


class DaysOff:
    """A calendar made ready. Its days are those of its own zone, or of the schedule's where it has none."""

    __slots__ = ("_dates", "_weekdays", "_yearly", "_years", "clock")

    def __init__(self, calendar: Calendar, zone: ZoneInfo) -> None:
        """UnknownZone, UnreadCalendar."""
        self.clock = WallClock(zone_of(calendar.time_zone) if calendar.time_zone else zone)
        ics = read_ics(calendar.ics, self.clock.zone) if calendar.ics else IcsDays()
        self._dates = calendar.dates | ics.dates
        self._weekdays = calendar.weekdays
        self._yearly = ics.yearly
        self._years: dict[int, frozenset[date]] = {}

    def has(self, day: date) -> bool:
        """Whether a day is one of them."""
        if day.weekday() in self._weekdays or day in self._dates:
            return True
        return bool(self._yearly) and (day in self._in_year(day.year) or day in self._in_year(day.year - 1))

    def exclude(self, time: datetime) -> bool:
        """Whether a time is on one of them."""
        return self.has(self.clock.at(time).date())

    def _in_year(self, year: int) -> frozenset[date]:
        """Days of the yearly spans that begin in a year, which are reckoned once in a row of years."""
        found = self._years.get(year)
        if found is None:
            if len(self._years) == _YEARS_KEPT:
                self._years.clear()
            found = self._years[year] = frozenset(day for one in self._yearly for day in one.in_year(year))
        return found
