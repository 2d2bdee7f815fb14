"""When a line of cron runs where clocks change.

The rule is that of Debian's cron (cron(8), "Notes"), made exact:

- A fixed line (neither minute nor hour begins with `*`) runs once for each of its times: where the wall clock leaps
  over it, right after the leap, several such times together once; where the wall clock shows it twice, the first time.
- A wildcard line runs whenever the wall clock shows a time that fits: in the hour that comes twice twice, in the one
  that is left out not at all. So `*/15 * * * *` goes on each quarter of an hour of elapsed time.

Debian limits the first to changes of less than three hours; here it holds for all.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from tocsin_server.domain.schedules.cron_line import CronLine
from tocsin_server.domain.schedules.wall_clock import REACH, Instant, WallClock

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


def instants(lines: Sequence[CronLine], clock: WallClock, after: datetime) -> Iterator[Instant]:
    """When any of the lines runs after this time, in order, each time once. OverflowError past the year 9999."""
    times = [(_fixed if line.fixed else _wildcard)(line, clock, after) for line in lines]
    if len(times) == 1:
        yield from times[0]
        return
    last: datetime | None = None
    for instant in heapq.merge(*times, key=lambda instant: instant.time):
        if instant.time != last:
            yield instant
        last = instant.time


def _fixed(line: CronLine, clock: WallClock, after: datetime) -> Iterator[Instant]:
    last = after
    for wall in line.walls(clock.at(after)):
        instant = clock.shows(wall)
        if instant.time > last:
            yield instant
            last = instant.time


def _wildcard(line: CronLine, clock: WallClock, after: datetime) -> Iterator[Instant]:
    """By stretches in which the clock is not changed: there wall-clock and elapsed time are the same."""
    now = after.replace(microsecond=0)
    wall_before, offset = clock.at(now), clock.offset(now)
    steady = now  # the offset is known to hold so long
    while True:
        for wall in line.walls(wall_before):
            time = wall.replace(tzinfo=now.tzinfo) - offset
            if time > steady:
                change = clock.change(steady)
                if change is not None and change <= time:
                    offset = clock.offset(change)
                    wall_before = change.replace(tzinfo=None) + offset - _SECOND
                    now = steady = change
                    break
                if change is not None:
                    steady = change - _SECOND
                elif time <= steady + REACH:
                    steady += REACH
                else:
                    # Far ahead. Until a day before, no wall clock shows a time that fits.
                    now = steady = clock.shows(wall - _DAY).time
                    wall_before, offset = clock.at(now), clock.offset(now)
                    break
            yield Instant(time, wall, twice=clock.is_twice(wall))
        else:
            return
