"""What is known of when a job runs, and why it does not."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

from tocsin_server.domain.job import Job
from tocsin_server.domain.record import record


@record
class HeldBack:
    """A limit has no room for a job."""

    limit: str  # its name
    active: int  # places that are taken
    most: int | None  # that it has; None: it has a rate alone
    next_at: datetime | None = None  # when it goes on by itself; None: when a place becomes free
    queues: int = 0  # of a shared limit: how many share it


@record
class Turn:
    """A job's key waits for its turn."""

    limit_key: str
    before: int  # keys whose turn comes sooner


@record
class Outlook:
    """A job (View.BASIC) as claims see it at `now`, by the store's clock."""

    job: Job
    now: datetime
    paused_since: datetime | None  # of its queue; None: not paused
    lease_end: datetime | None = None  # of an ACTIVE one
    ahead: int | None = None  # due jobs of its queue and type that claims take before it; None: not due, or not counted
    hindrance: HeldBack | Turn | None = None  # what of the queue's limits and turns keeps it waiting
    # Ids of jobs whose end a BLOCKED one waits for, the first limits.EXPLAINED_IDS; "queue/id" of another queue's.
    waits_for: tuple[str, ...] = ()
    open_parents: int | None = None  # how many there are, of a job that waits for its parents


class Why(IntEnum):
    """Why a job does not run. Numbers: tocsin.v1.Explanation.Reason."""

    DUE_IN = 1
    RETRYING_AT = 2
    EXPIRES_AT = 3
    QUEUE_PAUSED = 4
    MOVED = 5
    NO_WORKER = 6
    LIMIT = 7
    TURN = 8
    BEHIND = 9
    BLOCKED_BY = 10
    LEASED_BY = 11
    ENDED = 12
    STORE_AWAY = 13
    HELD = 14


@record
class Explanation:
    """One reason, with its numbers, and the same as a sentence for people."""

    why: Why
    sentence: str
    time: datetime | None = None  # that the reason speaks of
    name: str = ""  # that it speaks of
    worker: str = ""  # who has the lease
    seen_time: datetime | None = None  # when that worker was last heard of
    job_ids: tuple[str, ...] = ()  # of jobs that it waits for
    ahead: int | None = None  # jobs that are taken before it; TURN: keys whose turn is sooner
    active: int | None = None  # LIMIT: places that are taken
    most: int | None = None  # LIMIT: places that there are
    open: int | None = None  # BLOCKED_BY: jobs that it waits for, where they are counted
