"""A job as the server knows it. Times are aware UTC datetimes, kept to the millisecond."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import IntEnum

from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.dependencies import ParentJob
from tocsin_server.domain.record import record
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.states import PENDING, State


class View(IntEnum):
    """How much of a job is read. BASIC: no payload, no result, no traces of errors."""

    BASIC = 1
    FULL = 2


class OnConflict(IntEnum):
    """What happens when a job of the same id stands already."""

    FAIL = 1
    KEEP = 2
    REPLACE = 3
    UNIQUE = 4  # none does: the server made the id at random, and the store need not look. No caller says this


class Put(IntEnum):
    """What placing a job that stood elsewhere did."""

    CREATED = 1
    KEPT = 2  # its id stands, and what stands was left as it is
    SAME = 3  # it stands just so already
    REPLACED = 4


@record
class Payload:
    """What a handler is given, opaque here. `kind` is the number of the payload's field in tocsin.v1.JobSpec."""

    kind: int
    body: bytes


@record
class Retention:
    """How long an ended job stands."""

    completed_for: timedelta
    failed_for: timedelta


@record
class Terms:
    """How a job is tried, for how long, and how long it stands when it has ended.

    Most jobs of a type have the same, and share one object: who writes many of them asks `is` first.
    """

    retry: RetryPolicy
    timeout: timedelta | None
    retention: Retention


@record
class JobSpec:
    """What was asked for, defaults filled in."""

    queue: str
    type: str
    payload: Payload | None  # None: no payload was given, or it was not read (View.BASIC)
    priority: int
    terms: Terms
    tags: Mapping[str, str] = field(default_factory=dict)
    conditions: Conditions = NO_CONDITIONS


@record
class Draft:
    """A job to be added."""

    spec: JobSpec
    job_id: str | None  # None: the store makes a time-ordered UUID
    when: datetime | timedelta  # a time, or a delay counted by the store's clock; what has passed means now
    on_conflict: OnConflict = OnConflict.FAIL
    fired: bool = False  # a schedule makes it, of the nominal time that its id bears (nominal_times.py)
    parents: tuple[ParentJob, ...] = ()  # whom it waits for, each once; with them spec.conditions.depends


@record
class JobError:
    """What went wrong in one attempt."""

    type: str
    message: str
    trace: str = ""
    time: datetime | None = None  # set by the store
    attempt: int = 0  # set by the store


@record
class Progress:
    """How far a running attempt says it is."""

    fraction: float
    message: str
    update_time: datetime | None = None  # set by the store


@record
class Cancel:
    """A wish to cancel, and how far it got."""

    reason: str
    by: str
    grace: timedelta
    ask_time: datetime
    deliver_time: datetime | None = None
    obey_time: datetime | None = None


@record
class Job:
    """What stands in the store."""

    job_id: str
    spec: JobSpec
    state: State
    create_time: datetime
    schedule_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    attempt: int
    failures: int
    crashes: int
    revision: int
    arrival: int  # its number in the queue, in the order of adding; not shown to users
    errors: tuple[JobError, ...] = ()
    progress: Progress | None = None
    result: bytes | None = None  # a serialized tocsin.v1.Result, opaque here
    cancel: Cancel | None = None
    fired: bool = False  # a schedule made it, of the nominal time that its id bears (nominal_times.py)
    held: bool = False  # no attempt begins until it is let go
    watched: bool = field(default=False, compare=False)  # others wait for its end; never written
    parents: tuple[ParentJob, ...] = ()  # whom it waits for, or did: to be placed; read by JobStore.parents alone

    @property
    def expire_time(self) -> datetime | None:
        """When it ends by itself; None where it does not, and of one that has begun."""
        if self.attempt or self.spec.conditions is NO_CONDITIONS or self.state not in PENDING:
            return None
        return self.spec.conditions.begin_by(self.schedule_time)

    @property
    def queue(self) -> str:
        """The queue it stands in."""
        return self.spec.queue


@record
class New:
    """A job that adding made. All else of it is as its draft says, and its revision is 1."""

    job_id: str
    state: State
    create_time: datetime
    schedule_time: datetime
    arrival: int


@record
class Replaced:
    """The job (View.BASIC) that adding put in the place of the one that stood under its id."""

    job: Job


@record
class Kept:
    """The job (View.BASIC) that stood under the id already, and was left as it is."""

    job: Job


#: What adding a draft did.
Added = New | Replaced | Kept
