"""One line of cron: what it may say, and the wall-clock times that fit it.

CronSim reads the fields and says which days fit; with it come the optional sixth field for seconds, in front, `L` and
`LW` as the day of the month, `5L` and `MON#2` as the day of the week. What becomes of a time where clocks change is
decided in cron_times.py, which knows more than CronSim tells, and for six fields, too. Names before `L` (`FRIL`), the
words with `@` and all that is said of a wrong line are ours; so is the way from one time that fits to the next, which
ten thousand schedules of one midnight take at once: CronSim goes there hour by hour.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from cronsim import CronSim, CronSimError

MOST_CHARACTERS = 200
WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LAST_BY_NAME = re.compile(rf"\b({'|'.join(_DAYS)})L\b")
_FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
_FORMS = "*, lists (1,2), ranges (1-5) and steps (*/2)"
_ALLOWED = {
    "second": f"0 to 59, {_FORMS}",
    "minute": f"0 to 59, {_FORMS}",
    "hour": f"0 to 23, {_FORMS}",
    "day-of-month": f"1 to 31, L (the last day), LW (the last from Monday to Friday), {_FORMS}",
    "month": f"1 to 12 or JAN to DEC, {_FORMS}",
    "day-of-week": f"0 to 7 (0, 7 are Sunday) or SUN to SAT, MON#2 (second Monday), 5L (last Friday), {_FORMS}",
}
_DAY = timedelta(days=1)
_NO_STEPS = re.compile(r"(?:^|,)LW?/")
# Weekday of the first of January, and whether it is a leap year: all that one year differs from another by.
_KINDS_OF_YEAR = {(date(year, 1, 1).weekday(), calendar.isleap(year)): year for year in range(2000, 2040)}.values()


class WrongLine(ValueError):
    """A line that cannot be, and why: the description of a violation."""


class CronLine:
    """A line that can be.

    `fixed` is Debian's distinction: neither the minute nor the hour begins with `*`, so that the line means certain
    times of the day, each of which is to come once a day; a wildcard line means a rhythm. A field of seconds does not
    count.
    """

    __slots__ = ("_fields", "_hours", "_minutes", "_months", "_seconds", "fixed", "text")

    def __init__(self, text: str) -> None:
        """WrongLine."""
        self.text = text
        fields = _fields(text)
        self.fixed = not fields[-5].startswith("*") and not fields[-4].startswith("*")
        self._fields = read = _read(fields)
        self._months = frozenset(read.months)
        self._hours, self._minutes, self._seconds = sorted(read.hours), sorted(read.minutes), sorted(read.seconds)
        if not any(map(read.match_day, _days(read.months))):
            raise WrongLine(_never(text))

    def walls(self, after: datetime) -> Iterator[datetime]:
        """The wall-clock times after this one that fit, in order, to the end of the calendar."""
        first = after.date()
        for day in self._days_from(first):
            for hour, minute, second in self._times_of_day(after.time() if day == first else time.min):
                wall = datetime(day.year, day.month, day.day, hour, minute, second)
                if wall > after:
                    yield wall

    def times_a_day(self) -> int:
        """How many times of a day fit at most."""
        return len(self._seconds) * len(self._minutes) * len(self._hours)

    def _days_from(self, day: date) -> Iterator[date]:
        try:
            while True:
                if day.month not in self._months:
                    day = (day.replace(day=1) + 31 * _DAY).replace(day=1)
                    continue
                if self._fields.match_day(day):
                    yield day
                day += _DAY
        except OverflowError:  # past the year 9999
            return

    def _times_of_day(self, start: time) -> Iterator[tuple[int, int, int]]:
        """Hour, minute and second, from the start's on."""
        hours, minutes, seconds = self._hours, self._minutes, self._seconds
        for hour in hours[bisect_left(hours, start.hour) :]:
            first = start.minute if hour == start.hour else 0
            for minute in minutes[bisect_left(minutes, first) :]:
                first = start.second if (hour, minute) == (start.hour, start.minute) else 0
                for second in seconds[bisect_left(seconds, first) :]:
                    yield hour, minute, second


@lru_cache(maxsize=1_000)  # reading a line takes longer than finding its next time
def cron_line(text: str) -> CronLine:
    """The same line, read once. WrongLine."""
    return CronLine(text)


def _fields(text: str) -> list[str]:
    if len(text) > MOST_CHARACTERS:
        raise WrongLine(f"has {len(text):,} characters, at most {MOST_CHARACTERS} are allowed")
    if not text.isprintable():
        raise WrongLine("has a line break or another control character; give several lines as several entries")
    word = text.strip().lower()
    if word.startswith("@"):
        if word not in WORDS:
            hint = " For an interval use `every`." if word.startswith("@every") else ""
            raise WrongLine(f"is {text.strip()!r}, which is none of {', '.join(WORDS)}.{hint}")
        return WORDS[word].split()
    fields = text.upper().split()
    if fields and "=" in fields[0]:
        raise WrongLine("begins with a setting; the zone has a field of its own, `time_zone`")
    if len(fields) not in (5, 6):
        year = " A year, as Quartz has it, is not known here." if len(fields) == 7 else ""
        raise WrongLine(
            f"has {len(fields)} fields, not 5 (minute hour day-of-month month day-of-week) or 6 (seconds first); "
            f"or write one of {', '.join(WORDS)}.{year}"
        )
    fields[-1] = _LAST_BY_NAME.sub(lambda name: f"{_DAYS.index(name[1])}L", fields[-1])
    return fields


def _read(fields: list[str]) -> CronSim:
    for name, field in zip(_FIELDS[-len(fields) :], fields, strict=True):
        if _NO_STEPS.search(field):
            raise _wrong(name, field)
        # Each by itself, so that the one that is wrong is known; all others then fit.
        alone = [field if other == name else "*" for other in _FIELDS]
        try:
            CronSim(" ".join(alone), datetime(2000, 1, 1))
        except CronSimError:
            raise _wrong(name, field) from None
    try:
        return CronSim(" ".join(fields), datetime(2000, 1, 1))
    except CronSimError:  # the fields are right one by one: it refuses days that no month of the line has
        raise WrongLine(_never(" ".join(fields))) from None


def _wrong(name: str, field: str) -> WrongLine:
    hint = ""
    if "?" in field:
        hint = "; for Quartz's ? write *"
    elif name == "day-of-month" and "W" in field:
        hint = "; W is known in LW only"
    elif re.search(r"\w-\w", field):
        hint = "; a range goes from the lower to the higher, and from the end on it is a list: SAT,SUN"
    elif field.startswith("H"):
        hint = "; for Jenkins' H use `jitter`"
    return WrongLine(f"has {field!r} as its {name}; allowed are {_ALLOWED[name]}{hint}")


def _never(text: str) -> str:
    return f"never comes: no year has a day that fits {text!r}"


def _days(months: set[int]) -> Iterator[date]:
    """Each day of these months in each kind of year."""
    for year in _KINDS_OF_YEAR:
        for month in months:
            for day in range(1, calendar.monthrange(year, month)[1] + 1):
                yield date(year, month, day)
