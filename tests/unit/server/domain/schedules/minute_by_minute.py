"""Cron reckoned a second time, with nothing of the server's code: each minute of UTC is looked at in turn.

It does what the rule says and no more. A wildcard line runs when the wall clock shows what fits. A fixed one does so
unless the wall clock has shown that before; and where the clock leaps, it runs right after if it left out what fits.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
HOURS = timedelta(hours=5)  # no fold is longer
_NAMES = {
    name: number
    for names, first in (("SUN MON TUE WED THU FRI SAT", 0), ("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", 1))
    for number, name in enumerate(names.split(), start=first)
}
_WORDS = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}


@dataclass(frozen=True)
class Shown:
    """A minute, and what a wall clock shows then."""

    time: datetime
    wall: datetime
    again: bool  # it has shown that before
    left_out: tuple[datetime, ...]  # minutes over which it leapt just now


def walk(zone: ZoneInfo, begin: datetime, end: datetime) -> list[Shown]:
    """The minutes from one to another."""
    found, seen = list[Shown](), set[datetime]()
    time = begin - HOURS
    before = (time - MINUTE).astimezone(zone).replace(tzinfo=None, fold=0)
    while time < end:
        wall = time.astimezone(zone).replace(tzinfo=None, fold=0)
        left_out = []
        while (before := before + MINUTE) < wall:
            left_out.append(before)
        if time >= begin:
            found.append(Shown(time, wall, wall in seen, tuple(left_out)))
        seen.add(wall)
        before, time = wall, time + MINUTE
    return found


def changes(zone: ZoneInfo, first_year: int, last_year: int) -> Iterator[datetime]:
    """The first minute of each new distance from UTC."""
    day = datetime(first_year, 1, 1, tzinfo=UTC)
    while day.year <= last_year:
        after = day + timedelta(days=1)
        if day.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            minute = day
            while minute.astimezone(zone).utcoffset() == day.astimezone(zone).utcoffset():
                minute += MINUTE
            yield minute
        day = after


class Line:
    """A line, read field by field."""

    def __init__(self, text: str) -> None:
        self.text = text
        fields = _WORDS.get(text, text).upper().split()
        seconds, minutes, hours, self.day, months, self.weekday = ["0"] * (6 - len(fields)) + fields
        self.wildcard = "*" in (minutes[0], hours[0])
        self.seconds = sorted(_numbers(seconds, 0, 59))
        self.minutes, self.hours = _numbers(minutes, 0, 59), _numbers(hours, 0, 23)
        self.months = _numbers(months, 1, 12)
        self._days: dict[tuple[int, int, int], bool] = {}

    def times(self, minutes: Sequence[Shown]) -> list[datetime]:
        """When it runs."""
        found = []
        for shown in minutes:
            if self.fits(shown.wall) and (self.wildcard or not shown.again):
                found += [shown.time + timedelta(seconds=second) for second in self.seconds]
            if shown.left_out and not self.wildcard and any(map(self.fits, shown.left_out)):
                found.append(shown.time)
        return sorted(set(found))

    def fits(self, wall: datetime) -> bool:
        """Whether it names this minute."""
        return wall.minute in self.minutes and wall.hour in self.hours and self._fits_day(wall)

    def _fits_day(self, wall: datetime) -> bool:
        key = (wall.year, wall.month, wall.day)
        if key not in self._days:
            by_day = any(_is_day(term, wall) for term in self.day.split(","))
            by_weekday = any(_is_weekday(term, wall) for term in self.weekday.split(","))
            either = self.day[0] != "*" and self.weekday[0] != "*"
            self._days[key] = wall.month in self.months and (
                (by_day or by_weekday) if either else (by_day and by_weekday)
            )
        return self._days[key]


def _is_day(term: str, wall: datetime) -> bool:
    last = calendar.monthrange(wall.year, wall.month)[1]
    if term == "L":
        return wall.day == last
    if term == "LW":
        workdays = [day for day in range(1, last + 1) if calendar.weekday(wall.year, wall.month, day) < 5]
        return wall.day == workdays[-1]
    return wall.day in _numbers(term, 1, 31)


def _is_weekday(term: str, wall: datetime) -> bool:
    weekday = wall.isoweekday() % 7
    if term.endswith("L"):
        return _number(term[:-1]) % 7 == weekday and (wall + timedelta(days=7)).month != wall.month
    if "#" in term:
        name, _, nth = term.partition("#")
        return _number(name) % 7 == weekday and (wall.day - 1) // 7 + 1 == int(nth)
    return weekday in {number % 7 for number in _numbers(term, 0, 7)}


def _numbers(field: str, least: int, most: int) -> set[int]:
    found = set[int]()
    for term in field.split(","):
        span, _, step = term.partition("/")
        if span == "*":
            low, high = least, most
        elif "-" in span:
            low, high = map(_number, span.split("-"))
        else:
            low = _number(span)
            high = most if step else low
        found |= set(range(low, high + 1, int(step or 1)))
    return found


def _number(text: str) -> int:
    return _NAMES[text] if text in _NAMES else int(text)
