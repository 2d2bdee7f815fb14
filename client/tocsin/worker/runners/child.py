"""The process of one attempt: `python -m tocsin.worker.runners.child FD`, started by processes.py.

On stdin it hears where the handlers are and what the job is, then whether to stop. On FD it says progress and the
outcome. stdin's end means that the parent is gone; so is this process then. stdout and stderr are the handler's.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

from tocsin.tracing import TraceContext
from tocsin.worker import attempt_spans
from tocsin.worker.context import JobContext
from tocsin.worker.errors import ParentsUnread
from tocsin.worker.forks import end_if_forked
from tocsin.worker.loading import HandlersNotFound, load_handlers
from tocsin.worker.log_lines import Line, WaitingLines
from tocsin.worker.outcomes import not_begun, raised, returned
from tocsin.worker.registry import Handler
from tocsin.worker.runners import frames
from tocsin.worker.runners.handler_loop import new_event_loop
from tocsin.worker.source import AttemptOutcome, LeasedJob

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

#: Seconds between two words to the parent, progress and lines, which it stores four times a second at most.
WORDS_EVERY = 0.1


class Parent:
    """What is said to the parent. Any thread may speak."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._unsaid: tuple[float, str] | None = None
        self._lines = WaitingLines()
        self._said_at = 0.0
        self._timer: threading.Timer | None = None
        self._asked: deque[Future[Sequence[bytes | None]]] = deque()  # for parents of the job, and not answered yet

    def ask(self, _: LeasedJob) -> Future[Sequence[bytes | None]]:
        """Ask for the parents of the job."""
        answer: Future[Sequence[bytes | None]] = Future()
        with self._lock:
            self._asked.append(answer)
            self._write(frames.pack({"ask": "parents"}))
        return answer

    def answered(self, said: dict[str, Any], body: bytes) -> None:
        """The answer to what was asked first."""
        answer = self._asked.popleft()
        if not answer.set_running_or_notify_cancel():
            return
        if "refused" in said:
            answer.set_exception(ParentsUnread(said["refused"]))
        else:
            answer.set_result(frames.parts_of(said["parents"], body))

    def progress(self, fraction: float, message: str) -> None:
        """Say it, at once or within WORDS_EVERY."""
        with self._lock:
            self._unsaid = (fraction, message)
            self._say_soon()

    def log(self, new: Line) -> None:
        """Hand on a line that was logged, at once or within WORDS_EVERY."""
        with self._lock:
            self._lines.add(new)
            self._say_soon()

    def started(self) -> None:
        """Say that the handler begins."""
        with self._lock:
            self._write(frames.pack({"started": True}))

    def outcome(self, outcome: AttemptOutcome) -> None:
        """Say how the attempt ended, after its last words."""
        with self._lock:
            self._say()
            self._write(frames.pack({"outcome": frames.outcome_to_json(outcome)}, outcome.result or b""))

    def _later(self) -> None:
        with self._lock:
            self._timer = None
            self._say()

    def _say_soon(self) -> None:
        wait = self._said_at + WORDS_EVERY - time.monotonic()
        if wait <= 0:
            self._say()
        elif self._timer is None:
            self._timer = threading.Timer(wait, self._later)
            self._timer.daemon = True
            self._timer.start()

    def _say(self) -> None:
        words: dict[str, object] = {}
        if self._unsaid is not None:
            words["progress"], self._unsaid = self._unsaid, None
        if self._lines:
            words["log"] = self._lines.take()
        if words:
            self._write(frames.pack(words))
            self._said_at = time.monotonic()

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(self._fd, rest) :]


class ChildAttempt:
    """The one attempt, and how it is stopped from the thread that hears the parent."""

    def __init__(self, job: LeasedJob, handler: Handler, parent: Parent, span: TraceContext | None) -> None:
        """`span`: the attempt's, which the parent keeps; None: it has none."""
        self._job = job
        self._span = span
        self._handler = handler
        self._context = JobContext(job, parent.progress, parent.log, parent.ask)
        self._lock = threading.Lock()
        self._cancel: Callable[[], object] | None = None

    def stop(self, reason: str) -> None:
        """Set `job.cancelled`, and cancel the task of an async handler."""
        self._context.ask_to_stop(reason)
        with self._lock:
            if self._cancel is not None:
                self._cancel()

    def run(self) -> AttemptOutcome:
        """Call the handler."""
        self._context.enter()
        span = None
        if self._span is not None:
            attempt_spans.enter(self._span)
        else:
            span = attempt_spans.begin(self._job)  # of handlers that set up OpenTelemetry here alone
        try:
            if self._handler.is_async:
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    value = runner.run(self._run_async())
            else:
                value = self._handler.function(*self._handler.arguments(self._context))
        except BaseException as error:
            end_if_forked()
            outcome = raised(self._job, error)
        else:
            end_if_forked()
            outcome = returned(self._job, value)
        attempt_spans.end(span, outcome)
        return outcome

    async def _run_async(self) -> object:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        with self._lock:
            self._cancel = partial(loop.call_soon_threadsafe, cast(asyncio.Task[object], task).cancel)
            asked = self._context.cancelled
        try:
            if asked:
                raise asyncio.CancelledError
            arguments = self._handler.arguments(self._context)
            return await cast(Awaitable[object], self._handler.function(*arguments))
        finally:
            with self._lock:
                self._cancel = None


def main() -> None:
    """Run one attempt and end."""
    parent_fd = int(sys.argv[1])
    os.set_inheritable(parent_fd, False)  # what the handler starts must not keep the pipe open
    _die_with_parent()
    ear = os.dup(0)  # not inherited either
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    first = frames.read(_exactly(ear))
    if first is None or os.getppid() != first[0]["parent"]:
        sys.exit(1)  # the parent died before it could be bound to it
    said, body = first
    sys.path[:] = said["path"]
    parent = Parent(parent_fd)
    job = frames.job_from_json(said["job"], body)
    try:
        handler = load_handlers(said["handlers"]).get(job.type)
        if handler is None:
            raise HandlersNotFound(f"{said['handlers']} has no handler for type {job.type!r} when loaded by itself")
    except HandlersNotFound as error:
        parent.outcome(raised(job, error))
        return
    span = said.get("span")
    attempt = ChildAttempt(job, handler, parent, None if span is None else TraceContext(*span))
    try:
        threading.Thread(target=_hear, args=(ear, attempt, parent), daemon=True).start()
    except RuntimeError:  # no more threads may be had, of which the job is innocent
        parent.outcome(not_begun(job))
        return
    parent.started()
    parent.outcome(attempt.run())


def _die_with_parent() -> None:
    """Linux: be killed with the parent, even while code holds the interpreter's lock and hears nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _hear(ear: int, attempt: ChildAttempt, parent: Parent) -> None:
    exactly = _exactly(ear)
    while (frame := frames.read(exactly)) is not None:
        said, body = frame
        if "stop" in said:
            attempt.stop(said["stop"])
        else:
            parent.answered(said, body)
    os._exit(1)  # the parent is gone


def _exactly(fd: int) -> Callable[[int], bytes | None]:
    def exactly(count: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            part = os.read(fd, count - len(parts))
            if not part:
                return None
            parts += part
        return bytes(parts)

    return exactly


if __name__ == "__main__":
    main()
