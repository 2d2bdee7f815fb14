"""Spans of time, counted by size: percentiles of any number of them in a few kilobytes.

Bin i holds the spans above 1.01005^(i-1) ms up to 1.01005^i ms, and is read as the value that is at most 0.5 % from
either bound (the bins of DDSketch: Masson, Rim, Lee, VLDB 2019). A century is bin 2,877, so a histogram has at most
12 kB; where nothing takes longer than an hour, 6 kB.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from datetime import timedelta
from itertools import accumulate

from tocsin_server.domain.times import MILLISECOND

#: A percentile is at most this share away from the span that has its rank: 0.5 % by its bin, and what rounding to the
#: millisecond adds. Under 100 ms it is exact.
ERROR = 0.01

_BIN_ERROR = 0.005
_GAMMA = (1 + _BIN_ERROR) / (1 - _BIN_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_MOST_MS = 100 * 365.25 * 86_400_000


class Histogram:
    """Spans of 0 ms and more; finer ones count as the millisecond below, more than a century as a century."""

    __slots__ = ("_bins", "count", "greatest_ms", "least_ms", "total_ms")

    def __init__(self) -> None:
        self._bins = array("I")  # [0]: the spans of 0 ms
        self.count = 0
        self.total_ms = 0
        self.least_ms = 0
        self.greatest_ms = 0

    def add(self, span: timedelta) -> None:
        """Count one; a negative one is taken as 0."""
        ms = max(0, span // MILLISECOND)
        # A logarithm of a bound may round up: then it stands one bin higher, still 0.5 % from that one's value.
        place = 0 if ms == 0 else 1 + math.ceil(math.log(min(ms, _MOST_MS)) / _LOG_GAMMA)
        if place >= len(self._bins):
            self._bins.extend(bytes(place + 1 - len(self._bins)))
        self._bins[place] += 1
        self.least_ms = ms if not self.count else min(self.least_ms, ms)
        self.greatest_ms = max(self.greatest_ms, ms)
        self.count += 1
        self.total_ms += ms

    def percentile(self, share: float) -> timedelta | None:
        """The span of rank ceil(share * count), as exact as ERROR says. None where there is none. Greatest: `max`."""
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        place = bisect_left(list(accumulate(self._bins)), rank)
        ms = 0.0 if place == 0 else 2 * _GAMMA ** (place - 1) / (_GAMMA + 1)
        return round(min(max(ms, self.least_ms), self.greatest_ms)) * MILLISECOND

    @property
    def max(self) -> timedelta | None:
        """The greatest, exactly."""
        return self.greatest_ms * MILLISECOND if self.count else None

    @property
    def mean(self) -> timedelta | None:
        """The mean, to the millisecond."""
        return round(self.total_ms / self.count) * MILLISECOND if self.count else None
