"""What users ask for: a job to schedule, and the policies it may carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias, TypedDict

from tocsin._checking import put, word
from tocsin._times import Span, put_duration, put_time, span_in
from tocsin.dependencies import DependsOn
from tocsin.enums import Backoff, CollapseMode, OnConflict, State, View
from tocsin.payloads import Payload, TypedPayload
from tocsin.v1 import conditions_pb2, job_pb2

#: Words as enum members or as plain text.
StateName: TypeAlias = State | Literal["SCHEDULED", "BLOCKED", "WAITING", "ACTIVE", "COMPLETED", "FAILED", "CANCELLED"]
OnConflictName: TypeAlias = OnConflict | Literal["FAIL", "KEEP", "REPLACE"]
CollapseModeName: TypeAlias = Literal["KEEP", "REPLACE", "THROTTLE", "DEBOUNCE", "RUN_AGAIN_AFTER"]
ViewName: TypeAlias = View | Literal["BASIC", "FULL"]

#: A priority: any whole number, higher first, or a word: low is -10, normal 0, high 10, as in Agenda.
Priority: TypeAlias = int | Literal["low", "normal", "high"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When the next attempt follows a failed one. None: the queue's default, else the figure named."""

    max_attempts: int | None = None  # attempts that may fail, the first included, 1 to 100; 3
    backoff: Backoff | Literal["FIXED", "EXPONENTIAL"] | None = None  # EXPONENTIAL
    initial_delay: Span | None = None  # wait after the first failure; 2 s
    max_delay: Span | None = None  # no wait is longer; 1 h
    jitter: float | None = None  # share of each wait drawn at random, 0 to 1; 0.2

    def put(self, message: job_pb2.RetryPolicy, path: str) -> None:
        """Set the message that stands at `path` in a request."""
        message.SetInParent()
        if self.max_attempts is not None:
            put(message, "max_attempts", self.max_attempts, f"{path}.max_attempts")
        if self.backoff is not None:
            message.backoff = job_pb2.RetryPolicy.Backoff.Value(word(Backoff, self.backoff, f"{path}.backoff"))
        if self.initial_delay is not None:
            put_duration(message.initial_delay, self.initial_delay, f"{path}.initial_delay")
        if self.max_delay is not None:
            put_duration(message.max_delay, self.max_delay, f"{path}.max_delay")
        if self.jitter is not None:
            put(message, "jitter", self.jitter, f"{path}.jitter")

    @classmethod
    def read(cls, message: job_pb2.RetryPolicy) -> RetryPolicy:
        """The policy that a message holds."""
        name = job_pb2.RetryPolicy.Backoff.Name(message.backoff)
        return cls(
            max_attempts=message.max_attempts if message.HasField("max_attempts") else None,
            backoff=Backoff(name) if name in Backoff.__members__ else None,
            initial_delay=span_in(message, "initial_delay"),
            max_delay=span_in(message, "max_delay"),
            jitter=message.jitter if message.HasField("jitter") else None,
        )


@dataclass(frozen=True, slots=True)
class Retention:
    """How long an ended job stands, to be looked at. None: the queue's default, else the figure named."""

    completed_for: Span | None = None  # COMPLETED and CANCELLED; 24 h
    failed_for: Span | None = None  # 30 days

    def put(self, message: job_pb2.Retention, path: str) -> None:
        """Set the message that stands at `path` in a request."""
        message.SetInParent()
        if self.completed_for is not None:
            put_duration(message.completed_for, self.completed_for, f"{path}.completed_for")
        if self.failed_for is not None:
            put_duration(message.failed_for, self.failed_for, f"{path}.failed_for")

    @classmethod
    def read(cls, message: job_pb2.Retention) -> Retention:
        """The retention that a message holds."""
        return cls(
            completed_for=span_in(message, "completed_for"),
            failed_for=span_in(message, "failed_for"),
        )


@dataclass(frozen=True, slots=True)
class Collapse:
    """Makes jobs of one queue, type and key one. `outcome` of the job that schedule() gives says what it did."""

    key: str  # what they have in common: "sync:customer-7"
    mode: CollapseMode | CollapseModeName
    window: Span | None = None  # needed for THROTTLE and DEBOUNCE; KEEP: also for so long after one was made
    max_wait: Span | None = None  # DEBOUNCE: it is put off no further than this after the first

    def put(self, message: conditions_pb2.Collapse, path: str) -> None:
        """Set the message that stands at `path` in a request."""
        put(message, "key", self.key, f"{path}.key")
        message.mode = conditions_pb2.Collapse.Mode.Value(word(CollapseMode, self.mode, f"{path}.mode"))
        if self.window is not None:
            put_duration(message.window, self.window, f"{path}.window")
        if self.max_wait is not None:
            put_duration(message.max_wait, self.max_wait, f"{path}.max_wait")

    @classmethod
    def read(cls, message: conditions_pb2.Collapse) -> Collapse:
        """The rule that a message holds."""
        mode = CollapseMode(conditions_pb2.Collapse.Mode.Name(message.mode))
        return cls(message.key, mode, span_in(message, "window"), span_in(message, "max_wait"))


