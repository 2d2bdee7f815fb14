"""What time it is for the store, between its answers. An estimate to sleep by; the store itself decides what is due."""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: The store's answers are cut to whole milliseconds, so its true time may be this much later.
_CUT = 0.001


class StoreClock:
    """The store's now. Until its first answer this machine's clock stands in."""

    def __init__(self) -> None:
        self._ahead: float | None = None  # the store's time as a Unix timestamp, less time.monotonic()

    def now(self) -> datetime:
        """The store's now. Late by at most the time an answer takes to come, and never early on purpose."""
        return datetime.fromtimestamp(self._timestamp(), UTC)

    def seconds_until(self, when: datetime) -> float:
        """How long until the store's clock shows `when`; negative where that has passed."""
        return when.timestamp() - self._timestamp()

    def heard(self, now: datetime, asked: float) -> None:
        """The store said `now`, to a question sent at `asked` (time.monotonic()).

        It read its clock at some moment between the question and this call, so each answer bounds the estimate from
        both sides. The estimate moves only as far as the bounds demand: a slow answer spoils nothing, and a clock
        that was set, or drifts, is followed.
        """
        low = now.timestamp() - time.monotonic()
        high = now.timestamp() + _CUT - asked
        if self._ahead is None or self._ahead < low or self._ahead > high:
            self._ahead = low

    def _timestamp(self) -> float:
        if self._ahead is None:
            return datetime.now(UTC).timestamp()
        return time.monotonic() + self._ahead
