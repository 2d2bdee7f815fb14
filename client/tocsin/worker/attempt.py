"""One attempt: what runs, where, why it was asked to stop, and what its ending means."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Protocol

from tocsin.worker.context import JobContext
from tocsin.worker.log_lines import Line, WaitingLines
from tocsin.worker.outcomes import CANCELLED, ERROR_MESSAGE_BYTES, TIMEOUT, cut
from tocsin.worker.parents import AskParents, no_parents
from tocsin.worker.registry import Handler
from tocsin.worker.source import AttemptOutcome, Ending, LeasedJob

#: Held while an attempt's first line is written: threads of its handler may do so at once.
_first_line = threading.Lock()


class Stop(Enum):
    """Why an attempt was asked to stop."""

    CANCEL = auto()  # somebody cancelled the job
    TIMEOUT = auto()  # it passed its limit
    DRAIN = auto()  # this process is shutting down
    LOST = auto()  # its lease is gone: nobody takes its outcome


class Attempt:
    """One run of a job's handler. Only the runtime's loop changes it, but for `began` and what is said of progress."""

    __slots__ = (
        "_tell",
        "abandoned",
        "ask",
        "began",
        "context",
        "handler",
        "job",
        "key",
        "limit",
        "lines",
        "runner",
        "said",
        "seat",
        "sent",
        "stop",
        "stop_reason",
        "timer",
        "told",
    )

    def __init__(
        self,
        job: LeasedJob,
        handler: Handler,
        runner: Runner,
        tell: Callable[[Attempt], None],
        ask: AskParents = no_parents,
    ) -> None:
        self.job = job
        self.key = (job.queue, job.job_id)  # two attempts of one job never run here at once
        self.handler = handler
        self.runner = runner
        self.context = JobContext(job, self._say, self.write, ask)
        self.ask = ask
        self.limit = _shorter(job.timeout, handler.timeout)
        self.began: float | None = None  # time.monotonic() when the handler was called
        self.seat: Any = None  # the runner's own: where in it the attempt runs
        self.stop: Stop | None = None
        self.stop_reason = ""
        self.timer: asyncio.TimerHandle | None = None  # its timeout, or the end of its grace
        self.abandoned = False  # its outcome was given while the handler still ran
        self.said: tuple[float, str] | None = None  # progress, as last said
        self.sent: tuple[float, str] | None = None  # progress, as last stored
        self.lines: WaitingLines | None = None  # logged, and not stored yet; None: none was written
        self.told = False  # the runtime knows that something was said or logged
        self._tell = tell

    def _say(self, fraction: float, message: str) -> None:
        self.said = (fraction, message)
        self._tell_once()

    def write(self, new: Line) -> None:
        """Keep a line for the next heartbeat. From any thread."""
        if self.lines is None:
            with _first_line:
                self.lines = self.lines or WaitingLines()
        self.lines.add(new)
        self._tell_once()

    @property
    def unsaid(self) -> bool:
        """Whether progress or lines are not stored yet, also where they are on their way."""
        return self.said is not self.sent or bool(self.lines)

    def _tell_once(self) -> None:
        if not self.told:
            self.told = True
            self._tell(self)

    def settled(self, raw: AttemptOutcome | None) -> AttemptOutcome | None:
        """What to record, given what the handler did (None: it still runs) and why it was asked to stop.

        None: nothing, the lease is lost. A cancelled attempt that completes is COMPLETED; one that passed its timeout
        is not, whatever it returned afterwards. One that was handed over goes on where it is, but for a cancel or a
        timeout.
        """
        completed = raw is not None and raw.ending is Ending.COMPLETED
        match self.stop:
            case None:
                return raw
            case Stop.LOST:
                return None
            case Stop.DRAIN:
                goes_on = raw is not None and raw.ending is Ending.HANDED_OVER
                return raw if completed or goes_on else AttemptOutcome(self.job, Ending.RELEASED)
            case Stop.TIMEOUT:
                seconds = self.limit.total_seconds() if self.limit else 0.0
                return self._failed(TIMEOUT, f"the attempt passed its limit of {seconds:g} s", raw)
            case Stop.CANCEL:
                if raw is not None and (completed or (raw.ending is Ending.FAILED and raw.error_type != CANCELLED)):
                    return raw
                reason = f": {self.stop_reason}" if self.stop_reason else ""
                return replace(self._failed(CANCELLED, f"cancelled{reason}", raw), retryable=False)

    def _failed(self, error_type: str, message: str, raw: AttemptOutcome | None) -> AttemptOutcome:
        return AttemptOutcome(
            self.job,
            Ending.FAILED,
            error_type=error_type,
            error_message=cut(message, ERROR_MESSAGE_BYTES),
            error_trace=raw.error_trace if raw is not None else "",
        )


class Runner(Protocol):
    """Calls handlers: on an event loop, in a thread, or in a process. Called on the runtime's loop.

    Each attempt that was started ends once, with what the handler did, in the mailbox that the runner was given.
    """

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Begin all of them. Sets `began` of each when its handler is called."""

    def stop(self, attempt: Attempt) -> None:
        """Ask the handler to stop; `context.cancelled` is set already."""

    def kill(self, attempt: Attempt) -> bool:
        """Its grace is over. True: it is made to end now; False: it ends when its handler does."""

    async def close(self) -> None:
        """Let go of what is idle; what still runs does not keep the interpreter from ending."""


#: What a runner reports: an attempt whose handler has ended, and what it did.
Ended = tuple[Attempt, AttemptOutcome]


def _shorter(one: timedelta | None, other: timedelta | None) -> timedelta | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
