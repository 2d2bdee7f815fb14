"""What a worker was sent and what it sent, as the relay saw it pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tocsin.v1 import worker_service_pb2 as pb

T = TypeVar("T")


class NotConforming(Exception):
    """The worker did not do what a check wants; the message says what it did."""


@dataclass(eq=False, slots=True)
class SeenLease:
    """One lease, from the moment it passed on its way to the worker. Times are those of the monotonic clock."""

    token: bytes
    queue: str
    job_id: str
    type: str
    attempt: int
    leased: float
    ends: float
    heartbeats: list[float] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    cancel_told: float | None = None
    lost_told: float | None = None
    outcomes: list[tuple[float, pb.Outcome]] = field(default_factory=list)
    recorded: float | None = None  # when an outcome was
    refused: list[str] = field(default_factory=list)  # reasons of outcomes that were not

    @property
    def open(self) -> bool:
        """Whether the worker has it still, for all that it said and was told."""
        return not self.outcomes and self.lost_told is None and time.monotonic() < self.ends

    @property
    def kind(self) -> str:
        """How its first outcome says that it ended: "completed", "failed", "released"; "" while there is none."""
        return self.outcomes[0][1].WhichOneof("outcome") or "" if self.outcomes else ""


class Journal:
    """All leases by token, and what else a worker said. `begin` forgets what came before a check."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._leases: dict[bytes, SeenLease] = {}
        self.begin()

    def begin(self) -> None:
        """A check begins: what is counted, is counted from here. Open leases stay known."""
        self._leases = {token: lease for token, lease in self._leases.items() if lease.open}
        self.most_out = 0
        self.hellos: list[pb.StreamJobsRequest.Hello] = []
        self.goodbyes: list[pb.StreamJobsRequest.Goodbye] = []
        self.asked: list[tuple[str, frozenset[str]]] = []  # queue and types of each ask
        self.workers: list[pb.Worker] = []
        self.messages = 0
        self.ring()

    def ring(self) -> None:
        """Something changed: who waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def leases(self) -> list[SeenLease]:
        """In the order they were given."""
        return list(self._leases.values())

    def of(self, job_id: str, attempt: int = 1) -> SeenLease | None:
        """The lease of a job's attempt, once it was given."""
        found = (lease for lease in self._leases.values() if (lease.job_id, lease.attempt) == (job_id, attempt))
        return next(found, None)

    def out(self) -> int:
        """Leases that the worker has."""
        return sum(lease.open for lease in self._leases.values())

    async def until(self, look: Callable[[], T | None], within: float, what: str) -> T:
        """What `look` finds, once it is something. NotConforming after so many seconds: "within 5 s WHAT"."""
        ends = time.monotonic() + within
        while not (found := look()):
            changed = self._changed
            try:
                # Some of what is looked for passes by time alone.
                async with asyncio.timeout(min(0.2, max(0.0, ends - time.monotonic()))):
                    await changed.wait()
            except TimeoutError:
                if time.monotonic() >= ends:
                    raise NotConforming(f"within {within:g} s {what}") from None
        return found

    # --- what the relay tells ---

    def leased(self, jobs: list[pb.LeasedJob]) -> None:
        """Jobs pass on their way to the worker."""
        now = time.monotonic()
        for job in jobs:
            ends = now + job.lease.ToTimedelta().total_seconds()
            known = (job.token, job.job.queue, job.job.job_id, job.job.spec.type, job.job.attempt, now, ends)
            self._leases.setdefault(job.token, SeenLease(*known))
        self.most_out = max(self.most_out, self.out())
        self.ring()

    def heard(self, worker: pb.Worker) -> None:
        """A call, or a stream's hello, names the worker."""
        self.workers.append(worker)

    def asks(self, asks: list[pb.LeaseAsk]) -> None:
        """What is wanted."""
        self.asked += [(ask.queue, frozenset(ask.types)) for ask in asks]
        self.ring()

    def beats(self, heartbeats: list[pb.Heartbeat], lease: float) -> None:
        """Heartbeats pass on their way to the server, each good for `lease` seconds."""
        now = time.monotonic()
        for beat in heartbeats:
            if known := self._leases.get(beat.token):
                known.heartbeats.append(now)
                known.ends = now + lease
                if beat.HasField("progress"):
                    known.progress.append(beat.progress.fraction)
        self.ring()

    def kept(self, tokens: list[bytes], lease: float) -> None:
        """A hello names leases that it holds."""
        for token in tokens:
            if known := self._leases.get(token):
                known.ends = time.monotonic() + lease
        self.ring()

    def ended(self, outcomes: list[pb.Outcome]) -> None:
        """Outcomes pass on their way to the server."""
        now = time.monotonic()
        for outcome in outcomes:
            if known := self._leases.get(outcome.token):
                known.outcomes.append((now, outcome))
        self.ring()

    def answered(self, token: bytes, result: pb.ReportOutcomesResponse.Result, reason: str) -> None:
        """The answer to an outcome, `reason` empty where it was recorded."""
        if known := self._leases.get(token):
            if reason:
                known.refused.append(reason)
            else:
                known.recorded = time.monotonic()
        self.ring()

    def told(self, token: bytes, *, lost: bool = False, cancel: bool = False) -> None:
        """The worker is told that a lease is lost, or that its job should stop."""
        if known := self._leases.get(token):
            now = time.monotonic()
            if lost:
                known.lost_told = known.lost_told or now
            if cancel:
                known.cancel_told = known.cancel_told or now
        self.ring()
