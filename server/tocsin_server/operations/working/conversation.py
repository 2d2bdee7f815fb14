"""What is said on a worker's stream, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.lease import Claimed, Extended, Extension, Finished, Lease
from tocsin_server.domain.workers import Ask, HeldToken, WorkerIdentity
from tocsin_server.operations.finishing import EndedAttempt


@dataclass(frozen=True, slots=True)
class Hello:
    """How a stream begins."""

    worker: WorkerIdentity
    asks: tuple[Ask, ...]
    lease: timedelta
    held: tuple[HeldToken, ...] = ()
    unreadable: tuple[bytes, ...] = ()  # tokens that are none


@dataclass(frozen=True, slots=True)
class Heard:
    """What a worker said in one message. An outcome that could not be read stands as its refusal."""

    hello: Hello | None = None
    heartbeats: Sequence[tuple[Extension, str]] = ()  # each with its job's type
    unreadable: Sequence[bytes] = ()  # tokens of heartbeats that are none
    outcomes: Sequence[EndedAttempt | TocsinError] = ()
    credits: Sequence[tuple[str, int]] = ()  # a type, "" is any, and how many
    goodbye: bool = False
    unbegun: Sequence[Lease] = ()


@dataclass(slots=True)
class Sending:
    """What is ready to be sent."""

    lease: timedelta  # of what is leased
    beat: timedelta | None = None  # the welcome: how often to send heartbeats
    leased: list[Claimed] = field(default_factory=list)
    cancels: list[tuple[Lease, str, Extended]] = field(default_factory=list)  # each with its job's type
    acks: list[Finished | TocsinError] = field(default_factory=list)
    lost: list[tuple[Lease, str] | bytes] = field(default_factory=list)  # or a token that is none, as it came
    drain: bool = False

    def __bool__(self) -> bool:
        return bool(self.beat or self.leased or self.cancels or self.acks or self.lost or self.drain)
