"""A queue's settings and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta

from tocsin_server.domain.defaults import UNSET, JobDefaults, PushTarget
from tocsin_server.domain.http_requests import HTTP_REQUEST
from tocsin_server.domain.queue_limits import Limit
from tocsin_server.domain.record import record
from tocsin_server.domain.states import State
from tocsin_server.domain.versions import at_least


@record
class QueueSettings:
    """What was set for a queue. None: the server's setting."""

    paused_since: datetime | None = None  # set by the store when `paused` changes
    pause_reason: str = ""
    defaults: JobDefaults = UNSET
    type_defaults: Mapping[str, JobDefaults] = field(default_factory=dict)
    completed_max: int | None = None
    failed_max: int | None = None
    draining: bool = False  # no new job is taken
    limits: tuple[Limit, ...] = ()
    fair_turns: bool = False  # keys take turns
    priority_ageing: timedelta | None = None  # a job gains one priority for each such time since it was due; None: none
    pause_until: datetime | None = None  # a pause ends then by itself; None: not before somebody resumes it

    @property
    def paused(self) -> bool:
        """No attempt begins."""
        return self.paused_since is not None

    def as_of(self, now: datetime) -> QueueSettings:
        """As they are at a time of the store's clock: a pause whose time is over is none."""
        if self.pause_until is None or now < self.pause_until:
            return self
        return replace(self, paused_since=None, pause_reason="", pause_until=None)

    def concurrency_of(self, type_: str) -> int | None:
        """Attempts of the type at once in each process. None: its handler's word holds, else the server's."""
        of_type = self.type_defaults.get(type_, UNSET).concurrency
        return self.defaults.concurrency if of_type is None else of_type

    def min_worker_version_of(self, type_: str) -> str:
        """Lowest version of a worker that is given jobs of the type. Empty: any worker."""
        of_type = self.type_defaults.get(type_, UNSET).min_worker_version
        return (self.defaults.min_worker_version if of_type is None else of_type) or ""

    def admits(self, type_: str, version: str) -> bool:
        """Whether a worker of this version is given jobs of the type: not where they are sent to an address instead."""
        lowest = self.min_worker_version_of(type_)
        return self.push_of(type_) is None and (not lowest or at_least(version, lowest))

    def given_to(self, worker: WorkerFigures, queue: str, type_: str) -> bool:
        """Whether the worker is given jobs of this type, of the queue that these settings are of. What has a push
        target is given to servers that make requests."""
        if self.push_of(type_) is not None:
            return not worker.remote and worker.takes(queue, HTTP_REQUEST)
        return worker.takes(queue, type_) and self.admits(type_, worker.version)

    @property
    def chooses_workers(self) -> bool:
        """Whether not every worker is given all of its jobs."""
        return any(one.min_worker_version or one.push for one in (self.defaults, *self.type_defaults.values()))

    def push_of(self, type_: str) -> PushTarget | None:
        """Where due jobs of the type are sent; no worker and no handler is given them then. None: nowhere."""
        if type_ == HTTP_REQUEST:
            return None
        of_type = self.type_defaults.get(type_, UNSET).push
        return self.defaults.push if of_type is None else of_type


@record
class LimitFigures:
    """How full a limit is."""

    name: str
    active: int
    most: int


@record
class QueueFigures:
    """Counts and ages of one queue, read at `now` of the store's clock."""

    now: datetime
    counts: Mapping[State, Mapping[str, int]]  # state -> type -> jobs; only what is not zero
    oldest_waiting: datetime | None  # due time of the job that has been due longest
    completed_per_second: float
    failed_per_second: float
    done_deleted: datetime | None = None  # latest end of a COMPLETED or CANCELLED job that somebody deleted or replaced
    failed_deleted: datetime | None = None  # the same of FAILED ones; retention's own deletes are in neither
    limits: tuple[LimitFigures, ...] = ()  # of those of the queue and of types that have places
    held_keys: int = 0  # keys, of each type, whose jobs wait for a limit

    def total(self, state: State) -> int:
        """Jobs in a state, over all types."""
        return sum(self.counts.get(state, {}).values())


@record
class Tick:
    """What a dispatcher must know of a queue, cheap to read. A time is None where nothing will happen by itself."""

    wakes: int  # grows whenever jobs became claimable: another number than last time means "claim"
    next_due: datetime | None  # earliest due time of a SCHEDULED job
    next_lease_end: datetime | None  # earliest end of a lease
    next_expiry: datetime | None  # earliest time at which an ended job is trimmed by age
    waiting: bool = False  # jobs may be WAITING; False: certainly none was when this was read
    changes: int = 0  # grows with each change of any of its jobs, by how much is not said
    next_schedule: datetime | None = None  # earliest time at which a schedule is to be looked at
    next_start: datetime | None = None  # earliest time at which a limit or a pause lets jobs begin by itself
    next_errand: datetime | None = None  # earliest time at which something is to be done for jobs that wait for others


@record
class HeldJob:
    """An attempt that a worker holds."""

    queue: str
    job_id: str
    type: str
    attempt: int


@record
class WorkerFigures:
    """Who runs jobs, as the server that speaks for it last said: that server's own loop, or a process elsewhere."""

    worker: str
    types: tuple[str, ...]
    slots: int
    busy: int
    abandoned: int
    queues: tuple[str, ...] = ()  # empty: all
    warnings: tuple[str, ...] = ()
    #: When it was last heard of. None, as its server says it: it is connected, so the store sets when that was said.
    seen_time: datetime | None = None
    remote: bool = False  # a process of its own, that speaks gRPC
    version: str = ""
    language: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None  # it came, or was first heard of
    held: tuple[HeldJob, ...] = ()  # some of what it holds: as many as the server says
    free: int = 0  # further attempts that it would take now, where it is remote
    by: str = field(default="", compare=False)  # the server that speaks for it; set by the store

    def takes(self, queue: str, type_: str) -> bool:
        """Whether it runs jobs of this type and queue."""
        return type_ in self.types and (not self.queues or queue in self.queues)

    @property
    def places(self) -> int:
        """Further attempts that it would take now."""
        return self.free if self.remote else max(0, self.slots - self.busy - self.abandoned)
