"""A claim travels with jobs that are due at once, where there are free slots for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from contract.builders import a_draft, added
from support.running_leasing import FreeForAll, Parts, StartParts
from support.spied_store import SpiedStore
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.errors import OutcomeUnknown
from tocsin_server.domain.job_errors import JobExists
from tocsin_server.domain.lease import Claimed
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.schedule_jobs import ScheduleJobs


class Sitting:
    """Takes jobs as long as it has slots, and keeps what came."""

    def __init__(self, parts: Parts, free: Mapping[str, int], limit: int) -> None:
        self._free, self._limit = free, limit
        self.came: list[Claimed] = []
        self._more = asyncio.Event()
        parts.leasing.seat(list(free), self._capacity, self._take)

    async def has(self, *names: str, within: float = 5) -> None:
        """Return once just these jobs have come, in this order."""
        async with asyncio.timeout(within):
            while [one.job.job_id for one in self.came] != list(names):
                await self._more.wait()
                self._more.clear()

    def _capacity(self) -> FreeForAll:
        return FreeForAll(self._free, self._limit - len(self.came))

    def _take(self, jobs: Sequence[Claimed]) -> None:
        self.came += jobs
        self._more.set()


@asynccontextmanager
async def scheduling(spied: SpiedStore, parts: Parts) -> AsyncIterator[ScheduleJobs]:
    schedule_jobs = ScheduleJobs(spied.as_store, QueueSettingsCache(spied.as_store, ttl=timedelta(minutes=1)).get)
    schedule_jobs.ride = parts.leasing.ride
    try:
        yield schedule_jobs
    finally:
        await schedule_jobs.close()


async def known(spied: SpiedStore, type_: str = "t") -> None:
    """The queue is known, and nothing of it is left to claim."""
    await added(spied.as_store, a_draft("before", type=type_))


def asked(job_id: str, type_: str = "t", **words: object) -> list[JobRequest]:
    return [JobRequest(queue="q", type=type_, job_id=job_id, **words)]  # type: ignore[arg-type]


async def test_a_job_is_leased_by_the_call_that_adds_it(spied: SpiedStore, start_parts: StartParts) -> None:
    async with start_parts() as parts, scheduling(spied, parts) as schedule_jobs:
        sitting = Sitting(parts, {"t": 5, "u": 5}, 5)
        await known(spied)
        await sitting.has("before")
        await parts.ticker.look("q")
        spied.deaf = True
        before = spied.calls["claim"]
        for n in range(3):
            await schedule_jobs.schedule(asked(f"{n}"))
        await sitting.has("before", "0", "1", "2", within=0.5)
        assert spied.calls["add_and_claim"] == 3
        assert spied.calls["claim"] - before <= 1, "beside a tick's"


async def test_what_has_no_slot_waits_and_others_are_rung(spied: SpiedStore, start_parts: StartParts) -> None:
    async with start_parts() as parts, scheduling(spied, parts) as schedule_jobs:
        sitting = Sitting(parts, {"t": 1}, 1)
        await known(spied)
        await sitting.has("before")
        rung = asyncio.Semaphore(0)
        parts.wakeups.on_work(lambda queue, due: rung.release())
        async with asyncio.timeout(5):
            for type_ in "tu":
                await schedule_jobs.schedule(asked(type_, type_))
                await rung.acquire()
        assert spied.calls["add_and_claim"] == 0


async def test_it_brings_the_best_of_the_queue(spied: SpiedStore, start_parts: StartParts) -> None:
    async with start_parts(tick=timedelta(minutes=1)) as parts, scheduling(spied, parts) as schedule_jobs:
        sitting = Sitting(parts, {"t": 5}, 2)
        await known(spied)
        await sitting.has("before")
        spied.deaf = True
        await added(spied.as_store, a_draft("better", priority=1))
        await schedule_jobs.schedule(asked("0"))
        await sitting.has("before", "better")


async def test_a_refused_job_is_refused_and_the_claim_is_none_the_worse(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    async with start_parts() as parts, scheduling(spied, parts) as schedule_jobs:
        sitting = Sitting(parts, {"t": 5}, 5)
        await known(spied)
        await sitting.has("before")
        [refusal] = await schedule_jobs.schedule(asked("before"))
        assert isinstance(refusal, JobExists)
        await schedule_jobs.schedule(asked("0"))
        await sitting.has("before", "0")
        assert spied.calls["add_and_claim"] == 2


async def test_where_the_answer_is_lost_what_was_leased_is_found_again(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    async with start_parts() as parts, scheduling(spied, parts) as schedule_jobs:
        sitting = Sitting(parts, {"t": 5}, 5)
        await known(spied)
        await sitting.has("before")
        spied.deaf = True
        spied.lose["add_and_claim"] = 1
        with pytest.raises(OutcomeUnknown):
            await schedule_jobs.schedule(asked("0"))
        await sitting.has("before", "0")
        assert [one.lease.attempt for one in sitting.came] == [1, 1]


async def test_one_at_a_time(spied: SpiedStore, start_parts: StartParts) -> None:
    """A slot is promised once: while a claim is under way others go by themselves."""
    async with start_parts() as parts, scheduling(spied, parts) as schedule_jobs:
        sitting = Sitting(parts, {"t": 5}, 5)
        await known(spied)
        await sitting.has("before")
        gate = spied.gates["add_and_claim"] = asyncio.Event()
        first = asyncio.create_task(schedule_jobs.schedule(asked("0")))
        await spied.until_asked("add_and_claim", 1)
        assert await parts.leasing.ride("q", {"t": 1}) is None
        gate.set()
        await first
        await sitting.has("before", "0")
