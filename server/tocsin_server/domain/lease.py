"""The right to run one attempt, and how an attempt ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum

from tocsin_server.domain.job import Job, JobError
from tocsin_server.domain.logs import LogLine
from tocsin_server.domain.record import record
from tocsin_server.domain.states import State


@record
class Lease:
    """The right to run one attempt until it ends. `token` fences it; only its store can read what it is made of."""

    queue: str
    job_id: str
    attempt: int
    token: bytes


@record
class Claimed:
    """A job (View.FULL) and the lease of its new attempt."""

    job: Job
    lease: Lease


@record
class Claim:
    """What a claim brought. With `more`, claim again at once: due jobs were left, or have yet to be made WAITING."""

    claimed: tuple[Claimed, ...]
    now: datetime
    more: bool


class Ending(IntEnum):
    """How an attempt ended."""

    COMPLETED = 1
    FAILED = 2  # the handler raised or timed out
    RELEASED = 3  # given back unfinished: counts neither as a failure nor as a crash
    CRASHED = 4  # its process died: counts as a crash, as a lease that ran out does


@record
class LimitPause:
    """A limit of the queue lets no job begin for a while; of one by key, none of the key of the job that failed."""

    limit: str  # its name; where no such limit counts the job, nothing is paused
    span: timedelta  # from the store's now


@record
class AttemptOutcome:
    """An attempt's end, to be recorded."""

    lease: Lease
    ending: Ending
    result: bytes | None = None  # COMPLETED: a serialized tocsin.v1.Result
    error: JobError | None = None  # FAILED, CRASHED
    retry_in: timedelta | None = None  # FAILED: wait before the next attempt; None: no further attempt
    pause: LimitPause | None = None  # FAILED: what else is to wait


@record
class Finished:
    """What an outcome made of the job; of one that was recorded before (`repeated`), the job's state of now."""

    state: State
    repeated: bool


#: States in which no job stands whose last attempt ended so, unless somebody changed it since.
_NEVER_AFTER = {
    Ending.COMPLETED: frozenset(State) - {State.COMPLETED},
    Ending.FAILED: frozenset({State.COMPLETED}),
    Ending.CRASHED: frozenset({State.COMPLETED}),
    Ending.RELEASED: frozenset({State.COMPLETED, State.FAILED, State.SCHEDULED}),
}


def contradicts(ending: Ending, state: State) -> bool:
    """Whether an attempt that ended this way cannot have left its job in this state."""
    return state in _NEVER_AFTER[ending]


@record
class LostLease:
    """A lease that ran out and was taken back, and what became of its job."""

    job_id: str
    type: str
    attempt: int
    state: State  # of the job, now


@record
class Extension:
    """A lease to be extended, with what the attempt has to say."""

    lease: Lease
    progress: tuple[float, str] | None = None  # fraction and message
    log: tuple[LogLine, ...] = ()  # what it wrote since the last one


@record
class Extended:
    """The lease stands on. With `cancel_reason` the job's cancel was asked: stop it within `cancel_grace`."""

    lease_end: datetime
    cancel_reason: str | None = None
    cancel_grace: timedelta | None = None
