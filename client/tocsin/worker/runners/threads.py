"""Threads for handlers that are plain `def`."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from tocsin.worker import attempt_spans
from tocsin.worker.attempt import Attempt, Ended
from tocsin.worker.forks import end_if_forked
from tocsin.worker.mailbox import Mailbox
from tocsin.worker.outcomes import not_begun, raised, returned
from tocsin.worker.source import AttemptOutcome

logger = logging.getLogger("tocsin.worker")

#: Seconds after which a thread without work ends.
IDLE_FOR = 30.0


class HandlerThreads:
    """Runs attempts of plain `def` handlers (a Runner), each in a thread of its own for as long as it lasts.

    There are as many threads as attempts run at once, so none ever waits for another. The threads are daemons: a
    handler that never ends cannot keep the interpreter from ending, as it would in concurrent.futures.
    """

    def __init__(self, ended: Mailbox[Ended], idle_for: float = IDLE_FOR) -> None:
        self._ended = ended
        self._idle_for = idle_for
        self._queue: deque[Attempt] = deque()
        self._idle = 0  # threads that wait or are about to; each queued attempt has one of them
        self._changed = threading.Condition()
        self._closed = False
        self._numbers = itertools.count(1)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Give each to an idle thread, or to a new one."""
        for attempt in attempts:
            try:
                self._start(attempt)
            except (RuntimeError, MemoryError, OSError) as error:
                logger.warning("no thread for a job of type %r, it is given back: %s", attempt.job.type, error)
                self._ended.put((attempt, not_begun(attempt.job)))

    def _start(self, attempt: Attempt) -> None:
        with self._changed:
            self._queue.append(attempt)
            if self._idle >= len(self._queue):
                self._changed.notify()
                return
            try:
                name = f"tocsin-handler-{next(self._numbers)}"
                threading.Thread(target=self._live, name=name, daemon=True).start()
            except BaseException:
                self._queue.pop()
                raise
            self._idle += 1  # at once, so that two attempts do not count on the same thread

    def stop(self, attempt: Attempt) -> None:
        """Nothing more to do: the handler reads `job.cancelled`."""

    def kill(self, attempt: Attempt) -> bool:
        """Nothing ends a thread from outside."""
        return False

    async def close(self) -> None:
        """Let idle threads end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # Libraries that limit a function's time put an exception into its thread, and may be late: it is raised here then,
    # anywhere, mostly when the wait for the next attempt ends. A thread outlives that, and reports its attempt.

    def _live(self) -> None:
        going_on = True
        while going_on:
            with contextlib.suppress(BaseException):
                going_on = self._run_next()

    def _run_next(self) -> bool:
        """Wait for an attempt and run it. Nothing of it is held here afterwards, while the thread waits again."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed, self._idle_for)
            self._idle -= 1
            if not self._queue:
                return False
            attempt = self._queue.popleft()
        try:
            self._run(attempt)
        finally:
            del attempt  # not held while others hold the lock
            with self._changed:
                self._idle += 1
        return True

    def _run(self, attempt: Attempt) -> None:
        try:
            outcome = self._call(attempt)
        except BaseException as late:
            outcome = raised(attempt.job, late)
        end_if_forked()
        try:
            self._ended.put((attempt, outcome))
        except BaseException:
            self._ended.put((attempt, outcome))  # heard twice it is taken once

    def _call(self, attempt: Attempt) -> AttemptOutcome:
        attempt.began = time.monotonic()
        # In a context of its own: what one handler binds there is not for the next to see.
        return contextvars.copy_context().run(_handle, attempt)


def _handle(attempt: Attempt) -> AttemptOutcome:
    attempt.context.enter()
    span = attempt_spans.begin(attempt.job)
    try:
        value = attempt.handler.function(*attempt.handler.arguments(attempt.context))
    except BaseException as error:  # also SystemExit: a handler must not end the server
        outcome = raised(attempt.job, error)
    else:
        outcome = returned(attempt.job, value)
    attempt_spans.end(span, outcome)
    return outcome
