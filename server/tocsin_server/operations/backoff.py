"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random
from datetime import timedelta


def backoff(failures: int, longest: timedelta) -> float:
    """Seconds to wait after so many failures in a row (1 is the first): 50 ms, doubling up to `longest`.

    A fifth of it is drawn at random, so that many servers do not come back to a store in the same instant.
    """
    wait = min(0.05 * 2.0 ** min(failures - 1, 20), longest.total_seconds())
    return wait * (0.8 + 0.2 * random.random())  # noqa: S311 - spreads load, guards nothing
