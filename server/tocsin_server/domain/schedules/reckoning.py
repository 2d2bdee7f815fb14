"""At which times a schedule runs."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count, islice

from tocsin_server.domain import limits
from tocsin_server.domain.schedules.cron_line import cron_line
from tocsin_server.domain.schedules.cron_times import instants
from tocsin_server.domain.schedules.days_off import days_off
from tocsin_server.domain.schedules.timing import (
    Calendar,
    Cron,
    DstFold,
    DstGap,
    Every,
    Excluded,
    Jittered,
    Note,
    Occurrence,
    OnExcluded,
    Timing,
)
from tocsin_server.domain.schedules.wall_clock import Instant, WallClock
from tocsin_server.domain.time_zones import zone_of
from tocsin_server.domain.times import MILLISECOND, time_to_ms

#: So far a time is moved at most; where a calendar excludes more days in a row, it is skipped.
MOST_DAYS_MOVED = 31
#: Times a day of a schedule whose times are moved: each of up to 62 days is looked at for the next.
MOST_MOVED_A_DAY = 96
#: Excluded days, or times, in a row after which no further one is looked for; and for how long, as times that come once
#: in 28 years take long to find: longer than from one 29 February on a Sunday to the next, also over the year 2100.
MOST_EXCLUDED, LONGEST_EXCLUDED = 1_000, timedelta(days=50 * 366)

_DAY = timedelta(days=1)
# A day can last 25 hours and more, so moving by days may take one hour more than that.
_REACH = timedelta(days=MOST_DAYS_MOVED + 1)


class Reckoning:
    """A schedule's timing made ready: each answer is a bounded piece of work and depends on nothing else.

    `key` tells one schedule from another where they are jittered; `created` is the anchor of an interval without one.
    `calendars` has each one that the timing names.
    """

    def __init__(
        self, timing: Timing, *, key: str = "", created: datetime, calendars: Mapping[str, Calendar] | None = None
    ) -> None:
        """WrongLine, UnknownZone, UnreadCalendar; KeyError for a calendar that is not there."""
        rule = timing.rule
        self._timing = timing
        self._key = key
        self._clock = WallClock(zone_of(timing.time_zone))
        self._lines = [cron_line(line) for line in rule.lines] if isinstance(rule, Cron) else []
        self._anchor = timing.start_time or created
        if isinstance(rule, Every):
            self._anchor = rule.anchor or self._anchor
        given = calendars or {}
        self._calendars = [(use, days_off(given[use.name], self._clock.zone)) for use in timing.calendars]
        actions = {use.on_excluded for use in timing.calendars}
        self._moves_on = OnExcluded.NEXT_DAY in actions
        self._moves_back = OnExcluded.PREVIOUS_DAY in actions

    def next_after(self, time: datetime) -> Occurrence | None:
        """The first time that runs after this one; None where there is none any more."""
        return next(self.occurrences(time), None)

    def occurrences(
        self, after: datetime, *, until: datetime | None = None, fired: int = 0, skipped: bool = False
    ) -> Iterator[Occurrence]:
        """The times after one time and before another, each once and in order.

        `fired` runs count towards the most that the schedule has. With `skipped`, those that a calendar takes out are
        told of, too. Ends where the schedule does, and where calendars exclude MOST_EXCLUDED times in a row, or all for
        LONGEST_EXCLUDED.
        """
        left = None if self._timing.max_runs is None else self._timing.max_runs - fired
        if left is not None and left <= 0:
            return
        times = self._moved(after, skipped) if self._moves_on or self._moves_back else self._kept(after, skipped)
        while (one := _next(times)) is not None and (until is None or one.time < until):
            if one.time <= after or not self._within(one.time):
                continue
            yield one
            if one.runs and left is not None:
                left -= 1
                if not left:
                    return

    def run_at(self, time: datetime) -> Occurrence:
        """The run of a nominal time that is known already, whatever calendars have come to say of it."""
        return self._running(Instant(time, self._clock.at(time)))

    def _kept(self, after: datetime, skipped: bool) -> Iterator[Occurrence]:
        """Where no time is moved: a day that is excluded is leapt over, unless its times are to be told of."""
        excluded = _InARow()
        times = self._times(after)
        while not excluded.too_many:
            instant = next(times, None)
            if instant is None:
                return
            by = self._excluding(instant.time)
            if by is None:
                excluded = _InARow()
                yield self._running(instant)
            elif skipped:
                yield self._skipped(instant, self._calendars[by][0].name)
            else:
                excluded.add(instant.time)
                clock = self._calendars[by][1].clock
                tomorrow = clock.at(instant.time).replace(hour=0, minute=0, second=0, microsecond=0, fold=0) + _DAY
                times = self._times(clock.shows(tomorrow).time - MILLISECOND)

    def _moved(self, after: datetime, skipped: bool) -> Iterator[Occurrence]:
        """Where times are moved they change their order, so they wait until none can come before them."""
        waiting: list[tuple[datetime, int, Occurrence]] = []
        arrival = count()
        excluded = _InARow()
        for instant in self._times(after - _REACH if self._moves_on else after):
            frontier = instant.time - _REACH if self._moves_back else instant.time
            while waiting and waiting[0][0] < frontier:
                one = _merged(waiting)
                if one.runs:
                    excluded = _InARow()
                else:
                    excluded.add(one.time)
                if one.runs or skipped:
                    yield one
            if excluded.too_many:
                return
            one = self._landed(instant)
            heapq.heappush(waiting, (one.time, next(arrival), one))
        while waiting:
            one = _merged(waiting)
            if one.runs or skipped:
                yield one

    def _landed(self, instant: Instant) -> Occurrence:
        by = self._excluding(instant.time)
        if by is None:
            return self._running(instant)
        use, excluding = self._calendars[by]
        if use.on_excluded is OnExcluded.SKIP:
            return self._skipped(instant, use.name)
        # The time of day is that of the cron's zone; an interval has none, so its calendar's serves.
        clock = self._clock if self._lines else excluding.clock
        wall = clock.at(instant.time) if not self._lines else instant.wall
        step = _DAY if use.on_excluded is OnExcluded.NEXT_DAY else -_DAY
        for days in range(1, MOST_DAYS_MOVED + 1):
            landing = clock.shows(wall.replace(fold=0) + days * step)
            if self._excluding(landing.time) is None:
                time = instant.time.astimezone(clock.zone)
                return self._running(landing, Excluded(use.name, time, landing.time.astimezone(clock.zone)))
        return self._skipped(instant, use.name)

    def _times(self, after: datetime) -> Iterator[Instant]:
        """The rule's own times, from the schedule's start to its end."""
        start = self._timing.start_time
        if start is not None and after < start:
            after = start - MILLISECOND
        rule = self._timing.rule
        for instant in self._every(rule.interval, after) if isinstance(rule, Every) else self._cron(rule, after):
            if self._within(instant.time):
                yield instant
            else:
                return

    def _every(self, interval: timedelta, after: datetime) -> Iterator[Instant]:
        """By arithmetic, however long ago the anchor was."""
        steps = max(0, (after - self._anchor) // interval + 1)
        for step in count(steps):
            time = self._anchor + step * interval
            yield Instant(time, time.replace(tzinfo=None))

    def _cron(self, rule: Cron, after: datetime) -> Iterator[Instant]:
        soon = _soon(rule, after)
        yield from soon
        if soon:
            yield from instants(self._lines, self._clock, soon[-1].time)

    def _within(self, time: datetime) -> bool:
        start, end = self._timing.start_time, self._timing.end_time
        return (start is None or time >= start) and (end is None or time < end) and time <= limits.LAST_TIME

    def _excluding(self, time: datetime) -> int | None:
        """The place of the first calendar that excludes a time."""
        for place, (_, excluding) in enumerate(self._calendars):
            if excluding.exclude(time):
                return place
        return None

    def _running(self, instant: Instant, *notes: Note) -> Occurrence:
        if instant.in_gap:
            notes += (DstGap(instant.wall),)
        if instant.twice:
            notes += (DstFold(),)
        by = self._jitter(instant.time)
        if by:
            notes += (Jittered(by),)
        local, due_time = instant.time.astimezone(self._clock.zone), min(instant.time + by, limits.LAST_TIME)
        return Occurrence(instant.time, local, due_time, True, notes)

    def _skipped(self, instant: Instant, calendar: str) -> Occurrence:
        local = instant.time.astimezone(self._clock.zone)
        return Occurrence(instant.time, local, instant.time, False, (Excluded(calendar, local, None),))

    def _jitter(self, time: datetime) -> timedelta:
        """The same wherever it is reckoned: a hash of the schedule and the time."""
        most = self._timing.jitter // MILLISECOND
        if not most:
            return timedelta(0)
        digest = hashlib.sha256(f"{self._key}\0{time_to_ms(time)}".encode()).digest()
        return int.from_bytes(digest[:8]) % (most + 1) * MILLISECOND


def times_a_day(timing: Timing) -> int:
    """How many times of a day there are at most. WrongLine."""
    rule = timing.rule
    if isinstance(rule, Every):
        return -(-_DAY // rule.interval)
    return sum(cron_line(line).times_a_day() for line in rule.lines)


@lru_cache(maxsize=1_000)
def _soon(rule: Cron, after: datetime) -> tuple[Instant, ...]:
    """The first two of its times: what firing asks for. Of thousands that are due at midnight most have one rule."""
    lines, found = [cron_line(line) for line in rule.lines], list[Instant]()
    with suppress(OverflowError):  # past the year 9999
        found.extend(islice(instants(lines, WallClock(zone_of(rule.time_zone)), after), 2))
    return tuple(found)


class _InARow:
    """Times in a row that were excluded."""

    __slots__ = ("_count", "_first", "too_many")

    def __init__(self) -> None:
        self._count = 0
        self._first: datetime | None = None
        self.too_many = False

    def add(self, time: datetime) -> None:
        """One more."""
        self._count += 1
        self._first = self._first or time
        self.too_many = self._count >= MOST_EXCLUDED or time - self._first > LONGEST_EXCLUDED


def _next(times: Iterator[Occurrence]) -> Occurrence | None:
    """None at the end, which is that of the year 9999 at the latest."""
    try:
        return next(times, None)
    except OverflowError:
        return None


def _merged(waiting: list[tuple[datetime, int, Occurrence]]) -> Occurrence:
    """Takes what comes first, with all that comes at the same time: those are one run, with the notes of all."""
    time, _, one = heapq.heappop(waiting)
    notes = list(one.notes)
    runs = one.runs
    while waiting and waiting[0][0] == time:
        other = heapq.heappop(waiting)[2]
        runs = runs or other.runs
        notes += [note for note in other.notes if note not in notes]
    return Occurrence(one.time, one.local, one.due_time, runs, tuple(notes))
