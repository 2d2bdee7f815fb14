"""Jobs as users see them."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tocsin._times import read_time, span_in, time_in
from tocsin.dependencies import DependsOn, JobRef, WaitedFor, waited_for
from tocsin.enums import Outcome, State, View
from tocsin.errors import TocsinError
from tocsin.following import Explanation
from tocsin.payloads import DecodedPayload, TypedPayload, data_of, payload_of, python_from_value
from tocsin.requests import Collapse, Retention, RetryPolicy
from tocsin.v1 import job_pb2, payloads_pb2


@dataclass(frozen=True, slots=True)
class JobError:
    """What went wrong in one attempt. `type` is the exception's class, or TIMEOUT, INVALID_PAYLOAD,
    LEASE_EXPIRED, CRASHED or POISON."""

    time: datetime
    attempt: int
    type: str
    message: str
    trace: str = field(default="", repr=False)  # only in view FULL


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running attempt says it is: `fraction` 0 to 1."""

    fraction: float
    message: str
    update_time: datetime | None


@dataclass(frozen=True, slots=True)
class Cancel:
    """A wish to cancel, and how far it got. `deliver_time`: told to the job's process; `obey_time`: it ended.

    `by` is empty for now: callers have no names.
    """

    reason: str
    by: str
    ask_time: datetime | None
    deliver_time: datetime | None
    obey_time: datetime | None
    grace: timedelta | None


