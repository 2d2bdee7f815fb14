"""A Source in memory: jobs are put in by the test, and it can await what becomes of them; and a runtime on it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from support.eventually import until_async
from tocsin.worker.registry import Handlers
from tocsin.worker.runtime import Runtime
from tocsin.worker.slots import FreeSlots
from tocsin.worker.source import AttemptOutcome, Ending, Heartbeat, HeartbeatAnswer, LeasedJob, Seat, Source

_numbers = itertools.count(1)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_job(type: str = "t", **fields: object) -> LeasedJob:
    """A leased job; what is not given is made up."""
    number = next(_numbers)
    made_up: dict[str, object] = {
        "queue": "q",
        "job_id": f"job-{number}",
        "attempt": 1,
        "token": str(number).encode(),
        "payload_kind": 0,
        "payload_body": b"",
        "create_time": NOW,
        "schedule_time": NOW,
    }
    return LeasedJob(type=type, **{**made_up, **fields})  # type: ignore[arg-type]  # the test's own word


@dataclass(frozen=True)
class MemorySeat:
    """The runtime's seat."""

    source: MemorySource
    types: frozenset[str]
    capacity: Callable[[], FreeSlots]
    take: Callable[[Sequence[LeasedJob]], None]

    def widened(self) -> None:
        asyncio.get_running_loop().call_soon(self.source._give)

    def leave(self) -> None:
        self.source.left()


class MemorySource(Source):
    """Keeps jobs in a list. `outcomes` has what was finished, `beats` each batch of heartbeats."""

    def __init__(self, heartbeat_every: timedelta = timedelta(seconds=10)) -> None:
        self.waiting: list[LeasedJob] = []
        self.asked: list[tuple[dict[str, int], int]] = []  # how much was free, by type and in all, at each look
        self.outcomes: list[AttemptOutcome] = []
        self.flushes: list[int] = []  # outcomes in each finish call
        self.beats: list[list[Heartbeat]] = []
        self.answers: dict[str, HeartbeatAnswer] = {}  # by job_id
        self.failing: Exception | None = None  # raised by extend
        self.log: list[str] = []  # order of calls
        self._every = heartbeat_every
        self._beat_wanted = asyncio.Event()
        self._changed = asyncio.Event()
        self._seat: MemorySeat | None = None

    def add(self, *jobs: LeasedJob) -> None:
        """Make jobs due."""
        self.waiting.extend(jobs)
        self._give()

    def answer(self, job: LeasedJob, answer: HeartbeatAnswer, *, at_once: bool = True) -> None:
        """Answer the job's heartbeats with this from now on."""
        self.answers[job.job_id] = answer
        if at_once:
            self._beat_wanted.set()

    async def until(self, true: Callable[[], object], within: float = 10.0) -> None:
        """Return when `true` is, looked at after each call that the runtime makes."""
        async with asyncio.timeout(within):
            while not true():
                changed = self._changed
                await changed.wait()

    async def finished(self, *jobs: LeasedJob, within: float = 10.0) -> list[AttemptOutcome]:
        """The outcomes of these jobs, once all are there."""
        await self.until(lambda: all(self.of(job) for job in jobs), within)
        return [outcome for job in jobs if (outcome := self.of(job)) is not None]

    def of(self, job: LeasedJob) -> AttemptOutcome | None:
        """The outcome of a job, if it is there."""
        return next((outcome for outcome in self.outcomes if outcome.job is job), None)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def sit(
        self,
        types: Collection[str],
        capacity: Callable[[], FreeSlots],
        take: Callable[[Sequence[LeasedJob]], None],
    ) -> Seat:
        self._seat = MemorySeat(self, frozenset(types), capacity, take)
        self._give()
        return self._seat

    def _give(self) -> None:
        if self._seat is None:
            return
        free = self._seat.capacity()
        self.asked.append((dict(free.of("q")), free.free))
        taken = [job for job in self.waiting if free.take(job.queue, job.type)]
        self.waiting = [job for job in self.waiting if job not in taken]
        if taken:
            self._seat.take(taken)
        self._tell()

    def left(self) -> None:
        """The runtime has left its seat."""
        self._seat = None

    async def extend(self, heartbeats: Sequence[Heartbeat]) -> Sequence[HeartbeatAnswer]:
        self.log.append("extend")
        self.beats.append(list(heartbeats))
        self._tell()
        if self.failing is not None:
            raise self.failing
        return [self.answers.get(beat.job.job_id, HeartbeatAnswer()) for beat in heartbeats]

    async def finish(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[bool]:
        self.log.append("finish")
        self.flushes.append(len(outcomes))
        await asyncio.sleep(0)
        self.outcomes.extend(outcomes)
        self._tell()
        return [True for _ in outcomes]

    @property
    def heartbeat_every(self) -> timedelta:
        return self._every

    async def beat_wanted(self) -> None:
        await self._beat_wanted.wait()
        self._beat_wanted.clear()


@asynccontextmanager
async def running(
    handlers: Handlers, source: MemorySource | None = None, **settings: Any
) -> AsyncIterator[tuple[MemorySource, Runtime]]:
    """A runtime that runs, and its source; drained without grace at the end."""
    source = source or MemorySource()
    runtime = Runtime(source, handlers, **settings)
    run = asyncio.create_task(runtime.run())
    try:
        yield source, runtime
    finally:
        await runtime.drain(timedelta(0))
        await run


async def until_figures(runtime: Runtime, **wanted: int) -> None:
    """Return when runtime.figures() has these values."""

    async def right() -> bool:
        figures = runtime.figures()
        return all(getattr(figures, name) == value for name, value in wanted.items())

    await until_async(right, within=8, what=f"figures {wanted}")


def endings(outcomes: Sequence[AttemptOutcome]) -> list[Ending]:
    """Just how they ended."""
    return [outcome.ending for outcome in outcomes]
