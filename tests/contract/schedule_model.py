"""Schedules as their page says they behave, one time after the other: with nothing of the server's code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from unit.server.domain.schedules.minute_by_minute import Line, Shown, walk

DAY, PUNCTUAL = timedelta(days=1), timedelta(minutes=1)
#: A change, or a pause, counts so many of the times that came and that no server has looked at.
COUNTED_BY_A_CHANGE = 1_000

#: The times after one moment, up to and with another.
Times = Callable[[datetime, datetime], Sequence[datetime]]


@lru_cache(maxsize=100)  # several lines of a zone look at the same days
def _minutes(zone: str, day: datetime) -> Sequence[Shown]:
    return walk(ZoneInfo(zone), day, day + DAY)


@cache
def _times_of_day(text: str, zone: str, day: datetime) -> Sequence[datetime]:
    return Line(text).times(_minutes(zone, day))


def cron(text: str, zone: str) -> Times:
    """When a line of cron comes, each minute looked at in turn."""

    def times(after: datetime, until: datetime) -> Sequence[datetime]:
        found, day = list[datetime](), datetime.combine(after.date(), time(), UTC)
        while day <= until:
            found += [one for one in _times_of_day(text, zone, day) if after < one <= until]
            day += DAY
        return found

    return times


def every(interval: timedelta, anchor: datetime) -> Times:
    """When an interval comes."""

    def times(after: datetime, until: datetime) -> Sequence[datetime]:
        found, one = list[datetime](), anchor + max(0, (after - anchor) // interval) * interval
        while one <= until:
            if one > after:
                found.append(one)
            one += interval
        return found

    return times


@dataclass
class Modelled:
    """One schedule. `look` is what happens when a server looks, `begin` when it was made, changed or resumed."""

    times: Times
    overlap: str
    missed_policy: str
    window: timedelta | None
    most: int
    max_runs: int | None
    start: datetime | None
    end: datetime | None
    after: datetime  # times up to this one are dealt with
    paused: bool = False
    goes_on: bool = False  # it has a next time, as far as its runs say
    fired: int = 0
    missed: int = 0
    gave_way: int = 0
    last: datetime | None = None
    held: datetime | None = None
    going: bool = False  # the job that it made last has not ended
    jobs: set[datetime] = field(default_factory=set)

    def begin(self, now: datetime) -> None:
        """Go on with the first time after now; what waits is dropped, and what came and nobody looked at is missed."""
        if self.goes_on:
            left = self._runs_left()
            dropped = len(self._due(now)) if left is None else min(left, len(self._due(now)))
            self.missed += min(dropped, COUNTED_BY_A_CHANGE)
        self.after = now
        self.gave_way += self.held is not None
        self.held = None
        self.goes_on = not self.paused and not self._over()

    def look(self, now: datetime) -> None:
        """Deal with all that has come."""
        if self.paused:
            return
        if self.held is not None and not self.going:
            self._fire(self.held)
            self.held = None
            self.goes_on = self.goes_on and not self._over()
        if not self.goes_on:
            return
        due = self._due(now)
        self.after = now
        late = [one for one in due if now - one > PUNCTUAL]
        in_time = due[len(late) :]
        kept = self._kept(late, in_time, now)
        self.missed += len(late) - len(kept)
        self._run([*kept, *in_time])
        self.goes_on = not due or not self._over()

    def trigger(self, now: datetime) -> None:
        """Run it out of turn."""
        self._fire(now)
        self.goes_on = self.goes_on and not self._over()

    def _due(self, now: datetime) -> Sequence[datetime]:
        return [
            one
            for one in self.times(self.after, now)
            if (self.start is None or one >= self.start) and (self.end is None or one < self.end)
        ]

    def _kept(self, late: Sequence[datetime], in_time: Sequence[datetime], now: datetime) -> Sequence[datetime]:
        if self.missed_policy == "ONCE":
            return [] if in_time else late[-1:]
        if self.missed_policy == "SKIP":
            return []
        return [one for one in late if self.window is None or now - one <= self.window][-self.most :]

    def _run(self, wanted: Sequence[datetime]) -> None:
        if self.overlap == "CANCEL_OTHER" and wanted:
            self.gave_way += len(wanted) - 1
            wanted, self.going = wanted[-1:], False
        for one in wanted:
            if self._over():
                return
            if self.overlap == "ALLOW" or not self.going:
                self._fire(one)
            elif self.overlap == "QUEUE_ONE" and self.held is None:
                self.held = one
            else:
                self.gave_way += 1

    def _fire(self, one: datetime) -> None:
        self.fired += 1
        self.last, self.going = one, True
        self.jobs.add(one)

    def _runs_left(self) -> int | None:
        return None if self.max_runs is None else max(0, self.max_runs - self.fired - (self.held is not None))

    def _over(self) -> bool:
        return self._runs_left() == 0
