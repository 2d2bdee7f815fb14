"""A queue's settings and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from tocsin_server.domain.defaults import UNSET, JobDefaults, PushTarget
from tocsin_server.domain.http_requests import HTTP_REQUEST
from tocsin_server.domain.record import record
from tocsin_server.domain.states import State


@record
class QueueSettings:
    """What was set for a queue. None: the server's setting."""

    paused_since: datetime | None = None  # set by the store when `paused` changes
    pause_reason: str = ""
    defaults: JobDefaults = UNSET
    type_defaults: Mapping[str, JobDefaults] = field(default_factory=dict)
    completed_max: int | None = None
    failed_max: int | None = None

    @property
    def paused(self) -> bool:
        """No attempt begins."""
        return self.paused_since is not None

    def concurrency_of(self, type_: str) -> int | None:
        """Attempts of the type at once in each process. None: its handler's word holds, else the server's."""
        of_type = self.type_defaults.get(type_, UNSET).concurrency
        return self.defaults.concurrency if of_type is None else of_type

    def min_worker_version_of(self, type_: str) -> str:
        """Lowest version of a worker that is given jobs of the type. Empty: any worker."""
        of_type = self.type_defaults.get(type_, UNSET).min_worker_version
        return (self.defaults.min_worker_version if of_type is None else of_type) or ""

    def push_of(self, type_: str) -> PushTarget | None:
        """Where due jobs of the type are sent; no worker and no handler is given them then. None: nowhere."""
        if type_ == HTTP_REQUEST:
            return None
        of_type = self.type_defaults.get(type_, UNSET).push
        return self.defaults.push if of_type is None else of_type


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


@record
class WorkerFigures:
    """A process that runs jobs, as it last said."""

    worker: str
    types: tuple[str, ...]
    slots: int
    busy: int
    abandoned: int
    queues: tuple[str, ...] = ()  # empty: all
    warnings: tuple[str, ...] = ()
    seen_time: datetime | None = None  # set by the store
