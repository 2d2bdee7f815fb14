"""What goes on beside the calls: loops that are started and stopped, and work that runs to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Loop:
    """Something that goes on for ever, in a task of its own, from `start` to `close`."""

    def __init__(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._run = run
        self._name = name
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, unless it was begun already."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Cancel it, and wait until it has ended. What it raised is raised here."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def ended(self) -> bool:
        """Whether it has ended, which before `close` it never should."""
        return self._task is not None and self._task.done()


class Unbroken:
    """Work that runs to its end once it was begun, whoever has lost interest."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T], then: Callable[[], None] | None = None) -> T:
        """Do it, and return or raise what it does; call `then` once it has ended. A cancel ends the waiting alone."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(partial(self._ended, then))
        return await asyncio.shield(task)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, and let nobody wait; it sees to its own failures."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    @property
    def busy(self) -> bool:
        """Whether any of it is under way."""
        return bool(self._under_way)

    async def close(self) -> None:
        """Wait until all of it has ended."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _ended(self, then: Callable[[], None] | None, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if then is not None:
            then()
        if not task.cancelled():
            task.exception()  # seen, also where the caller has left
