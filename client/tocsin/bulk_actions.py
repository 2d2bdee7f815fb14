"""What a bulk action is asked for with, and what is known of it before, meanwhile and afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self, TypeAlias

from tocsin._times import Span
from tocsin.enums import State
from tocsin.jobs import Job
from tocsin.requests import FilterOptions, Priority
from tocsin.v1 import bulk_service_pb2 as pb
from tocsin.v1 import error_reason_pb2, job_pb2

#: What is done to each job.
BulkVerb: TypeAlias = Literal["cancel", "retry", "run", "delete", "retime", "move", "priority"]


class BulkOptions(FilterOptions, total=False):
    """Which jobs are meant, and what the act needs to know. A filter, or `all`, is needed. Without `states` those are
    meant that the act is for: of "retry" FAILED, of "move" the pending ones."""

    all: bool  # every job in the act's states
    max_jobs: int  # at most so many, those that arrived last
    token: str  # of a dry run with the same words
    reason: str  # "cancel"
    grace: Span  # "cancel": how long running jobs get; 30 s
    to: datetime  # "retime": when they are due
    by: Span  # "retime": so much later, or where negative earlier
    target: str  # "move": the queue that they go to
    priority: Priority  # "priority": the new one


@dataclass(frozen=True, slots=True)
class BulkCount:
    """So many jobs of a state and type."""

    state: State
    type: str
    jobs: int


@dataclass(frozen=True, slots=True)
class BulkRefusal:
    """A job that could not be acted upon, and is as it was."""

    job_id: str
    reason: str  # as TocsinError.reason
    message: str


@dataclass(frozen=True, slots=True)
class BulkPreview:
    """What a dry run found. `act` of the client takes it, and touches nothing but that."""

    matched: int
    counts: tuple[BulkCount, ...]  # the most frequent first
    sample: tuple[Job, ...]  # the newest, at most 10, in view BASIC
    token: str
    request: pb.BulkActRequest  # that acts on them

    @classmethod
    def read(cls, message: pb.BulkActResponse, asked: pb.BulkActRequest) -> Self:
        """What the last answer of a dry run says."""
        request = pb.BulkActRequest()
        request.CopyFrom(asked)
        request.dry_run, request.token = False, message.token
        return cls(message.matched, _counts(message), tuple(map(Job, message.sample)), message.token, request)


@dataclass(frozen=True, slots=True)
class BulkProgress:
    """How far an action is. The last one is `finished`: it came through where `error` is empty."""

    matched: int | None  # None: not known yet
    done: int
    changed_meanwhile: int  # were left, as they had changed since the dry run, or since the call
    refused: int  # could not be acted upon
    refusals: tuple[BulkRefusal, ...]  # the first of these, at most 10
    counts: tuple[BulkCount, ...]  # of what was done, by state before
    queue: str  # of the job that the action is
    job_id: str  # of that job; to cancel it stops the action
    state: State  # of that job
    finished: bool
    error: str

    @classmethod
    def read(cls, message: pb.BulkActResponse) -> Self:
        """What an answer says."""
        return cls(
            matched=message.matched if message.HasField("matched") else None,
            done=message.done,
            changed_meanwhile=message.changed_meanwhile,
            refused=message.refused,
            refusals=tuple(
                BulkRefusal(one.job_id, error_reason_pb2.ErrorReason.Name(one.reason), one.message)
                for one in message.refusals
            ),
            counts=_counts(message),
            queue=message.queue,
            job_id=message.job_id,
            state=State(job_pb2.Job.State.Name(message.state)),
            finished=message.finished,
            error=message.error,
        )


def _counts(message: pb.BulkActResponse) -> tuple[BulkCount, ...]:
    return tuple(BulkCount(State(job_pb2.Job.State.Name(one.state)), one.type, one.jobs) for one in message.counts)
