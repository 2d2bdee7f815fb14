"""An event loop in a thread of its own, on which async handlers run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from tocsin.worker import attempt_spans
from tocsin.worker.attempt import Attempt, Ended
from tocsin.worker.forks import end_if_forked
from tocsin.worker.mailbox import Mailbox, drained
from tocsin.worker.outcomes import raised, returned
from tocsin.worker.source import AttemptOutcome

logger = logging.getLogger("tocsin.worker")

#: Seconds between two signs of life while anything runs here.
TICK = 0.1

#: Seconds that tasks left behind by handlers get to obey their cancellation when the loop is closed.
LEFTOVER_GRACE = 1.0


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where that is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class HandlerLoop:
    """Runs attempts of async handlers. Methods are called on the runtime's loop, those with _here on this one.

    An attempt in `_waiting` has not been begun; whoever pops it (a task here, or the runtime, which takes it back from
    a blocked loop) has it. dict.pop is one step under the interpreter's lock, so no other lock is needed.
    """

    def __init__(self, name: str, ended: Mailbox[Ended], closed: Callable[[HandlerLoop], None]) -> None:
        self.blocked_since: float | None = None  # kept by who watches
        self.ticked = time.monotonic()
        self._ended = ended
        self._closed = closed
        self._waiting: dict[Attempt, None] = {}
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        self._out: deque[Ended] = deque()
        self._ticking = False
        self._closing = False
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._loop.close()
            raise

    @property
    def load(self) -> int:
        """Attempts that wait or run here, abandoned ones included, or whose outcome has yet to be handed over."""
        return len(self._waiting) + len(self._tasks) + len(self._out)

    @property
    def name(self) -> str:
        """The thread's name."""
        return self._thread.name

    def post(self, attempts: Sequence[Attempt]) -> None:
        """Run them, in one crossing."""
        if not self.load:
            self.ticked = time.monotonic()  # it did not tick while it had nothing to do
        for attempt in attempts:
            attempt.seat = self
            self._waiting[attempt] = None
        self._loop.call_soon_threadsafe(self._begin_here, attempts)

    def cancel(self, attempt: Attempt) -> None:
        """Cancel its task, or take it out unbegun."""
        self._loop.call_soon_threadsafe(self._cancel_here, attempt)

    def take_back(self) -> list[Attempt]:
        """Attempts that were not begun: they are no longer this loop's. What has ended is handed over, too."""
        self._ended.put(*drained(self._out))
        return [attempt for attempt in list(self._waiting) if self._pop_waiting(attempt)]

    def culprit(self) -> str:
        """What the loop is busy with at this moment, for people: a handler and its type."""
        current = asyncio.current_task(self._loop)
        for attempt, task in list(self._tasks.items()):
            if task is current:
                return f"handler {attempt.handler.name} of type {attempt.job.type!r}"
        if current is not None:
            return f"task {current.get_name()} ({getattr(current.get_coro(), '__qualname__', '?')})"
        return "a callback outside any task"

    def close(self) -> None:
        """End the loop and its thread; tasks that handlers left behind are cancelled."""
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    # --- on this loop's thread ---

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._closing:
            try:
                self._loop.run_forever()
            except BaseException as error:
                # SystemExit or KeyboardInterrupt in a task that a handler made: asyncio lets those through.
                logger.warning("a task that a handler left behind raised %s; it is ignored", type(error).__name__)
        with contextlib.suppress(BaseException):
            self._loop.run_until_complete(self._leave_here())
        with contextlib.suppress(BaseException):
            self._loop.close()
        self._closed(self)

    async def _leave_here(self) -> None:
        leftovers = asyncio.all_tasks() - {asyncio.current_task()}
        for task in leftovers:
            task.cancel()
        if leftovers:
            _, deaf = await asyncio.wait(leftovers, timeout=LEFTOVER_GRACE)
            for task in deaf:  # abandoned, and told of as such: no word of asyncio's own when they are taken down
                task._log_destroy_pending = False  # type: ignore[attr-defined]
        await self._loop.shutdown_asyncgens()

    def _begin_here(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            if attempt in self._waiting:
                self._tasks[attempt] = self._loop.create_task(self._run_here(attempt))
        if not self._ticking:
            self._ticking = True
            self._tick_here()

    async def _run_here(self, attempt: Attempt) -> None:
        if not self._pop_waiting(attempt):
            if self._tasks.get(attempt) is asyncio.current_task():
                del self._tasks[attempt]
            return
        attempt.began = time.monotonic()
        attempt.context.enter()
        span = attempt_spans.begin(attempt.job)
        try:
            arguments = attempt.handler.arguments(attempt.context)
            value = await cast(Awaitable[object], attempt.handler.function(*arguments))
        except BaseException as error:  # also SystemExit: a handler must not end the server
            outcome = raised(attempt.job, error)
        else:
            outcome = returned(attempt.job, value)
        attempt_spans.end(span, outcome)
        end_if_forked()
        if self._loop.is_closed():
            return  # a handler that never stopped, taken down with the interpreter
        self._tasks.pop(attempt, None)
        self._hand_over_here(attempt, outcome)

    def _cancel_here(self, attempt: Attempt) -> None:
        if self._pop_waiting(attempt):
            # Its task, if there is one, finds it gone and ends.
            self._hand_over_here(attempt, raised(attempt.job, asyncio.CancelledError()))
        elif (task := self._tasks.get(attempt)) is not None:
            task.cancel()

    def _hand_over_here(self, attempt: Attempt, outcome: AttemptOutcome) -> None:
        self._out.append((attempt, outcome))
        if len(self._out) == 1:
            # After what else is ready now: those that end in the same turn cross over together.
            self._loop.call_soon(self._flush_here)

    def _flush_here(self) -> None:
        self._ended.put(*drained(self._out))

    def _tick_here(self) -> None:
        self.ticked = time.monotonic()
        if self.load:
            self._loop.call_later(TICK, self._tick_here)
        else:
            self._ticking = False

    def _pop_waiting(self, attempt: Attempt) -> bool:
        return self._waiting.pop(attempt, attempt) is None
