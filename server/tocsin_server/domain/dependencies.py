"""Jobs that wait for the ends of others (JobSpec.depends_on, on_end): the words of it.

A job that waits is a child, those that it waits for are its parents.
"""

from __future__ import annotations

from datetime import timedelta
from enum import IntEnum

from tocsin_server.domain.record import record


class WhenParentFails(IntEnum):
    """What becomes of a child. Numbers: tocsin.v1.DependsOn.WhenParentFails, and stored records."""

    RUN = 1
    FAIL = 2
    CANCEL = 3


class ParentEnd(IntEnum):
    """How a parent ended. Numbers: tocsin.v1.DependsOn.Parent.End, stored records, and those of domain/states.py."""

    OPEN = 0  # it has not, as far as is known
    GONE = 1
    COMPLETED = 5
    FAILED = 6
    CANCELLED = 7


#: Of a child that ended because a parent failed: type of its error, and what its cancel's reason begins with.
PARENT_FAILED = "PARENT_FAILED"
#: Of one that waited for too long: type of its error.
BLOCK_TIMEOUT = "BLOCK_TIMEOUT"


@record
class JobRef:
    """Names a job."""

    queue: str
    job_id: str


@record
class DependsOn:
    """By which rule a child waits. Its parents stand beside it: there may be many."""

    when_parent_fails: WhenParentFails
    block_timeout: timedelta | None = None  # since it was made; then it ends FAILED. None: as long as they take
    of_end: bool = False  # it is what another's on_end asked for, which was made after it: without that one it goes


#: Arrivals from here on are none: they count how often a parent whose arrival is not known was not found.
MISSES = (1 << 48) - 1_000
#: So often it may be: a child that was brought in may come before its parents.
MOST_MISSES = 20


@record
class ParentJob:
    """One job that a child waits for."""

    queue: str
    job_id: str
    arrival: int = 0  # another one that comes to bear the id is not meant; 0, or MISSES on: not known yet
    end: ParentEnd = ParentEnd.OPEN

    @property
    def is_numbered(self) -> bool:
        """Whether its arrival is known."""
        return 0 < self.arrival < MISSES

    def missed(self) -> ParentJob:
        """After one more time that it was not found: gone, if it was often enough."""
        misses = self.arrival - MISSES if self.arrival >= MISSES else 0
        if misses >= MOST_MISSES:
            return ParentJob(self.queue, self.job_id, self.arrival, ParentEnd.GONE)
        return ParentJob(self.queue, self.job_id, MISSES + misses + 1)


@record
class ParentRequest:
    """A parent as it was asked for: by id, or by its place in the same batch."""

    queue: str  # empty: the child's own
    job_id: str = ""
    batch_item: int | None = None


def said_of(parent: ParentJob) -> str:
    """That a parent failed, to who looks at its child."""
    how = "is gone" if parent.end is ParentEnd.GONE else f"ended {parent.end.name}"
    return f"job '{parent.job_id}' in queue '{parent.queue}', which it waited for, {how}"


@record
class EndWatch:
    """A child asks a parent to be told of its end."""

    job_id: str  # the parent
    arrival: int  # as Parent.arrival
    child: JobRef
    of_end: bool = False  # it must be the one that the parent's on_end names


@record
class Settlement:
    """What a child hears of parents: their ends, or that they stand under an arrival."""

    job_id: str
    parents: tuple[ParentJob, ...]
    asked_all: bool = False  # all that were open were asked just now


@record
class EndedParent:
    """A job that has ended, of which children are to be told. `token` names it to JobStore.told."""

    token: bytes
    parent: ParentJob
    children: tuple[JobRef, ...]  # the first of them


@record
class Errands:
    """What is to be done for jobs that wait: whom to tell, and who is to ask its parents again."""

    ended: tuple[EndedParent, ...] = ()
    blocked: tuple[str, ...] = ()
