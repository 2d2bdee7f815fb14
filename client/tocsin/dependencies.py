"""Jobs that wait for the ends of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from tocsin._checking import listed, put, word
from tocsin._times import Span, put_duration, span_in
from tocsin.enums import ParentEnd, WhenParentFails
from tocsin.errors import WrongType
from tocsin.v1 import dependencies_pb2

WhenParentFailsName: TypeAlias = Literal["RUN", "FAIL", "CANCEL"]


class Named(Protocol):
    """A Job, or a JobRef."""

    @property
    def queue(self) -> str:
        """Queue it stands in."""

    @property
    def job_id(self) -> str:
        """Its id there."""


@dataclass(frozen=True, slots=True)
class JobRef:
    """Names a job; where a method takes a job, this will do."""

    queue: str
    job_id: str


@dataclass(frozen=True, slots=True)
class WaitedFor(JobRef):
    """A job that another waits for, or waited for."""

    end: ParentEnd | None = None  # how it ended; None: it has not, as far as is known


@dataclass(frozen=True, slots=True)
class DependsOn:
    """Jobs that must have ended before one begins: 1 to 1,000 of them.

    Each is a Job, a JobRef, the id of one in the same queue, or, in schedule_many, the place of an earlier item in the
    list: `range(10)` are the first ten.
    """

    parents: Sequence[Named | str | int]
    when_parent_fails: WhenParentFails | WhenParentFailsName  # there is no default
    block_timeout: Span | None = None  # it waits for so long at most, and then fails; None: as long as they take

    def put(self, message: dependencies_pb2.DependsOn, path: str) -> None:
        """Set the message that stands at `path` in a request."""
        message.SetInParent()
        rule = word(WhenParentFails, self.when_parent_fails, f"{path}.when_parent_fails")
        message.when_parent_fails = dependencies_pb2.DependsOn.WhenParentFails.Value(rule)
        for i, parent in enumerate(listed(self.parents, f"{path}.parents")):
            _put_parent(message.parents.add(), parent, f"{path}.parents[{i}]")
        if self.block_timeout is not None:
            put_duration(message.block_timeout, self.block_timeout, f"{path}.block_timeout")

    @classmethod
    def read(cls, message: dependencies_pb2.DependsOn) -> DependsOn:
        """What a message says."""
        rule = WhenParentFails(dependencies_pb2.DependsOn.WhenParentFails.Name(message.when_parent_fails))
        return cls(waited_for(message), rule, span_in(message, "block_timeout"))


def waited_for(message: dependencies_pb2.DependsOn) -> tuple[WaitedFor, ...]:
    """The parents that an answer names."""
    ends = dependencies_pb2.DependsOn.Parent.End
    return tuple(
        WaitedFor(one.queue, one.job_id, ParentEnd(ends.Name(one.end)) if one.end else None) for one in message.parents
    )


def _put_parent(message: dependencies_pb2.DependsOn.Parent, parent: Named | str | int, path: str) -> None:
    if isinstance(parent, str):
        put(message, "job_id", parent, f"{path}.job_id")
    elif isinstance(parent, int) and not isinstance(parent, bool):
        put(message, "batch_item", parent, f"{path}.batch_item")
    elif hasattr(parent, "queue") and hasattr(parent, "job_id"):
        put(message, "queue", parent.queue, f"{path}.queue")
        put(message, "job_id", parent.job_id, f"{path}.job_id")
    else:
        raise WrongType.of(path, f"a job is named by a Job, a JobRef, an id or a place, not by {type(parent).__name__}")
