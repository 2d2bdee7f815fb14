"""Where attempts come from and where their outcomes go: the store inside the server, gRPC in a worker process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol, TypeVar, dataclass_transform

from tocsin.tracing import TraceContext
from tocsin.worker.slots import FreeSlots

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def _value(cls: type[_T]) -> type[_T]:
    """What is never changed once it is made; the type checker holds that. A frozen dataclass takes 60 ns more for each
    field of each job that is run."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@_value
class LeasedJob:
    """A job and the right to run one attempt of it."""

    queue: str
    job_id: str
    type: str
    attempt: int  # 1 is the first
    token: bytes  # fences the attempt; opaque
    payload_kind: int  # number of the payload's field in tocsin.v1.JobSpec; 0: no payload
    payload_body: bytes
    create_time: datetime
    schedule_time: datetime
    timeout: timedelta | None = None
    failures: int = 0
    crashes: int = 0  # 2: run it in a process of its own, so that it buries no neighbour
    priority: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    fired: bool = False  # a schedule made it, and its job_id ends with "@" and the nominal time
    trace: TraceContext | None = None  # the span in which it was scheduled


class Ending(IntEnum):
    """How an attempt ended."""

    COMPLETED = 1
    FAILED = 2  # the handler raised, or passed the timeout
    RELEASED = 3  # given back unfinished, counted neither as failure nor as crash
    CRASHED = 4  # its own process died
    HANDED_OVER = 5  # it goes on elsewhere, under the same lease: nothing is recorded


@_value
class AttemptOutcome:
    """How an attempt ended, with what it has to say."""

    job: LeasedJob
    ending: Ending
    result: bytes | None = None  # COMPLETED: a serialized tocsin.v1.Result; None: nothing was returned
    error_type: str = ""  # FAILED, CRASHED
    error_message: str = ""
    error_trace: str = ""
    retryable: bool = True  # FAILED: False ends the job at once, whatever attempts are left
    retry_in: timedelta | None = None  # FAILED: the handler's own wish for the wait; None: the job's retry policy
    pause_limit: str = ""  # FAILED: a limit that lets nothing begin for `retry_in`, either
    lease: timedelta | None = None  # HANDED_OVER: how long the lease holds from now on
    reason: str = ""  # RELEASED: the handler's; empty where it never began, or was stopped


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An attempt is alive; how far it says it is (fraction 0 to 1, message), and lines that it wrote since the last
    time (level as in tocsin.v1.LogLine, text), oldest first."""

    job: LeasedJob
    progress: tuple[float, str] | None = None
    log: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """Whether the lease stands, and whether the attempt was asked to stop."""

    lost: bool = False  # the lease is gone: stop, the result will be refused
    cancel_reason: str | None = None  # not None: stop within `cancel_grace`
    cancel_grace: timedelta | None = None


class Seat(Protocol):
    """The right to be given jobs, as slots become free."""

    def widened(self) -> None:
        """Say that attempts may begin which could not before."""

    def leave(self) -> None:
        """Take no more: no job is given from now on. What is leased in this moment the source gives back."""


class Source(ABC):
    """Leases jobs and takes their outcomes. All calls are made on one event loop, the runtime's."""

    #: Seconds that outcomes wait for those before them, so that many are recorded together. A source may keep its
    #: queues on several servers: what one of them does not take for long must not keep the others from theirs.
    patience = 0.25

    @abstractmethod
    def sit(
        self,
        types: Collection[str],
        capacity: Callable[[], FreeSlots],
        take: Callable[[Sequence[LeasedJob]], None],
    ) -> Seat:
        """Give jobs of these types, as they become due, until the seat is left; best first, and never more than
        `capacity` says at the moment.

        `take` is called on the runtime's loop, and begins what it is given before it returns. While the store or the
        server is away, the source tries again by itself.
        """

    @abstractmethod
    async def extend(self, heartbeats: Sequence[Heartbeat]) -> Sequence[HeartbeatAnswer]:
        """Keep leases alive, in order. Raises where the store or server is away: try again at the next beat."""

    @abstractmethod
    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[bool]:
        """Record outcomes, in order; False where the lease was lost, and only there. Repeats by itself while the store
        is away or takes no writes."""

    async def parents(self, job: LeasedJob) -> Sequence[bytes | None]:
        """The jobs that it waited for, each a serialized tocsin.v1.Job, None in the place of one that is gone. Raises
        where the store or server is away or refuses."""
        raise NotImplementedError(f"this source knows no parents of job {job.job_id!r}")

    async def lull(self) -> None:  # noqa: B027 - most sources cannot tell
        """Return once no jobs are about to come, or very soon: they begin sooner where outcomes are recorded after
        them. At once where there is no telling."""

    @property
    @abstractmethod
    def heartbeat_every(self) -> timedelta:
        """How often to extend: a third of the lease."""

    @abstractmethod
    async def beat_wanted(self) -> None:
        """Return when leases should be extended at once: a cancel was asked of some running job."""
