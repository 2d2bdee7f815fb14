"""A call as interceptors and methods see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

import grpc
from google.protobuf.message import Message

from tocsin_server.security.principals import Principal

Context = grpc.aio.ServicerContext[bytes, bytes]


class MethodKind(Enum):
    """Classes of methods that have limits of their own."""

    CALL = "unary"
    WATCH = "watch"  # stays open for as long as the caller likes
    WORKER = "worker"  # waits for jobs: a poll, or a stream that stays open for as long as its worker runs
    TRANSFER = "transfer"  # an export or an import: as long as it takes, and each has megabytes in memory


class CallerLeft(asyncio.CancelledError):
    """Who called is gone, or reads nothing: an answer cannot be written. It cuts the call off."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service."""

    path: str  # "/tocsin.v1.JobService/GetJob"
    kind: MethodKind
    reads: bool  # it changes nothing, so that its outcome is never unknown


@dataclass(slots=True)
class Call:
    """One call under way."""

    method: Method
    context: Context
    caller: str = ""  # the name of who calls; empty where everybody may
    principal: Principal | None = None  # who calls; None where everybody may
    asked: Message | None = None  # the request, once it was read; of several none
    answered: Message | None = None  # the answer to it, where there is one
    look: Callable[[Call], Awaitable[None]] | None = None  # reads what is asked, of a call refused before that was read

    @property
    def client(self) -> str:
        """Whom this counts for, where clients have limits of their own: the caller, by name, else the address without
        its port."""
        return self.caller or self.context.peer().rpartition(":")[0]


#: What is done for a call. It reads its requests itself.
Work: TypeAlias = Callable[[Call], Awaitable[bytes | None]]


class Interceptor(Protocol):
    """One concern around every call."""

    def around(self, work: Work) -> Work:
        """The work, done with this around it."""


def around(interceptors: Sequence[Interceptor], work: Work) -> Work:
    """The work with the interceptors around it, the first outermost."""
    for interceptor in reversed(interceptors):
        work = interceptor.around(work)
    return work
