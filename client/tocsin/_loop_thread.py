"""An event loop in a thread of its own, on which a blocking client runs its calls."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tocsin import _forking
from tocsin.errors import Unavailable, UnusableClient

Result = TypeVar("Result")
Disconnect = Callable[[], Coroutine[Any, Any, None]]

_LONGEST_REST = 5.0  # seconds; a fork goes on after them


@dataclass(slots=True, eq=False)
class _Running:
    """A loop that runs, of one process."""

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    pid: int = field(default_factory=os.getpid)
    under_way: int = 0  # calls, and iterations that have begun

    @property
    def is_here(self) -> bool:
        """Whether its thread can answer: not after a fork, nor once the interpreter has frozen it at its end."""
        return self.pid == os.getpid() and not sys.is_finalizing()

    def stop(self) -> None:
        """Ask the thread to end."""
        with suppress(RuntimeError):  # it has ended
            self.loop.call_soon_threadsafe(self.loop.stop)


class LoopThread:
    """Runs coroutines for any number of threads. The thread starts with the first of them, and ends with `close`.

    `disconnect` is run on the loop before the thread ends. It is a daemon thread: a program may end without closing
    it. Before a fork it ends where nothing is under way, and starts again with the next call.
    """

    def __init__(self, disconnect: Disconnect) -> None:
        self._disconnect = disconnect
        self._running: _Running | None = None
        self._closed = False

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """The result of a coroutine, which is cancelled if the waiting thread is interrupted."""
        try:
            running = self._enter()
        except BaseException:
            coroutine.close()
            raise
        try:
            return self._result(running, coroutine)
        finally:
            _leave(running)

    def iterate(self, items: AsyncGenerator[Result, None]) -> Iterator[Result]:
        """The items of an async generator, which is closed when the caller stops reading."""
        running = self._enter()
        reading = _Reading(items)
        try:
            while True:
                item = self.run(reading.next())
                if item is reading:
                    return
                yield item  # type: ignore[misc]  # mypy cannot narrow by a sentinel object
        finally:
            # Not at the end of the program, nor in a forked child: nobody would answer.
            if running is self._running and running.is_here and not self._closed:
                if running.thread is threading.current_thread():  # the garbage collector came to it there
                    running.loop.create_task(reading.close())
                else:
                    with suppress(UnusableClient):  # closed meanwhile
                        self.run(reading.close())
            _leave(running)

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run `last`, then end the thread. What still runs is cancelled. Closing again does nothing."""
        running = self._running
        if self._closed or running is None or not running.is_here:
            self._closed = True
            last.close()
            return
        try:
            with suppress(UnusableClient):  # closed by another thread meanwhile
                self.run(last)
        finally:
            self._closed = True
            running.stop()
            running.thread.join()
            self._running = None
            _forking.settle()

    def abandon(self) -> bool:
        """End the thread without waiting for it; whether there was one. For a client that nobody can reach any more."""
        running = self._running
        if self._closed or running is None or not running.is_here:
            return False
        self._closed = True
        running.stop()
        return True

    def rest(self) -> None:
        """Before a fork: end the thread if nothing is under way."""
        running = self._running
        if running is None or running.under_way or not running.is_here or running.thread is threading.current_thread():
            return
        running.stop()
        running.thread.join(_LONGEST_REST)
        if not running.thread.is_alive():
            self._running = None

    def _enter(self) -> _Running:
        """The loop, with one thing more under way."""
        if sys.is_finalizing():
            raise UnusableClient("the program ends: no call can be made any more")
        with _forking.counting():
            if self._closed:
                raise UnusableClient("this client is closed")
            running = self._running
            if running is None or running.pid != os.getpid():
                _forking.check()
                running = self._running = self._start()
            if running.thread is threading.current_thread():
                raise UnusableClient("a blocking client cannot be called from its own event loop")
            running.under_way += 1
            return running

    def _start(self) -> _Running:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_serve, args=(loop, self._disconnect), name="tocsin-client", daemon=True)
        thread.start()
        _forking.rests_at_fork(self)
        return _Running(loop, thread)

    def _result(self, running: _Running, coroutine: Coroutine[Any, Any, Result]) -> Result:
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, running.loop)
        except RuntimeError:  # the loop was closed since
            coroutine.close()
            raise UnusableClient("this client is closed") from None
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            if self._closed:
                raise Unavailable("the client was closed during the call") from None
            raise
        except BaseException:
            future.cancel()  # KeyboardInterrupt; after the coroutine's own errors it does nothing
            raise


def _leave(running: _Running) -> None:
    with _forking.counting():
        running.under_way -= 1


def _serve(loop: asyncio.AbstractEventLoop, disconnect: Disconnect) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(disconnect())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        asyncio.set_event_loop(None)


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