def put_expire(message: conditions_pb2.Expire, expire: datetime | Span, path: str) -> None:
    """Set until when a job is to begin, which stands at `path` in a request."""
    if isinstance(expire, datetime):
        put_time(message.at, expire, f"{path}.at")
    else:
        put_duration(message.after_due, expire, f"{path}.after_due")


class ScheduleOptions(TypedDict, total=False):
    """What `schedule` takes beside type and payload. All may be left out."""

    at: datetime | None  # when it is due, with a time zone; a time in the past means now
    delay: Span | None  # how long from now, by the store's clock: seconds or a timedelta
    queue: str  # "default"
    job_id: str  # unique within its queue; left out, the server makes one
    priority: Priority  # higher runs first; 0
    retry: RetryPolicy | None
    timeout: Span | None  # of one attempt; none
    retention: Retention | None
    tags: Mapping[str, str]  # labels to list jobs by
    limit_key: str  # whose job it is, where its queue limits or takes turns by key; none
    weight: int  # its key's share of turns, 1 to 100; 1
    collapse: Collapse | None  # which jobs it is one with; none
    expire: datetime | Span | None  # begun by this time, or so long after it is due, or not at all; whenever it may
    depends_on: DependsOn | None  # jobs that must have ended before it begins; none
    on_end: JobRequest | None  # a job that its end lets go, however it ends; none
    on_conflict: OnConflictName  # FAIL


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job to schedule, for `schedule_many`: what `schedule` takes, as a value."""

    type: str | TypedPayload
    payload: Payload = None
    at: datetime | None = field(default=None, kw_only=True)
    delay: Span | None = field(default=None, kw_only=True)
    queue: str = field(default="", kw_only=True)
    job_id: str = field(default="", kw_only=True)
    priority: Priority = field(default=0, kw_only=True)
    retry: RetryPolicy | None = field(default=None, kw_only=True)
    timeout: Span | None = field(default=None, kw_only=True)
    retention: Retention | None = field(default=None, kw_only=True)
    tags: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    limit_key: str = field(default="", kw_only=True)
    weight: int | None = field(default=None, kw_only=True)
    collapse: Collapse | None = field(default=None, kw_only=True)
    expire: datetime | Span | None = field(default=None, kw_only=True)
    depends_on: DependsOn | None = field(default=None, kw_only=True)
    on_end: JobRequest | None = field(default=None, kw_only=True)
    on_conflict: OnConflictName = field(default=OnConflict.FAIL, kw_only=True)


class FilterOptions(TypedDict, total=False):
    """Filters, joined by "and"; several values of one by "or", several tags by "and"."""

    queue: str  # "default"; one queue a call
    states: Sequence[StateName]
    types: Sequence[str]
    tags: Mapping[str, str]
    priority_min: Priority | None
    priority_max: Priority | None
    schedule_time_from: datetime | None  # at this time or later
    schedule_time_to: datetime | None  # before this time
    create_time_from: datetime | None
    create_time_to: datetime | None
    end_time_from: datetime | None
    end_time_to: datetime | None


class ListOptions(FilterOptions, total=False):
    """Filters, of which all may be left out, and what is shown of the jobs."""

    order_by: Literal["create_time desc", "schedule_time"]  # newest first; soonest first, only with states SCHEDULED
    page_size: int  # jobs a request; the server's 50, at most 1,000
    skip: int  # jobs to pass over first, at most 10,000
    view: ViewName  # BASIC
    explain: bool  # say of each why it is not running (Job.explanation)


class JobChanges(TypedDict, total=False):
    """What `update` may change: what is given is set, what is left out stays; None takes payload or timeout away."""

    at: datetime
    delay: Span
    priority: Priority
    payload: Payload
    tags: Mapping[str, str]  # all of them
    timeout: Span | None
    retry: RetryPolicy  # what it has; the rest of the job's own stays
    retention: Retention  # the same
