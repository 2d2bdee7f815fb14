"""The end of a runtime: what runs may end, the rest is given back, and all of it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from support.eventually import until_async
from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers
from tocsin.worker.runtime import Drained, Runtime
from tocsin.worker.source import AttemptOutcome, Ending, LeasedJob
from unit.client.worker.gates import Gate
from unit.client.worker.memory_source import MemorySource, a_job, endings, until_figures

NONE = timedelta(0)
SHORT = timedelta(seconds=0.05)
LONG = timedelta(seconds=30)


class Draining:
    """Handlers to drain, and a runtime that has them."""

    def __init__(self, source: MemorySource | None = None) -> None:
        self.leave = Gate()
        handlers = Handlers()
        handlers.on("loop")(self.loop)
        handlers.on("thread")(self.thread)
        handlers.on("fails")(self.fails)
        self.source = source or MemorySource()
        self.runtime = Runtime(self.source, handlers, stop_grace=SHORT)
        self.run = asyncio.create_task(self.runtime.run())

    async def loop(self, job: JobContext) -> None:
        await self.leave.passed()

    def thread(self, job: JobContext) -> None:
        self.leave.block()

    async def fails(self, job: JobContext) -> None:
        try:
            await self.leave.passed()
        except asyncio.CancelledError:
            raise ConnectionError("cut while at work") from None

    async def start(self, *types: str) -> list[LeasedJob]:
        jobs = [a_job(type) for type in types]
        self.source.add(*jobs)
        await until_figures(self.runtime, busy=len(jobs))
        return jobs


async def test_what_ends_within_the_grace_is_completed_and_nothing_new_is_leased() -> None:
    draining = Draining()
    jobs = await draining.start("loop", "thread")
    drain = asyncio.create_task(draining.runtime.drain(LONG))
    await asyncio.sleep(0)
    draining.source.add(late := a_job("loop"))
    draining.leave.open()
    assert await drain == Drained(ended=2, released=0, abandoned=0, unflushed=0)
    await draining.run
    assert endings(await draining.source.finished(*jobs)) == [Ending.COMPLETED] * 2
    assert draining.source.waiting == [late]


async def test_what_does_not_end_is_given_back_as_neither_failed_nor_crashed() -> None:
    draining = Draining()
    jobs = await draining.start("loop", "fails", "thread")
    assert await draining.runtime.drain(NONE) == Drained(ended=0, released=3, abandoned=1, unflushed=0)
    await draining.run
    assert endings(await draining.source.finished(*jobs)) == [Ending.RELEASED] * 3
    draining.leave.open()


async def test_an_abandoned_thread_of_a_drained_runtime_ends_without_a_word() -> None:
    draining = Draining()
    jobs = await draining.start("thread")
    await draining.runtime.drain(NONE)
    await draining.run
    draining.leave.open()

    async def ended() -> bool:
        return draining.runtime.figures().abandoned == 0

    await until_async(ended, within=5)
    assert [outcome.job for outcome in draining.source.outcomes] == jobs


async def test_a_second_drain_waits_for_the_first() -> None:
    draining = Draining()
    await draining.start("loop")
    first = asyncio.create_task(draining.runtime.drain(LONG))
    second = asyncio.create_task(draining.runtime.drain(LONG))
    await asyncio.sleep(0)
    assert not second.done()
    draining.leave.open()
    assert await first == await second == Drained(ended=1, released=0, abandoned=0, unflushed=0)
    await draining.run


async def test_a_second_drain_with_less_patience_shortens_the_first() -> None:
    draining = Draining()
    await draining.start("loop")
    first = asyncio.create_task(draining.runtime.drain(LONG))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        drained = await draining.runtime.drain(NONE)
    assert (drained.ended, drained.released) == (0, 1)
    assert await first == drained


async def test_an_idle_runtime_drains_at_once_also_before_it_ran() -> None:
    draining = Draining()
    assert await draining.runtime.drain(LONG) == Drained(0, 0, 0, 0)
    await draining.run


async def test_jobs_that_come_after_the_seat_was_left_are_given_back() -> None:
    class LateSource(MemorySource):
        """Gives a job to one who has left."""

        late = a_job("loop")

        def left(self) -> None:
            assert self._seat is not None
            take = self._seat.take
            super().left()
            take([self.late])

    draining = Draining(source := LateSource())
    await source.until(lambda: source.asked)
    drained = await draining.runtime.drain(LONG)
    assert (drained.released, drained.unflushed) == (1, 0)
    await draining.run
    assert endings(await source.finished(source.late)) == [Ending.RELEASED]


async def test_outcomes_under_way_are_flushed_before_the_drain_ends() -> None:
    class SlowSource(MemorySource):
        async def finish(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[bool]:
            await asyncio.sleep(0.1)  # stands for a slow store
            return await super().finish(outcomes)

    draining = Draining(SlowSource())
    jobs = await draining.start("loop", "loop")
    assert (await draining.runtime.drain(NONE)).unflushed == 0
    assert endings([o for job in jobs if (o := draining.source.of(job))]) == [Ending.RELEASED] * 2
    await draining.run
