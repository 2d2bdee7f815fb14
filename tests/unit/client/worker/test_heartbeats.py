"""Leases are kept alive and progress travels, whatever handlers do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import pytest
from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers
from tocsin.worker.source import AttemptOutcome, Ending, HeartbeatAnswer
from unit.client.worker.gates import Gate
from unit.client.worker.memory_source import MemorySource, a_job, endings, running

OFTEN = timedelta(seconds=0.05)


def words(source: MemorySource) -> list[tuple[float, str]]:
    return [beat.progress for beats in source.beats for beat in beats if beat.progress is not None]


async def test_all_running_jobs_are_extended_in_one_call_again_and_again() -> None:
    handlers, leave = Handlers(), Gate()

    @handlers.on("loop")
    async def loop(job: JobContext) -> None:
        await leave.passed()

    @handlers.on("thread")
    def thread(job: JobContext) -> None:
        leave.block()

    async with running(handlers, MemorySource(OFTEN)) as (source, _):
        jobs = [a_job("loop"), a_job("thread"), a_job("loop")]
        source.add(*jobs)
        await source.until(lambda: len(source.beats) >= 3)
        assert [beat.job for beat in source.beats[-1]] == jobs
        assert [beat.progress for beat in source.beats[-1]] == [None] * 3
        leave.open()
        await source.finished(*jobs)


async def test_heartbeats_go_on_after_the_source_failed(caplog: pytest.LogCaptureFixture) -> None:
    handlers, leave = Handlers(), Gate()
    handlers.on("t")(lambda job: leave.block())
    async with running(handlers, MemorySource(OFTEN)) as (source, _):
        source.failing = ConnectionError("away")
        job = a_job()
        source.add(job)
        await source.until(lambda: len(source.beats) >= 3)
        source.failing = None
        await source.until(lambda: len(source.beats) >= 5)
        leave.open()
        assert endings(await source.finished(job)) == [Ending.COMPLETED]
    assert caplog.text.count("could not be extended: away") == 1


@pytest.mark.parametrize("kind", ["loop", "thread"])
async def test_progress_is_stored_at_once_and_the_last_word_before_the_outcome(kind: str) -> None:
    handlers, leave = Handlers(), Gate()

    @handlers.on("loop")
    async def loop(job: JobContext) -> None:
        await job.progress(0.5, "half way")
        await leave.passed()
        await job.progress(1.0, "there")

    @handlers.on("thread")
    def thread(job: JobContext) -> None:
        job.progress(0.5, "half way")
        leave.block()
        job.progress(1.0, "there")

    async with running(handlers) as (source, _):
        job = a_job(kind)
        source.add(job)
        await source.until(lambda: words(source) == [(0.5, "half way")])
        leave.open()
        await source.finished(job)
    assert words(source) == [(0.5, "half way"), (1.0, "there")]
    assert source.log[-1] == "finish"
    assert source.log[-2] == "extend"


async def test_much_progress_is_stored_a_few_times_a_second() -> None:
    handlers = Handlers()
    took: list[float] = []

    @handlers.on("t")
    def t(job: JobContext) -> None:
        began = time.monotonic()
        for i in range(200_000):
            job.progress(i / 200_000)
        job.progress(1.0)
        took.append(time.monotonic() - began)

    async with running(handlers) as (source, _):
        job = a_job()
        source.add(job)
        await source.finished(job, within=60)
    said = words(source)
    assert said[-1] == (1.0, "")
    assert len(said) <= took[0] * 4 + 3
    assert said == sorted(said)


async def test_progress_that_could_not_be_stored_goes_with_a_later_heartbeat() -> None:
    handlers, leave = Handlers(), Gate()

    @handlers.on("t")
    def t(job: JobContext) -> None:
        job.progress(0.5)
        leave.block()

    async with running(handlers, MemorySource(OFTEN)) as (source, _):
        source.failing = ConnectionError("away")
        job = a_job()
        source.add(job)
        await source.until(lambda: source.beats)
        source.failing = None
        before = len(source.beats)
        await source.until(lambda: len(source.beats) > before + 1)
        assert words(source)[-1] == (0.5, "")
        said = len(words(source))
        await source.until(lambda: len(source.beats) > before + 3)
        assert len(words(source)) == said  # stored once is enough
        leave.open()
        await source.finished(job)


async def test_leases_hold_until_the_outcome_is_recorded() -> None:
    class FullSource(MemorySource):
        """Takes outcomes only once there is room."""

        room = asyncio.Event()

        async def finish(self, outcomes: Sequence[AttemptOutcome]) -> Sequence[bool]:
            await self.room.wait()
            return await super().finish(outcomes)

    end = threading.Event()
    handlers = Handlers()
    handlers.on("t")(lambda job: None)
    handlers.on("waits")(lambda job: end.wait(20) and None)
    async with running(handlers, source := FullSource(OFTEN)) as (_, runtime):
        job = a_job()
        source.add(job)
        await source.until(lambda: len(source.beats) >= 3)
        assert runtime.figures().busy == 0
        assert [beat.job for beat in source.beats[-1]] == [job]
        # Neither word has anything to stop.
        source.answer(job, HeartbeatAnswer(lost=True))
        await source.until(lambda: len(source.beats) >= 6)
        source.room.set()
        assert endings(await source.finished(job)) == [Ending.COMPLETED]
        # Once it is recorded only others beat, as one that still runs shows.
        source.add(other := a_job("waits"))
        await source.until(lambda: len(source.beats) >= 2 and [b.job for b in source.beats[-1]] == [other])
        beats = len(source.beats)
        await source.until(lambda: len(source.beats) >= beats + 3)
        assert job not in [beat.job for beating in source.beats[beats:] for beat in beating]
        end.set()
        await source.finished(other)
