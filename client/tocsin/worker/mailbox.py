"""Things that cross from other threads to one event loop, many at a time."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Anything may be put in from any thread; the loop gets it in order, with one wake-up for all that is there."""

    def __init__(self, take: Callable[[T], None]) -> None:
        self._take = take
        self._items: deque[T] = deque()
        self._rung = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.Context()

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver on `loop` from now on. Call it before anything is put in."""
        self._loop = loop
        self._context = contextvars.copy_context()  # else it would be that of the handler that puts something in

    def put(self, *items: T) -> None:
        """Hand over, from any thread. What comes after the loop was closed is dropped: nobody is left to care."""
        self._items.extend(items)
        # No lock: `deliver` takes the bell down before it looks, so whoever finds it rung is still looked at.
        if items and not self._rung and self._loop is not None:
            try:
                self._rung = True
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._deliver, context=self._context)
            except BaseException:  # put into this thread from outside; a bell that is up but not heard would stay up
                self._rung = False
                raise

    def _deliver(self) -> None:
        self._rung = False
        for item in drained(self._items):
            self._take(item)


def drained(items: deque[T]) -> Iterable[T]:
    """What is in the deque, taken out one by one; several threads may do so, each item goes to one of them."""
    while True:
        try:
            item = items.popleft()
        except IndexError:
            return
        yield item
