"""Bulk actions: one act on all jobs of a queue that match a filter at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.filters import JobFilter
from tocsin_server.domain.record import record
from tocsin_server.domain.states import ENDED, PENDING, State

#: Where the jobs stand that BulkAct makes: not in the queue acted upon, whose pause must not stop them.
BULK_QUEUE = "tocsin.bulk"
BULK_TYPE = "bulk_action"

MAX_SAMPLE = 10  # jobs that a dry run shows
MAX_REFUSALS = 10  # that are told one by one
MAX_COUNTS = 1_000  # by state and type, the rest of them is told together


class BulkVerb(StrEnum):
    """What is done to each job; the names of the fields of tocsin.v1.BulkAction."""

    CANCEL = "cancel"
    RETRY = "retry"
    RUN = "run"
    DELETE = "delete"
    RETIME = "retime"
    MOVE = "move"
    PRIORITY = "priority"


_MOVABLE = frozenset({State.SCHEDULED, State.WAITING})  # a BLOCKED job is named, in its queue, by what it waits for

#: States that an act may be asked for.
ALLOWED_STATES: Mapping[BulkVerb, frozenset[State]] = {
    BulkVerb.CANCEL: PENDING | {State.ACTIVE},
    BulkVerb.RETRY: frozenset({State.FAILED, State.CANCELLED}),
    BulkVerb.RUN: frozenset({State.SCHEDULED}),
    BulkVerb.DELETE: ENDED,
    BulkVerb.RETIME: PENDING,
    BulkVerb.MOVE: _MOVABLE | ENDED,
    BulkVerb.PRIORITY: PENDING,
}
#: States that are meant where none is named.
DEFAULT_STATES: Mapping[BulkVerb, frozenset[State]] = {
    **ALLOWED_STATES,
    BulkVerb.RETRY: frozenset({State.FAILED}),
    BulkVerb.MOVE: _MOVABLE,
}


@record
class BulkAct:
    """One act, with what it needs."""

    verb: BulkVerb
    reason: str = ""  # CANCEL
    grace: timedelta = timedelta(0)  # CANCEL
    to: datetime | None = None  # RETIME, where `by` is not given
    by: timedelta = timedelta(0)  # RETIME
    target: str = ""  # MOVE
    priority: int = 0  # PRIORITY


@record
class ActionMoment:
    """What there was to act on: jobs up to an arrival number, as they were at a place in the queue's log of changes."""

    time: datetime  # by the store's clock; not after the place in the log
    arrival: int
    cursor: str
    matched: int | None = None  # how many matched, where they were counted


@record
class BulkOrder:
    """A bulk action as it is wished. The filter names its states."""

    queue: str
    filter: JobFilter
    act: BulkAct
    by: str  # whose wish it is
    max_jobs: int | None = None
    moment: ActionMoment | None = None  # None: that of its beginning


@record
class RefusedJob:
    """A job that could not be acted upon, and is as it was."""

    job_id: str
    reason: str  # of tocsin.v1.ErrorReason
    message: str


class BulkFate(Enum):
    """What became of a job that was not refused."""

    DONE = auto()
    CHANGED = auto()  # it was left, as it is another than it was at the moment


class BulkTokenStale(TocsinError):
    """The queue no longer remembers what changed since a bulk action's moment."""

    reason = "BULK_TOKEN_STALE"
    facts = ("queue",)

    def __init__(self, queue: str) -> None:
        self.queue = queue
        super().__init__(
            f"queue {queue!r} no longer remembers all that changed since the dry run, so what it counted cannot be "
            "told from what came later. Make the dry run again, and act soon after it."
        )