@dataclass(frozen=True, slots=True, repr=False)
class Job:
    """A job as it stood when it was read. Read only; `message` is the tocsin.v1.Job behind it."""

    message: job_pb2.Job
    view: View = View.BASIC
    outcome: Outcome | None = None  # what `schedule` did; None from every other call

    def __hash__(self) -> int:
        return hash((self.message.queue, self.message.job_id, self.message.revision))

    def __repr__(self) -> str:
        return f"Job({self.job_id!r}, queue={self.queue!r}, type={self.type!r}, state={self.state})"

    @property
    def queue(self) -> str:
        """The queue it stands in."""
        return self.message.queue

    @property
    def job_id(self) -> str:
        """Its name, unique within the queue while it stands."""
        return self.message.job_id

    @property
    def type(self) -> str:
        """Which handler runs it."""
        return self.message.spec.type

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return State(job_pb2.Job.State.Name(self.message.state))

    @property
    def priority(self) -> int:
        """Higher runs first within the queue."""
        return self.message.spec.priority

    @property
    def tags(self) -> dict[str, str]:
        """Its labels."""
        return dict(self.message.spec.tags)

    @property
    def limit_key(self) -> str:
        """Whose job it is, where its queue limits or takes turns by key. Empty: none."""
        return self.message.spec.limit_key

    @property
    def weight(self) -> int:
        """Its key's share of turns."""
        return self.message.spec.weight or 1

    @property
    def collapse(self) -> Collapse | None:
        """Which jobs it is one with. None: with no other."""
        return Collapse.read(self.message.spec.collapse) if self.message.spec.HasField("collapse") else None

    @property
    def expire_time(self) -> datetime | None:
        """When it ends by itself. None: it does not, or it has begun, or ended."""
        return time_in(self.message, "expire_time")

    @property
    def depends_on(self) -> DependsOn | None:
        """The jobs that it waits for, or waited for, and by which rule. None: none."""
        return DependsOn.read(self.message.spec.depends_on) if self.message.spec.HasField("depends_on") else None

    @property
    def parents(self) -> tuple[WaitedFor, ...]:
        """The jobs that it waits for, or waited for, and how they ended. Only as `get` gives it."""
        return waited_for(self.message.spec.depends_on)

    @property
    def on_end(self) -> JobRef | None:
        """The job that its end lets go. None: none."""
        said = self.message.on_end
        return JobRef(said.queue, said.job_id) if self.message.HasField("on_end") else None

    @property
    def held(self) -> bool:
        """No attempt begins until it is let go."""
        return self.message.held

    @property
    def retry(self) -> RetryPolicy:
        """Its retry policy, defaults filled in."""
        return RetryPolicy.read(self.message.spec.retry)

    @property
    def timeout(self) -> timedelta | None:
        """Limit of one attempt. None: no limit."""
        return span_in(self.message.spec, "timeout")

    @property
    def retention(self) -> Retention:
        """How long it stands after its end, defaults filled in."""
        return Retention.read(self.message.spec.retention)

    @property
    def create_time(self) -> datetime | None:
        """When it was first scheduled."""
        return time_in(self.message, "create_time")

    @property
    def schedule_time(self) -> datetime | None:
        """When it is, or was last, due."""
        return time_in(self.message, "schedule_time")

    @property
    def nominal_time(self) -> datetime | None:
        """The time of its schedule that it is the job of, however late it was made. None: no schedule made it."""
        return time_in(self.message, "nominal_time")

    @property
    def schedule_id(self) -> str:
        """The schedule that made it. Empty: none did."""
        return self.message.schedule_id

    @property
    def start_time(self) -> datetime | None:
        """When its last attempt began. None: none began."""
        return time_in(self.message, "start_time")

    @property
    def end_time(self) -> datetime | None:
        """When it ended. None: it has not."""
        return time_in(self.message, "end_time")

    @property
    def attempt(self) -> int:
        """Number of its last attempt, 0 where none began."""
        return self.message.attempt

    @property
    def failures(self) -> int:
        """Attempts that failed or timed out since it was scheduled or retried by hand."""
        return self.message.failures

    @property
    def crashes(self) -> int:
        """Leases lost in a row."""
        return self.message.crashes

    @property
    def errors(self) -> tuple[JobError, ...]:
        """The first error and the last 9, oldest first."""
        return tuple(
            JobError(read_time(error.time), error.attempt, error.type, error.message, error.trace)
            for error in self.message.errors
        )

    @property
    def progress(self) -> Progress | None:
        """What the last attempt said of how far it is."""
        if not self.message.HasField("progress"):
            return None
        said = self.message.progress
        return Progress(said.fraction, said.message, time_in(said, "update_time"))

    @property
    def cancel(self) -> Cancel | None:
        """The wish to cancel it."""
        if not self.message.HasField("cancel"):
            return None
        wish = self.message.cancel
        return Cancel(
            reason=wish.reason,
            by=wish.by,
            ask_time=time_in(wish, "ask_time"),
            deliver_time=time_in(wish, "deliver_time"),
            obey_time=time_in(wish, "obey_time"),
            grace=span_in(wish, "grace"),
        )

    @property
    def explanation(self) -> Explanation | None:
        """Why it is not running, or who runs it; None where that was not asked: `get` asks, and `list` with
        `explain`."""
        return Explanation.read(self.message.explanation) if self.message.HasField("explanation") else None

    @property
    def revision(self) -> int:
        """Grows with each change; give it to `update` to change only what you have seen."""
        return self.message.revision

    @property
    def payload(self) -> dict[str, object] | bytes | TypedPayload | None:
        """What the handler is given: a dict, bytes, a typed message of tocsin.v1, or None. Only in view FULL."""
        decoded = self._decoded("payload")
        return decoded.body if isinstance(decoded, payloads_pb2.RawPayload) else decoded

    @property
    def content_type(self) -> str:
        """What the payload's bytes are, "" if nothing was said or it is no bytes. Only in view FULL."""
        decoded = self._decoded("content_type")
        return decoded.content_type if isinstance(decoded, payloads_pb2.RawPayload) else ""

    @property
    def data(self) -> dict[str, object]:
        """The payload as a dict: {} where there is none, a typed message by its field names. Only in view FULL.

        Raises ValueError where it is bytes.
        """
        return data_of(self._decoded("data"))

    @property
    def result(self) -> object:
        """What the completed attempt returned: any JSON value, bytes, or None. Only in view FULL."""
        self._need_full("result")
        result = self.message.result
        return result.raw.body if result.WhichOneof("value") == "raw" else python_from_value(result.data)

    def to_dict(self) -> dict[str, object]:
        """All that is known of it, ready for `json.dumps`: names as here, times as ISO 8601 in UTC, spans in seconds.

        Payload and result stand in it in view FULL alone: typed messages by their field names, bytes in base64.
        """
        names = ["queue", "job_id", "type", "state", "priority", "tags", "retry", "timeout", "retention"]
        names += [
            "limit_key",
            "weight",
            "collapse",
            "depends_on",
            "on_end",
            "expire_time",
            "held",
            "schedule_id",
            "nominal_time",
        ]
        names += ["create_time", "schedule_time", "start_time", "end_time", "attempt", "failures", "crashes"]
        names += ["errors", "progress", "cancel", "explanation", "revision", "outcome"]
        if self.view is View.FULL:
            names += ["payload", "content_type", "result"]
        return {name: _plain(getattr(self, name)) for name in names}

    def _decoded(self, name: str) -> DecodedPayload:
        self._need_full(name)
        return payload_of(self.message.spec)

    def _need_full(self, name: str) -> None:
        # A silent None would read like "there is none".
        if self.view is not View.FULL:
            raise LookupError(f"this job was read without its {name} (view BASIC): read it again with get(job)")


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case bytes():
            return b64encode(value).decode()
        case StrEnum():
            return str(value)
        case Message():
            return MessageToDict(value, preserving_proto_field_name=True)
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case (
            JobError()
            | Progress()
            | Cancel()
            | Explanation()
            | RetryPolicy()
            | Retention()
            | Collapse()
            | DependsOn()
            | JobRef()
        ):
            return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
        case _:
            return value


#: A job, its name, or the id of one.
JobLike: TypeAlias = Job | JobRef | str


@dataclass(frozen=True, slots=True)
class JobChange:
    """One thing that `watch` saw.

    `job` is the job as it stood after the change, None at a gap. `deleted`: it was deleted or trimmed, and only queue,
    job_id and type are sure. `gap`: changes were missed here, so read again what matters to you. `cursor` goes to a new
    `watch` to go on after this change; "" where a watch of one job needs none.
    """

    job: Job | None
    deleted: bool = False
    gap: bool = False
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class CancelledMany:
    """What `cancel_many` did: by ids a job or an error for each, in order; by filter only the counts."""

    results: tuple[Job | TocsinError, ...]
    cancelled: int  # CANCELLED by this call, or before
    asked: int  # running, and asked to stop


@dataclass(frozen=True, slots=True)
class RetriedMany:
    """What `retry_many` did: by ids a job or an error for each, in order; by filter only the count."""

    results: tuple[Job | TocsinError, ...]
    retried: int  # due again, or with dry_run would be


@dataclass(frozen=True, slots=True)
class DeletedMany:
    """What `delete_many` did: by ids None or an error for each, in order; by filter only the count."""

    results: tuple[TocsinError | None, ...]
    deleted: int  # gone, or with dry_run would be
