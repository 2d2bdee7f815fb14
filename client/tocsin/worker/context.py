"""JobContext: what a handler is given."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.payloads import TypedPayload, data_of
from tocsin.tracing import TraceContext
from tocsin.v1 import payloads_pb2
from tocsin.worker.errors import JobCancelled, UnfitPayload
from tocsin.worker.log_lines import LevelName, Line, line
from tocsin.worker.outcomes import cut
from tocsin.worker.parents import AskParents, Parents, no_parents
from tocsin.worker.payloads import read_payload
from tocsin.worker.source import LeasedJob

#: CONTRACT: a progress message is at most this long in UTF-8; longer ones are cut.
PROGRESS_MESSAGE_BYTES = 1 << 10

_UNREAD: Any = object()

#: The job whose handler runs here, for what is logged meanwhile.
_running: ContextVar[LeasedJob | None] = ContextVar("tocsin_running_job", default=None)


def running_job() -> dict[str, str | int]:
    """Names the job whose handler runs here (queue, job_id, type, attempt); empty outside handlers."""
    job = _running.get()
    if job is None:
        return {}
    return {"queue": job.queue, "job_id": job.job_id, "type": job.type, "attempt": job.attempt}


class JobContext:
    """One attempt, as its handler sees it: the job, its payload, and ways to say and hear things meanwhile.

    `report` is told of progress, `write` of lines that are logged, `ask` for the jobs that it waited for; in tests of
    your own handlers leave them out, or give a list's `append` (for `report` in a lambda).
    """

    __slots__ = ("_ask", "_cancel_reason", "_job", "_payload", "_report", "_write")

    def __init__(
        self,
        job: LeasedJob,
        report: Callable[[float, str], None] | None = None,
        write: Callable[[Line], None] | None = None,
        ask: AskParents = no_parents,
    ) -> None:
        self._job = job
        self._ask = ask
        self._report = report
        self._write = write
        self._payload: Any = _UNREAD
        self._cancel_reason: str | None = None

    @property
    def queue(self) -> str:
        """Queue the job stands in."""
        return self._job.queue

    @property
    def job_id(self) -> str:
        """The job's name, unique within its queue."""
        return self._job.job_id

    @property
    def type(self) -> str:
        """The job's type."""
        return self._job.type

    @property
    def attempt(self) -> int:
        """Which run of the job this is; 1 is the first. Never the same twice: it can fence what the handler writes."""
        return self._job.attempt

    @property
    def token(self) -> bytes:
        """The source's name for the right to this attempt; opaque. Who has it can end the attempt."""
        return self._job.token

    @property
    def failures(self) -> int:
        """Attempts that failed or timed out before this one."""
        return self._job.failures

    @property
    def crashes(self) -> int:
        """Attempts in a row before this one whose process died or froze."""
        return self._job.crashes

    @property
    def priority(self) -> int:
        """Higher runs first."""
        return self._job.priority

    @property
    def tags(self) -> Mapping[str, str]:
        """The job's labels."""
        return self._job.tags

    @property
    def trace(self) -> TraceContext | None:
        """The span in which it was scheduled, as W3C Trace Context writes it. None: none."""
        return self._job.trace

    @property
    def create_time(self) -> datetime:
        """When the job was first scheduled (UTC, the store's clock)."""
        return self._job.create_time

    @property
    def schedule_time(self) -> datetime:
        """When this attempt was due (UTC, the store's clock)."""
        return self._job.schedule_time

    @property
    def nominal_time(self) -> datetime | None:
        """The time of its schedule that this job is for (UTC), however late it runs; None where no schedule made it."""
        if not self._job.fired:
            return None
        return datetime.fromisoformat(self._job.job_id.rpartition("@")[2]).astimezone(UTC)

    @property
    def schedule_id(self) -> str:
        """The schedule that made the job; empty where none did."""
        return self._job.job_id.rpartition("@")[0] if self._job.fired else ""

    @property
    def timeout(self) -> timedelta | None:
        """The job's own limit of one attempt, or None."""
        return self._job.timeout

    @property
    def payload(self) -> dict[str, Any] | bytes | TypedPayload | None:
        """The payload: a dict, bytes, a typed message of tocsin.v1, or None. Decoded when first asked for.

        Raises UnfitPayload where it cannot be read, which ends the job as FAILED.
        """
        decoded = self._decoded()
        return decoded.body if isinstance(decoded, payloads_pb2.RawPayload) else decoded

    @property
    def data(self) -> dict[str, Any]:
        """The payload as a dict: {} where there is none, a typed message by its field names.

        Whole numbers are int (JSON knows one kind of number). Raises UnfitPayload for bytes: take `payload`.
        """
        decoded = self._decoded()
        if isinstance(decoded, payloads_pb2.RawPayload):
            raise UnfitPayload("this job's payload is bytes, not a dict: read job.payload")
        return data_of(decoded)

    @property
    def content_type(self) -> str:
        """What the payload's bytes are, in the words of who scheduled it; "" if nothing was said or it is no bytes."""
        decoded = self._decoded()
        return decoded.content_type if isinstance(decoded, payloads_pb2.RawPayload) else ""

    def progress(self, fraction: float, message: str = "") -> Awaitable[None]:
        """Say how far the attempt is: 0 to 1 (what is outside is taken as the nearer end) and up to 1 KiB of words.

        It is said when called, and works in both kinds of handlers: a plain `def` calls `job.progress(0.5)`, an
        `async def` may also await it, which gives other handlers a turn. Cheap: at most four times a second the
        latest word is stored, and the last one always is. Raises ValueError where the fraction is not a number.
        """
        if math.isnan(fraction):
            raise ValueError("progress is not a number: give a fraction from 0 to 1")
        report = self._report
        if report is not None:
            report(min(1.0, max(0.0, float(fraction))), cut(str(message), PROGRESS_MESSAGE_BYTES))
        return _GIVE_WAY

    def log(self, text: str, level: LevelName = "info") -> Awaitable[None]:
        """Write a line to the job's log, kept with the job: up to 4 KiB, level "debug", "info", "warning" or "error".

        Like `progress` it works in both kinds of handlers, and may be awaited in an `async def`. Lines travel with the
        next heartbeat, within a quarter of a second, and before the outcome. Of a thousand that wait for it the middle
        ones are dropped, with a mark; so are they of all that a job wrote (1,000 lines, 256 KiB). Raises ValueError for
        another level.
        """
        new = line(text, level)
        write = self._write
        if write is not None:
            write(new)
        return _GIVE_WAY

    def parents(self) -> Parents:
        """The jobs that this one waited for (`depends_on`), or whose end it follows (`on_end`), in order, each as
        `client.get` shows it, with its result; None in the place of one that is gone.

        An `async def` has them by `await job.parents()`; a plain `def` by `for parent in job.parents()`, which waits.
        In a worker process it is a call to its server, by the worker's token, which needs the scopes `read` and
        `read_payload` and the parents' queues. Each call asks anew. Where they cannot be read it raises ParentsUnread,
        which ends the attempt as any exception does.
        """
        return Parents(self._ask, self._job)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should stop: cancelled, timed out, its lease lost, or the process is shutting down.

        An `async def` handler is also cancelled the asyncio way; a plain `def` must look here from time to time.
        """
        return self._cancel_reason is not None

    @property
    def cancel_reason(self) -> str:
        """Why it should stop; "" while it should not, or where no reason was given."""
        return self._cancel_reason or ""

    def raise_if_cancelled(self) -> None:
        """Raise JobCancelled if the attempt should stop."""
        if self._cancel_reason is not None:
            raise JobCancelled(self._cancel_reason)

    def ask_to_stop(self, reason: str) -> None:
        """Set `cancelled`. The runtime does so; call it in tests of your own handlers. The first reason stays."""
        if self._cancel_reason is None:
            self._cancel_reason = reason

    def enter(self) -> None:
        """From here on `running_job` tells of it, in this context. The runtime does so, before it calls the handler."""
        _running.set(self._job)

    def mute(self) -> None:
        """Tell of no more progress, and log no more: the attempt has ended. The runtime does so."""
        self._report = self._write = None

    def _decoded(self) -> Any:
        if self._payload is _UNREAD:
            self._payload = read_payload(self._job.payload_kind, self._job.payload_body)
        return self._payload


class _GiveWay:
    """Awaited, it lets other handlers have a turn; not awaited, it warns of nothing, as a coroutine would."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


_GIVE_WAY = _GiveWay()
