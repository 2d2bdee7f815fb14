"""Waiting for what sends no event: a line in a file, a process's death, a figure of the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.02  # short against what tests measure, long enough to cost nothing


def until(read: Callable[[], T], *, within: float, what: str = "") -> T:
    """The first true value of `read`. AssertionError with the last value if none came `within` seconds."""
    end = time.monotonic() + within
    while True:
        value = read()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what or read}; last seen: {value!r}")
        time.sleep(_PAUSE)


async def until_async(read: Callable[[], Awaitable[T]], *, within: float, what: str = "") -> T:
    """The same for a coroutine function."""
    end = time.monotonic() + within
    while True:
        value = await read()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what or read}; last seen: {value!r}")
        await asyncio.sleep(_PAUSE)
