"""Work on large requests, done off the loop that serves calls.

It is Python, so it takes the loop's time all the same, but in turns of milliseconds: health, other calls and wake-ups
go on meanwhile. There is one thread for it, so that any number of large requests takes no more than half of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tocsin_server.operations.schedule_jobs import CancelledUnsent

#: A request up to this size is small: whatever it holds, looking at it takes milliseconds.
SMALL_BYTES = 64 << 10
#: Seconds of one request's turn.
TURN = 0.02

_T = TypeVar("_T")
_Out = TypeVar("_Out")

_thread = ThreadPoolExecutor(1, thread_name_prefix="tocsin-requests")


async def aside(size: int, work: Callable[[], _T]) -> _T:
    """What `work` returns or raises; off the loop where what it works on has more than SMALL_BYTES."""
    return work() if size <= SMALL_BYTES else await off_loop(work)


async def off_loop(work: Callable[[], _T]) -> _T:
    """What `work` returns or raises; for what can be small and take long all the same."""
    try:
        return await asyncio.get_running_loop().run_in_executor(_thread, work)
    except asyncio.CancelledError:
        raise CancelledUnsent from None  # nothing is sent to the store before a request is checked


async def each_aside(size: int, items: Sequence[_T], work: Callable[[_T], _Out]) -> list[_Out]:
    """What `work` makes of each of the items, which have `size` bytes together: other large requests have turns
    between them."""
    done: list[_Out] = []

    def turn() -> None:
        end = time.monotonic() + TURN
        while len(done) < len(items):
            done.append(work(items[len(done)]))
            if time.monotonic() > end:
                return

    while len(done) < len(items):
        await aside(size, turn)
    return done
