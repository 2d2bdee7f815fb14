"""Days that come every year, as calendars write them: FREQ=YEARLY of RFC 5545, by date or by weekday of a month."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator
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

    def most_starts(self) -> int:
        """In a year."""
        months = len(self.months) or (12 if self.month_days else 1)
        a_month = len(self.month_days) or sum(1 if place else 5 for place, _ in self.weekdays) or 1
        return months * min(a_month, 31)

    def _days(self, year: int, month: int) -> list[int]:
        first, last = calendar.monthrange(year, month)
        if self.month_days:
            days = {day if day > 0 else last + 1 + day for day in self.month_days} & set(range(1, last + 1))
            if self.weekdays:
                days &= _weekdays(self.weekdays, first, last)
            return sorted(days)
        if self.weekdays:
            return sorted(_weekdays(self.weekdays, first, last))
        return [self.start.day] if self.start.day <= last else []


def _weekdays(wanted: Iterable[tuple[int, int]], first: int, last: int) -> set[int]:
    """Days of a month that begins on the weekday `first` and has `last` days."""
    found = set[int]()
    for place, weekday in wanted:
        days = range(1 + (weekday - first) % 7, last + 1, 7)
        if place == 0:
            found |= set(days)
        elif abs(place) <= len(days):
            found.add(days[place - 1 if place > 0 else place])
    return found


def span(start: date, days: int) -> Iterator[date]:
    """So many days from a first one on, to the end of the calendar at most."""
    for ahead in range(min(days, (date.max - start).days + 1)):
        yield start + timedelta(days=ahead)
