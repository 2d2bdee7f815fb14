"""How many attempts run at once, and what the source is asked for."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from datetime import timedelta

import pytest
from support.eventually import until_async
from tocsin.worker.attempt import Attempt
from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers
from tocsin.worker.runtime import Runtime
from tocsin.worker.source import Ending, LeasedJob
from unit.client.worker.gates import Gate
from unit.client.worker.memory_source import MemorySource, a_job, endings, running, until_figures


class Crowd:
    """Handlers that wait for their job's gate, and count how many are in."""

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.inside = 0
        self.most = 0

    def job(self, type: str) -> LeasedJob:
        job = a_job(type)
        self.gates[job.job_id] = Gate()
        return job

    async def in_loop(self, job: JobContext) -> None:
        self.enter()
        await self.gates[job.job_id].passed()
        self.inside -= 1

    def in_thread(self, job: JobContext) -> None:
        self.gates[job.job_id].block()

    def enter(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)

    def open(self, *jobs: LeasedJob) -> None:
        for job in jobs:
            self.gates[job.job_id].open()


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


async def test_no_more_run_at_once_than_there_are_slots(crowd: Crowd) -> None:
    handlers = Handlers()
    handlers.on("t")(crowd.in_loop)
    async with running(handlers, concurrency=3) as (source, runtime):
        jobs = [crowd.job("t") for _ in range(7)]
        source.add(*jobs)
        await until_figures(runtime, busy=3)

        async def all_in() -> bool:
            return crowd.inside == 3

        await until_async(all_in, within=8)
        assert (runtime.figures().slots, len(source.waiting)) == (3, 4)
        crowd.open(*jobs)
        assert endings(await source.finished(*jobs)) == [Ending.COMPLETED] * 7
    assert crowd.most == 3
    assert all(limit <= 3 for _, limit in source.asked)


@pytest.mark.parametrize("kind", ["in_loop", "in_thread"])
async def test_a_types_own_limit_holds_and_leaves_the_rest_to_others(crowd: Crowd, kind: str) -> None:
    handlers = Handlers()
    handler: Callable[[JobContext], object] = getattr(crowd, kind)
    handlers.on("few", concurrency=2)(handler)
    handlers.on("many")(handler)
    async with running(handlers, concurrency=4) as (source, runtime):
        few, many = [crowd.job("few") for _ in range(3)], [crowd.job("many") for _ in range(3)]
        source.add(*few, *many)
        await source.until(lambda: source.asked)
        assert source.asked[0] == ({"few": 2, "many": 4}, 4)
        await until_figures(runtime, busy=4)
        assert source.waiting == [few[2], many[2]]
        crowd.open(*few, *many)
        await source.finished(*few, *many)


async def test_a_type_that_was_full_is_taken_again_once_a_slot_is_free(crowd: Crowd) -> None:
    handlers = Handlers()
    handlers.on("few", concurrency=1)(crowd.in_loop)
    handlers.on("many")(crowd.in_loop)
    async with running(handlers, concurrency=4) as (source, _):
        first, second = crowd.job("few"), crowd.job("few")
        source.add(first, second)
        await source.until(lambda: source.waiting == [second])
        crowd.open(first, second)
        assert endings(await source.finished(first, second)) == [Ending.COMPLETED] * 2


async def test_a_busy_runtime_takes_batches_and_gives_batches() -> None:
    handlers = Handlers()

    @handlers.on("t")
    async def t(job: JobContext) -> None: ...

    async with running(handlers, concurrency=50) as (source, _):
        jobs = [a_job() for _ in range(500)]
        source.add(*jobs)
        await source.finished(*jobs)
    assert len(source.flushes) < 100


async def test_one_outcome_that_the_source_refuses_takes_no_other_with_it() -> None:
    class Choosy(MemorySource):
        refuses = True

        async def finish(self, outcomes):  # type: ignore[no-untyped-def]  # as in Source
            if self.refuses and any(outcome.job.type == "bad" for outcome in outcomes):
                raise ValueError("not that one")
            return await super().finish(outcomes)

    handlers = Handlers()
    handlers.on("bad")(lambda job: None)
    handlers.on("good")(lambda job: None)
    choosy = Choosy()
    async with running(handlers, choosy) as (source, _):
        jobs = [a_job("good"), a_job("bad"), a_job("good")]
        source.add(*jobs)
        await source.finished(jobs[0], jobs[2])
        choosy.refuses = False  # else its end would wait for the bad one


async def test_while_idle_nothing_happens() -> None:
    handlers = Handlers()

    @handlers.on("t")
    async def t(job: JobContext) -> None: ...

    async with running(handlers) as (source, runtime):
        job = a_job()
        source.add(job)
        await source.finished(job)
        await until_figures(runtime, busy=0)
        asked = len(source.asked)
        with pytest.raises(TimeoutError):
            await source.until(lambda: False, within=0.5)
        assert len(source.asked) == asked
        assert source.beats == []


@pytest.mark.parametrize("kind", ["loop", "thread"])
async def test_what_has_ended_is_freed_at_once(kind: str) -> None:
    """Payloads are up to 1 MiB: they must not wait for the garbage collector."""
    handlers = Handlers()

    @handlers.on("loop")
    async def loop(job: JobContext) -> None:
        await job.progress(0.5)

    @handlers.on("thread")
    def thread(job: JobContext) -> None:
        raise ValueError(job.job_id)

    async with running(handlers) as (source, runtime):
        warm_up = a_job(kind)
        source.add(warm_up)
        await source.finished(warm_up)
        gc.collect()
        gc.disable()
        try:
            jobs = [a_job(kind, timeout=timedelta(seconds=30)) for _ in range(20)]
            source.add(*jobs)
            await source.finished(*jobs)
            await until_figures(runtime, busy=0)

            async def freed() -> bool:
                left = [thing for thing in gc.get_objects() if isinstance(thing, Attempt) and thing.job in jobs]
                return len(left) <= 2  # the last one's thread or flush may still hold it

            await until_async(freed, within=8, what="attempts freed without the garbage collector")
        finally:
            gc.enable()


@pytest.mark.parametrize("concurrency", [0, -1])
async def test_a_runtime_without_slots_is_refused(concurrency: int) -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        Runtime(MemorySource(), Handlers(), concurrency=concurrency)


async def test_a_cancelled_run_gives_back_what_it_has(crowd: Crowd) -> None:
    handlers = Handlers()
    handlers.on("t")(crowd.in_loop)
    source = MemorySource()
    runtime = Runtime(source, handlers, stop_grace=timedelta(seconds=1))
    run = asyncio.create_task(runtime.run())
    job = crowd.job("t")
    source.add(job)
    await until_figures(runtime, busy=1)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert endings(source.outcomes) == [Ending.RELEASED]
    crowd.open(job)
