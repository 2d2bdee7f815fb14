"""An event loop in a thread of its own, on which a blocking client runs its calls."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class LoopThread:
    """Runs coroutines for any number of threads. The thread starts with the first of them, and ends with `close`.

    It is a daemon thread: a program may end without closing it. A forked child has no such thread, and gRPC does not
    outlive a fork either, so there every call raises RuntimeError instead of waiting for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._closed = False

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """The result of a coroutine, which is cancelled if the waiting thread is interrupted."""
        try:
            loop = self._running()
        except RuntimeError:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # KeyboardInterrupt; after the coroutine's own errors it does nothing
            raise

    def iterate(self, items: AsyncGenerator[Result, None]) -> Iterator[Result]:
        """The items of an async generator, which is closed when the caller stops reading."""
        reading = _Reading(items)
        try:
            while True:
                item = self.run(reading.next())
                if item is reading:
                    return
                yield item  # type: ignore[misc]  # mypy cannot narrow by a sentinel object
        finally:
            if not self._closed and self._pid == os.getpid():
                self.run(reading.close())

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run `last`, then end the thread. What still runs is cancelled. Closing again does nothing."""
        with self._lock:
            loop, thread, here = self._loop, self._thread, self._pid == os.getpid()
            if self._closed or loop is None or thread is None or not here:
                self._closed = True
                last.close()
                return
        try:
            self.run(last)
        finally:
            self._closed = True
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._pid != os.getpid():
            raise RuntimeError("this client was made before a fork: make one in the child process")
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    loop = asyncio.new_event_loop()
                    self._thread = threading.Thread(target=_serve, args=(loop,), name="tocsin-client", daemon=True)
                    self._thread.start()
                    self._loop = loop
        if threading.current_thread() is self._thread:
            raise RuntimeError("a blocking client cannot be called from its own event loop")
        return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class _Reading(Generic[Result]):
    """An async generator that is read step by step, and may be left in the middle of a step."""

    def __init__(self, items: AsyncGenerator[Result, None]) -> None:
        self._items = items
        self._step: asyncio.Task[Any] | None = None

    async def next(self) -> Result | _Reading[Result]:
        """The next item; this object itself at the end."""
        self._step = asyncio.current_task()
        return await anext(self._items, self)

    async def close(self) -> None:
        """End the step that an interrupt has left, if it has not ended yet, and then the generator."""
        while self._step is not None and not self._step.done():
            self._step.cancel()
            await asyncio.wait({self._step}, timeout=0.1)
        await self._items.aclose()
