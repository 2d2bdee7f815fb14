"""The event loops of async handlers: one, and a fresh one whenever a handler blocks it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from tocsin.worker.attempt import Attempt, Ended
from tocsin.worker.mailbox import Mailbox
from tocsin.worker.outcomes import not_begun, raised
from tocsin.worker.runners.handler_loop import TICK, HandlerLoop

logger = logging.getLogger("tocsin.worker")

#: Seconds that idle loops get to end when the runtime closes.
CLOSE_GRACE = 2.0


class HandlerLoops:
    """Runs attempts of async handlers (a Runner).

    A loop that has not ticked for `blocked_after` takes nothing new: what it has not begun, and what comes, goes to a
    fresh one. When it comes back it ends what it has, and is then closed.
    """

    def __init__(self, ended: Mailbox[Ended], blocked_after: timedelta) -> None:
        self._ended = ended
        self._blocked_after = blocked_after.total_seconds()
        self._check_every = self._blocked_after / 4
        self._loops: list[HandlerLoop] = []
        self._alive: dict[HandlerLoop, asyncio.Event] = {}  # set when its thread is about to end
        self._current: HandlerLoop | None = None
        self._watch_timer: asyncio.TimerHandle | None = None
        self._watched = 0.0
        self._numbers = itertools.count(1)

    @property
    def blocked(self) -> int:
        """Loops that have not ticked lately."""
        return sum(loop.blocked_since is not None for loop in self._loops)

    @property
    def lag(self) -> float:
        """For how many seconds the worst of those that have anything to do has not ticked when it should have."""
        now = time.monotonic()
        return max((now - loop.ticked - TICK for loop in self._loops if loop.load), default=0.0)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Run them on a loop that ticks."""
        self._post(attempts)
        if self._watch_timer is None:
            self._watch_later()

    def stop(self, attempt: Attempt) -> None:
        """Cancel the handler's task."""
        if attempt.seat is not None:  # else it could not begin, which is about to be heard
            attempt.seat.cancel(attempt)

    def kill(self, attempt: Attempt) -> bool:
        """Nothing ends a task that does not want to."""
        return False

    async def close(self) -> None:
        """End the loops that can; a blocked one is left: its thread does not keep the interpreter from ending."""
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        for loop in list(self._loops):
            self._retire(loop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE):
                for gone in [gone for loop, gone in self._alive.items() if not self._is_blocked(loop)]:
                    await gone.wait()

    def _post(self, attempts: Sequence[Attempt]) -> None:
        try:
            loop = self._open_loop()
        except (RuntimeError, MemoryError, OSError) as error:
            logger.warning("no event loop for %d async jobs, they are given back: %s", len(attempts), error)
            self._ended.put(*((attempt, not_begun(attempt.job)) for attempt in attempts))
        else:
            loop.post(attempts)

    def _open_loop(self) -> HandlerLoop:
        if self._current is None or self._is_blocked(self._current):
            open_ones = (loop for loop in self._loops if not self._is_blocked(loop))
            self._current = next(open_ones, None) or self._new_loop()
        return self._current

    def _new_loop(self) -> HandlerLoop:
        serving = asyncio.get_running_loop()

        def closed(loop: HandlerLoop) -> None:
            with contextlib.suppress(RuntimeError):  # the serving loop is closed
                serving.call_soon_threadsafe(self._forget, loop)

        loop = HandlerLoop(f"tocsin-handlers-{next(self._numbers)}", self._ended, closed)
        self._alive[loop] = asyncio.Event()
        self._loops.append(loop)
        return loop

    def _forget(self, loop: HandlerLoop) -> None:
        self._alive.pop(loop).set()

    def _is_blocked(self, loop: HandlerLoop) -> bool:
        if loop.blocked_since is not None and loop.ticked == loop.blocked_since:
            return True  # not back yet, although it may have nothing more to do; a tick is due there when it is
        return loop.load > 0 and time.monotonic() - loop.ticked > self._blocked_after

    # --- watching ---

    def _watch_later(self) -> None:
        self._watched = time.monotonic()
        self._watch_timer = asyncio.get_running_loop().call_later(self._check_every, self._watch)

    def _watch(self) -> None:
        self._watch_timer = None
        late = time.monotonic() - self._watched - self._check_every
        if late < self._blocked_after / 2:
            for loop in list(self._loops):
                self._look_at(loop)
        # Else the whole process stood still: let every loop tick first.
        if len(self._loops) > 1 or any(loop.load or loop.blocked_since is not None for loop in self._loops):
            self._watch_later()

    def _look_at(self, loop: HandlerLoop) -> None:
        now = time.monotonic()
        if self._is_blocked(loop):
            if loop.blocked_since is None:
                loop.blocked_since = loop.ticked
                logger.warning(
                    "%s has blocked its event loop for %.1f s; new jobs go to a fresh loop. "
                    "Declare it with plain `def`, or await what takes long.",
                    loop.culprit(),
                    now - loop.ticked,
                )
                self._move_from(loop)
            return
        if loop.blocked_since is not None:
            logger.info("event loop %s is back after %.1f s", loop.name, now - loop.blocked_since)
            loop.blocked_since = None
        if loop is not self._current and not loop.load:
            self._retire(loop)

    def _move_from(self, loop: HandlerLoop) -> None:
        unbegun = loop.take_back()
        if staying := [attempt for attempt in unbegun if attempt.stop is None]:
            self._post(staying)
        # Stopped before they began: the blocked loop has not heard of it.
        self._ended.put(*((a, raised(a.job, asyncio.CancelledError())) for a in unbegun if a.stop is not None))

    def _retire(self, loop: HandlerLoop) -> None:
        self._loops.remove(loop)
        if loop is self._current:
            self._current = None
        loop.close()
