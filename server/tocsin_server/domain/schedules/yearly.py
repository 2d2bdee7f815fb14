"""Days that come every year, as calendars write them: FREQ=YEARLY of RFC 5545, by date or by weekday of a month."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import date, timedelta

from tocsin_server.domain.record import record


@record
class Yearly:
    """Spans of `days` days, the first of them at `start`."""

    start: date
    days: int = 1
    interval: int = 1  # in years
    until: date | None = None  # no span begins after it
    months: tuple[int, ...] = ()  # none: that of the start, or each where days of the month are named
    month_days: tuple[int, ...] = ()  # negative: from the month's end
    weekdays: tuple[tuple[int, int], ...] = ()  # which of the month (0: each, -1: the last), weekday
    left_out: frozenset[date] = frozenset()  # starts

    def in_year(self, year: int) -> Iterator[date]:
        """All days of the spans that begin in a year, those in the next included."""
        for start in self.starts(year):
            if start not in self.left_out and (self.until is None or start <= self.until):
                yield from span(start, self.days)

    def starts(self, year: int) -> Iterator[date]:
        """The days of a year that fit, from the start on, in order."""
        if year < self.start.year or (year - self.start.year) % self.interval:
            return
        for month in self.months or (range(1, 13) if self.month_days else (self.start.month,)):
            for day in self._days(year, month):
                if (found := date(year, month, day)) >= self.start:
                    yield found

    def _days(self, year: int, month: int) -> list[int]:
        last = calendar.monthrange(year, month)[1]
        if not self.month_days and not self.weekdays:
            return [self.start.day] if self.start.day <= last else []
        return [day for day in range(1, last + 1) if self._fits(date(year, month, day), last)]

    def _fits(self, day: date, last: int) -> bool:
        if self.month_days and not {day.day, day.day - last - 1} & set(self.month_days):
            return False
        if not self.weekdays:
            return True
        places = (0, (day.day + 6) // 7, -((last - day.day) // 7 + 1))
        return any((place, day.weekday()) in self.weekdays for place in places)


def span(start: date, days: int) -> Iterator[date]:
    """So many days from a first one on, to the end of the calendar at most."""
    for ahead in range(min(days, (date.max - start).days + 1)):
        yield start + timedelta(days=ahead)
