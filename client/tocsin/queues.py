"""Queues and the server itself, as users see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypedDict

from tocsin._checking import of_kind, put, put_texts
from tocsin._times import Span, put_duration, span_in, time_in
from tocsin.enums import Durability
from tocsin.limits import Limit
from tocsin.requests import Retention, RetryPolicy
from tocsin.v1 import queue_pb2, queue_service_pb2, server_service_pb2


@dataclass(frozen=True, slots=True)
class PushTarget:
    """An HTTP address that due jobs are sent to, each as a request; no worker is given them."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_ref: str = ""  # name of the server's secret that signs requests; empty: not signed
    timeout: Span | None = None  # how long an answer may take; 30 s

    def put(self, message: queue_pb2.PushTarget, path: str) -> None:
        """Set the message that stands at `path` in a request."""
        put(message, "url", self.url, f"{path}.url")
        put(message, "secret_ref", self.secret_ref, f"{path}.secret_ref")
        put_texts(message.headers, self.headers, f"{path}.headers")
        if self.timeout is not None:
            put_duration(message.timeout, self.timeout, f"{path}.timeout")

    @classmethod
    def read(cls, message: queue_pb2.PushTarget) -> PushTarget:
        """The target that a message holds."""
        return cls(message.url, dict(message.headers), message.secret_ref, span_in(message, "timeout"))


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """What a job gets where its own spec is silent, and how many run at once. None: the level below decides."""

    retry: RetryPolicy | None = None
    timeout: Span | None = None  # of one attempt
    retention: Retention | None = None
    concurrency: int | None = None  # attempts of one type that each server runs at once; 5, or what its handler says
    min_worker_version: str | None = None  # lowest version of a worker that is given such jobs: any
    push: PushTarget | None = None  # where such jobs are sent instead of being given to workers

    def put(self, message: queue_pb2.JobDefaults, path: str) -> None:
        """Set the message that stands at `path` in a request."""
        message.SetInParent()
        if self.retry is not None:
            of_kind(RetryPolicy, self.retry, f"{path}.retry").put(message.retry, f"{path}.retry")
        if self.timeout is not None:
            put_duration(message.timeout, self.timeout, f"{path}.timeout")
        if self.retention is not None:
            of_kind(Retention, self.retention, f"{path}.retention").put(message.retention, f"{path}.retention")
        if self.concurrency is not None:
            put(message, "concurrency", self.concurrency, f"{path}.concurrency")
        if self.min_worker_version is not None:
            put(message, "min_worker_version", self.min_worker_version, f"{path}.min_worker_version")
        if self.push is not None:
            of_kind(PushTarget, self.push, f"{path}.push").put(message.push, f"{path}.push")

    @classmethod
    def read(cls, message: queue_pb2.JobDefaults) -> JobDefaults:
        """The defaults that a message holds."""
        return cls(
            retry=RetryPolicy.read(message.retry) if message.HasField("retry") else None,
            timeout=span_in(message, "timeout"),
            retention=Retention.read(message.retention) if message.HasField("retention") else None,
            concurrency=message.concurrency if message.HasField("concurrency") else None,
            min_worker_version=message.min_worker_version or None,
            push=PushTarget.read(message.push) if message.HasField("push") else None,
        )


class QueueChanges(TypedDict, total=False):
    """What `update_queue` may change: what is given is set, None clears it, what is left out stays."""

    defaults: JobDefaults | None
    type_defaults: Mapping[str, JobDefaults] | None  # replaces those of all types
    types: Mapping[str, JobDefaults | None]  # replaces those of these types alone
    completed_max: int | None  # COMPLETED and CANCELLED jobs kept at most
    failed_max: int | None  # FAILED jobs kept at most
    limits: Sequence[Limit] | None  # replaces all limits
    fair_turns: bool | None  # whether keys take turns
    priority_ageing: Span | None  # a job gains one priority for each such time since it was due: 1 s to 30 days


