"""When a refused call is made again, and how long to wait before."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from tocsin.errors import TocsinError, Unavailable

Answer = TypeVar("Answer")

#: With these nothing was done, whatever was asked.
_NOTHING_DONE = frozenset({"STORE_AWAY", "DRAINING", "TOO_MANY_CALLS"})

_FIRST_WAIT = 0.05
_LONGEST_WAIT = 3.0


def may_repeat(error: TocsinError, *, repeatable: bool) -> bool:
    """Whether a repeat may help and cannot act twice. `repeatable`: the call may be made twice without harm."""
    if error.reason in _NOTHING_DONE or error.never_sent:
        return True
    # A server that is flooded ends calls so which it has not looked at; a caller's own cancel is no TocsinError.
    cut = isinstance(error, Unavailable) or error.status is grpc.StatusCode.CANCELLED
    return repeatable and cut


class Waits:
    """Waits that double, half of each drawn at random, so that callers who failed together part."""

    def __init__(self) -> None:
        self._failures = 0

    def next_wait(self, error: TocsinError) -> float:
        """Seconds to wait after `error`; not less than the server asked for."""
        longest = min(math.ldexp(_FIRST_WAIT, self._failures), _LONGEST_WAIT)
        self._failures = min(self._failures + 1, 16)  # far beyond the longest wait
        wait = longest * random.uniform(0.5, 1)  # noqa: S311 - parts callers, guards no secret
        return max(wait, error.retry_after.total_seconds() if error.retry_after else 0)

    def reset(self) -> None:
        """Start anew: something worked."""
        self._failures = 0


async def repeating(
    send: Callable[[float], Awaitable[Answer]], *, seconds: float, repeatable: bool, enabled: bool
) -> Answer:
    """The answer of `send`, which is given the seconds left and repeated where that is safe, within `seconds`.

    Raises the last error when no time is left for another try.
    """
    end = time.monotonic() + seconds
    waits = Waits()
    left = seconds
    while True:
        try:
            return await send(left)
        except TocsinError as error:
            if not enabled or not may_repeat(error, repeatable=repeatable):
                raise
            wait = waits.next_wait(error)
            left = end - time.monotonic() - wait
            if left <= 0:
                raise
            await asyncio.sleep(wait)
