"""Who runs jobs in a process of its own, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta

from tocsin_server.domain.lease import Lease
from tocsin_server.domain.record import record


@record
class WorkerIdentity:
    """A worker by its own word. `name` is the same in all its calls, and nobody else's."""

    name: str
    version: str = ""
    language: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@record
class Ask:
    """Jobs that are wanted: of these types, of this queue or (None) of all. most: how many; of a stream its credits
    say so."""

    queue: str | None
    types: frozenset[str]
    most: int = 0


@record
class HeldToken:
    """A lease as a worker brings it back, and its job's type."""

    lease: Lease
    type: str


@record
class Poll:
    """A wish for jobs that waits for them."""

    worker: WorkerIdentity
    asks: tuple[Ask, ...]
    lease: timedelta
    wait: timedelta
    request_id: str = ""  # said again, it is given the same jobs; empty: nothing is remembered
