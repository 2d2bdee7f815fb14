"""When the next attempt follows a failed one."""

from __future__ import annotations

import random
from datetime import timedelta
from enum import IntEnum

from tocsin_server.domain.record import record


class Backoff(IntEnum):
    """How waits grow. The numbers are those of tocsin.v1.RetryPolicy.Backoff."""

    FIXED = 1
    EXPONENTIAL = 2


@record
class RetryPolicy:
    """The waits between attempts: FIXED, initial_delay; EXPONENTIAL, doubling up to max_delay. The figures are the
    server's defaults."""

    max_attempts: int = 3
    backoff: Backoff = Backoff.EXPONENTIAL
    initial_delay: timedelta = timedelta(seconds=2)
    max_delay: timedelta = timedelta(hours=1)
    jitter: float = 0.2

    def delay_after(self, failures: int, draw: float | None = None) -> timedelta | None:
        """The wait after failure number `failures` (1 is the first), or None where no attempt is left.

        With the defaults and no jitter: 2 s, 4 s, 8 s, ... 1 h. The share `jitter` of it is drawn at random
        ("full jitter" over that share), so that jobs which failed together part. `draw` is the random number, 0 to 1.
        """
        if failures >= self.max_attempts:
            return None
        wait = self.initial_delay.total_seconds()
        if self.backoff is Backoff.EXPONENTIAL:
            wait = min(wait * 2.0 ** (failures - 1), self.max_delay.total_seconds())
        drawn = random.random() if draw is None else draw  # noqa: S311 - spreads load, guards nothing
        return timedelta(seconds=wait * (1 - self.jitter + self.jitter * drawn))
