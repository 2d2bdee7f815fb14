"""What a check is, and what checks ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tocsin.v1 import worker_service_pb2 as pb

from tocsin_server.conformance.journal import NotConforming
from tocsin_server.conformance.stage import Stage

Run = Callable[[Stage], Awaitable[None]]

_WITHIN = 30.0  # seconds; none takes half as long where all is well
_TAKES = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a worker must do. `run` raises NotConforming where it does not."""

    name: str
    proves: str
    run: Run
    within: float = _WITHIN
    takes: float = _TAKES  # about so many seconds: the longest are begun first
    ends_worker: bool = False  # it leaves none


def check(
    name: str, proves: str, *, within: float = _WITHIN, takes: float = _TAKES, ends_worker: bool = False
) -> Callable[[Run], Check]:
    """Make a check of a function: `proves` is a sentence that holds for a worker that passes."""

    def made(run: Run) -> Check:
        return Check(name, proves, run, within, takes, ends_worker)

    return made


def expect(holds: object, otherwise: str) -> None:
    """NotConforming, saying what is otherwise, unless something holds."""
    if not holds:
        raise NotConforming(otherwise)


def leased_jobs(message: Any) -> Any:
    """The jobs that a message has for the worker, to be altered in it."""
    if isinstance(message, pb.StreamJobsResponse):
        return message.leased
    return message.jobs if isinstance(message, pb.LeaseJobsResponse) else []