@dataclass(frozen=True, slots=True)
class StateCounts:
    """How many jobs stand in each state."""

    scheduled: int = 0
    blocked: int = 0
    waiting: int = 0
    active: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @classmethod
    def read(cls, message: queue_pb2.StateCounts) -> StateCounts:
        """The counts that a message holds."""
        return cls(
            message.scheduled,
            message.blocked,
            message.waiting,
            message.active,
            message.completed,
            message.failed,
            message.cancelled,
        )


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue and its settings. `message` is the tocsin.v1 message it was read from."""

    name: str
    paused: bool
    pause_time: datetime | None
    pause_reason: str
    defaults: JobDefaults | None
    type_defaults: Mapping[str, JobDefaults]
    completed_max: int | None  # None: the server's, 10,000
    failed_max: int | None  # None: the server's, 100,000
    draining: bool  # it takes no new jobs
    limits: tuple[Limit, ...]
    fair_turns: bool  # keys take turns
    priority_ageing: timedelta | None  # a job gains one priority for each such time since it was due; None: none
    pause_until: datetime | None  # when its pause ends by itself; None: not before it is resumed
    counts: StateCounts | None  # only from `queues`
    message: queue_pb2.Queue | queue_service_pb2.ListQueuesResponse.Entry = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: queue_pb2.Queue, entry: queue_service_pb2.ListQueuesResponse.Entry | None = None) -> Queue:
        """The queue that a message holds; `entry`, where it came in a list."""
        return cls(
            name=message.queue,
            paused=message.paused,
            pause_time=time_in(message, "pause_time"),
            pause_reason=message.pause_reason,
            defaults=JobDefaults.read(message.defaults) if message.HasField("defaults") else None,
            type_defaults={name: JobDefaults.read(found) for name, found in message.type_defaults.items()},
            completed_max=message.completed_max if message.HasField("completed_max") else None,
            failed_max=message.failed_max if message.HasField("failed_max") else None,
            draining=message.draining,
            limits=tuple(map(Limit.read, message.limits)),
            fair_turns=message.fair_turns,
            priority_ageing=span_in(message, "priority_ageing"),
            pause_until=time_in(message, "pause_until"),
            counts=None if entry is None else StateCounts.read(entry.counts),
            message=message if entry is None else entry,
        )


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A process that runs jobs, as it last said. `abandoned`: handlers that were stopped and have not ended yet."""

    worker: str
    types: tuple[str, ...]
    slots: int
    busy: int
    abandoned: int
    seen_time: datetime | None


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """Whether a queue does its work, with the figures to tell why not. `error` says what to do."""

    queue: str
    healthy: bool
    error: str
    paused: bool
    counts: StateCounts
    oldest_waiting_age: timedelta | None
    lag: timedelta
    completed_per_second: float
    failed_per_second: float
    workers: tuple[WorkerInfo, ...]
    unserved_types: tuple[str, ...]  # have due jobs, and no process runs them
    warnings: tuple[str, ...]
    as_of: datetime | None
    message: queue_service_pb2.GetQueueHealthResponse = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: queue_service_pb2.GetQueueHealthResponse) -> QueueHealth:
        """The health that a message holds."""
        return cls(
            queue=message.queue,
            healthy=message.healthy,
            error=message.error,
            paused=message.paused,
            counts=StateCounts.read(message.counts),
            oldest_waiting_age=span_in(message, "oldest_waiting_age"),
            lag=span_in(message, "lag") or timedelta(0),
            completed_per_second=message.completed_per_second,
            failed_per_second=message.failed_per_second,
            workers=tuple(
                WorkerInfo(w.worker, tuple(w.types), w.slots, w.busy, w.abandoned, time_in(w, "seen_time"))
                for w in message.workers
            ),
            unserved_types=tuple(message.unserved_types),
            warnings=tuple(message.warnings),
            as_of=time_in(message, "as_of"),
            message=message,
        )


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What server this is. `message.limits` has all limits."""

    server: str  # unique per start
    version: str
    provider: str  # "redis" or "mongo"
    store_version: str
    store_embedded: bool
    durability: Durability
    start_time: datetime | None
    handled_types: tuple[str, ...]  # types of the jobs that this server runs itself
    message: server_service_pb2.GetServerInfoResponse = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: server_service_pb2.GetServerInfoResponse) -> ServerInfo:
        """The facts that a message holds."""
        name = server_service_pb2.GetServerInfoResponse.Durability.Name(message.durability)
        return cls(
            server=message.server,
            version=message.version,
            provider=message.provider,
            store_version=message.store_version,
            store_embedded=message.store_embedded,
            durability=Durability.__members__.get(name, Durability.UNKNOWN),
            start_time=time_in(message, "start_time"),
            handled_types=tuple(message.handled_types),
            message=message,
        )
