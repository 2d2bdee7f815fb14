"""The wall clock of a zone: what it shows, where it leaps, and when it comes to show a time.

Zones are those of zoneinfo, which has no list of changes to give, so a change is found by comparing offsets: clocks
that change twice within half a day are not known, now or in any plan.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tocsin_server.domain.record import record

#: How far one search for a change reaches.
REACH = timedelta(hours=36)
_STEP = timedelta(hours=12)
_SECOND = timedelta(seconds=1)


@record
class Instant:
    """When the wall clock shows a time."""

    time: datetime  # UTC
    wall: datetime  # asked for
    in_gap: bool = False  # it never shows it: the instant is right after the leap
    twice: bool = False  # it shows it twice: this is the first


class WallClock:
    """The wall clock of one zone. Its times have no tzinfo, all others are in UTC."""

    __slots__ = ("zone",)

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone

    def at(self, time: datetime) -> datetime:
        """What it shows; `fold` is 1 where it has shown that before."""
        return time.astimezone(self.zone).replace(tzinfo=None)

    def offset(self, time: datetime) -> timedelta:
        """How far it is ahead of UTC."""
        return time.astimezone(self.zone).utcoffset() or timedelta(0)

    def shows(self, wall: datetime) -> Instant:
        """When it shows this for the first time. OverflowError past the year 9999."""
        early = wall.replace(tzinfo=self.zone, fold=0)
        late = wall.replace(tzinfo=self.zone, fold=1)
        if early.utcoffset() == late.utcoffset():
            return Instant(early.astimezone(UTC), wall)
        first, second = early.astimezone(UTC), late.astimezone(UTC)
        if first < second:
            return Instant(first, wall, twice=True)
        # In a gap the offset before it leads past the change, and the one after it to before the change.
        return Instant(self._first_with_another_offset(second, first), wall, in_gap=True)

    def is_twice(self, wall: datetime) -> bool:
        """Whether it shows this twice, or never."""
        early = wall.replace(tzinfo=self.zone, fold=0)
        return early.utcoffset() != early.replace(fold=1).utcoffset()

    def change(self, after: datetime) -> datetime | None:
        """When it is next set to another offset: the first instant with that, at most REACH after `after`."""
        low = after.replace(microsecond=0)
        end, offset = low + REACH, self.offset(low)
        while low < end:
            high = low + _STEP
            if self.offset(high) != offset:
                return self._first_with_another_offset(low, high)
            low = high
        return None

    def _first_with_another_offset(self, low: datetime, high: datetime) -> datetime:
        """Between `low` and `high`, which has another offset than `low`; to the second."""
        offset = self.offset(low)
        seconds = -((low - high) // _SECOND)
        least, most = 0, seconds
        while most - least > 1:
            middle = (least + most) // 2
            if self.offset(low + middle * _SECOND) == offset:
                least = middle
            else:
                most = middle
        return low + most * _SECOND
