"""A store's clock that tests move by hand, as users see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from tocsin._times import read_time, time_in
from tocsin.enums import State
from tocsin.v1 import clock_service_pb2 as pb
from tocsin.v1 import job_pb2


@dataclass(frozen=True, slots=True)
class ClockTime:
    """The store's clock."""

    now: datetime
    manual: bool  # whether it can be moved
    next_due_time: datetime | None  # of a job, or a lease's end; None: nothing will happen by itself
    message: pb.GetClockResponse = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: pb.GetClockResponse) -> ClockTime:
        """The reading that a message holds."""
        return cls(read_time(message.now), message.manual, time_in(message, "next_due_time"), message)


@dataclass(frozen=True, slots=True)
class RanAttempt:
    """An attempt that ended while the clock was moved."""

    queue: str
    job_id: str
    type: str
    attempt: int
    due_time: datetime
    start_time: datetime
    state: State  # of its job, after it
    error: str  # "" where nothing went wrong
    message: pb.EndedAttempt = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: pb.EndedAttempt) -> RanAttempt:
        """The attempt that a message holds."""
        return cls(
            queue=message.queue,
            job_id=message.job_id,
            type=message.type,
            attempt=message.attempt,
            due_time=read_time(message.due_time),
            start_time=read_time(message.start_time),
            state=State(job_pb2.Job.State.Name(message.state)),
            error=message.error,
            message=message,
        )


@dataclass(frozen=True, slots=True)
class ClockMove:
    """What happened while the clock was moved."""

    now: datetime
    ran: list[RanAttempt]  # in the order in which they were due
    more: bool  # it stopped early

    @classmethod
    def read(cls, message: pb.AdvanceClockResponse) -> ClockMove:
        """What a message holds."""
        return cls(read_time(message.now), [RanAttempt.read(one) for one in message.ran], message.more)
