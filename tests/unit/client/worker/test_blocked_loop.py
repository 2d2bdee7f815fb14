"""An async handler that blocks its loop is seen, not felt."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

import pytest
from support.eventually import until_async
from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers
from tocsin.worker.source import Ending, HeartbeatAnswer
from unit.client.worker.gates import Gate
from unit.client.worker.memory_source import MemorySource, a_job, endings, running, until_figures

QUICKLY = timedelta(seconds=0.3)  # a loop ticks every 0.1 s
SHORT = timedelta(seconds=0.05)


class Blocking:
    """A handler that blocks its loop until the gate opens, and one that does not."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.entered, self.release = Gate(), Gate()
        self.threads: dict[str, int] = {}
        self.handlers.on("blocks")(self.blocks)
        self.handlers.on("quick")(self.quick)

    async def blocks(self, job: JobContext) -> None:
        self.threads[job.job_id] = threading.get_ident()
        self.entered.open()
        self.release.block()

    async def quick(self, job: JobContext) -> None:
        self.threads[job.job_id] = threading.get_ident()


@pytest.fixture
def blocking() -> Blocking:
    return Blocking()


async def test_a_new_job_runs_on_a_fresh_loop_and_no_lease_is_lost(
    blocking: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    source = MemorySource(heartbeat_every=SHORT)
    async with running(blocking.handlers, source, blocked_after=QUICKLY) as (_, runtime):
        blocker = a_job("blocks")
        source.add(blocker)
        await blocking.entered.passed()
        await until_figures(runtime, blocked_loops=1)
        assert "Blocking.blocks of type 'blocks' has blocked its event loop" in caplog.text
        quick = a_job("quick")
        source.add(quick)
        assert endings(await source.finished(quick)) == [Ending.COMPLETED]
        beats = len(source.beats)
        await source.until(lambda: len(source.beats) > beats + 1)
        assert [beat.job for beat in source.beats[-1]] == [blocker]
        blocking.release.open()
        assert endings(await source.finished(blocker)) == [Ending.COMPLETED]
    assert blocking.threads[blocker.job_id] != blocking.threads[quick.job_id]


async def test_what_came_before_the_block_was_seen_moves_to_a_fresh_loop(blocking: Blocking) -> None:
    async with running(blocking.handlers, blocked_after=QUICKLY) as (source, _):
        jobs = [a_job("blocks"), a_job("quick"), a_job("quick")]
        source.add(*jobs)
        await blocking.entered.passed()
        later = a_job("quick")
        source.add(later)
        assert endings(await source.finished(*jobs[1:], later)) == [Ending.COMPLETED] * 3
        blocking.release.open()
        await source.finished(jobs[0])
    assert len(source.outcomes) == 4


async def test_what_ended_just_before_the_block_is_told(blocking: Blocking) -> None:
    async with running(blocking.handlers, blocked_after=QUICKLY) as (source, _):
        jobs = [a_job("quick"), a_job("blocks")]
        source.add(*jobs)
        assert endings(await source.finished(jobs[0])) == [Ending.COMPLETED]
        assert source.of(jobs[1]) is None
        blocking.release.open()
        await source.finished(jobs[1])


async def test_a_timeout_holds_on_a_blocked_loop(blocking: Blocking) -> None:
    async with running(blocking.handlers, blocked_after=QUICKLY, stop_grace=SHORT) as (source, runtime):
        job = a_job("blocks", timeout=SHORT)
        source.add(job)
        [outcome] = await source.finished(job)
        assert (outcome.error_type, runtime.figures().abandoned) == ("TIMEOUT", 1)
        blocking.release.open()
        await until_figures(runtime, abandoned=1)
        await until_figures(runtime, blocked_loops=0)


async def test_waiting_behind_a_block_is_not_counted_as_running(blocking: Blocking) -> None:
    async with running(blocking.handlers, blocked_after=QUICKLY) as (source, _):
        jobs = [a_job("blocks"), a_job("quick", timeout=SHORT)]
        source.add(*jobs)
        assert endings(await source.finished(jobs[1])) == [Ending.COMPLETED]
        blocking.release.open()
        await source.finished(jobs[0])


async def test_a_cancel_reaches_what_waits_behind_a_block(blocking: Blocking) -> None:
    async with running(blocking.handlers, blocked_after=QUICKLY) as (source, runtime):
        jobs = [a_job("blocks"), a_job("quick")]
        source.add(*jobs)
        await blocking.entered.passed()
        source.answer(jobs[1], HeartbeatAnswer(cancel_reason="moved"))
        [outcome] = await source.finished(jobs[1])
        assert outcome.error_type == "CANCELLED"
        blocking.release.open()
        await source.finished(jobs[0])
        await until_figures(runtime, busy=0)
    assert jobs[1].job_id not in blocking.threads


async def test_a_loop_that_comes_back_is_closed_once_it_is_empty(
    blocking: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with running(blocking.handlers, blocked_after=QUICKLY) as (source, runtime):
        blocker, quick = a_job("blocks"), a_job("quick")
        source.add(blocker)
        await blocking.entered.passed()
        await until_figures(runtime, blocked_loops=1)
        source.add(quick)
        await source.finished(quick)
        blocking.release.open()
        await source.finished(blocker)

        async def one_left() -> bool:
            names = [thread.name for thread in threading.enumerate()]
            return sum(name.startswith("tocsin-handlers-") for name in names) == 1

        await until_async(one_left, within=5, what="one handler loop")
        await until_figures(runtime, blocked_loops=0)
        after = a_job("quick")
        source.add(after)
        await source.finished(after)
    assert "is back after" in caplog.text
    assert blocking.threads[after.job_id] == blocking.threads[quick.job_id]


async def test_a_task_left_behind_that_blocks_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    handlers, release, blocked = Handlers(), Gate(), Gate()

    async def left_behind() -> None:
        blocked.open()
        release.block()

    @handlers.on("leaves")
    async def leaves(job: JobContext) -> None:
        leaves.task = asyncio.create_task(left_behind())  # type: ignore[attr-defined]  # kept alive by something

    @handlers.on("quick")
    async def quick(job: JobContext) -> None: ...

    async with running(handlers, blocked_after=QUICKLY) as (source, runtime):
        first, second = a_job("leaves"), a_job("quick")
        source.add(first)
        await source.finished(first)
        await blocked.passed()
        source.add(second)
        assert endings(await source.finished(second)) == [Ending.COMPLETED]
        assert runtime.figures().blocked_loops == 1
        assert caplog.text.count("left_behind) has blocked its event loop") == 1
        release.open()
        await until_figures(runtime, blocked_loops=0)


async def test_a_thread_that_never_lets_go_of_the_processor_delays_nobody_for_long() -> None:
    handlers, spinning, stop = Handlers(), Gate(), Gate()

    @handlers.on("spins")
    def spins(job: JobContext) -> None:
        spinning.open()
        while not stop.is_open:
            pass

    @handlers.on("quick")
    async def quick(job: JobContext) -> None: ...

    async with running(handlers) as (source, _):
        spinner, other = a_job("spins"), a_job("quick")
        source.add(spinner)
        await spinning.passed()
        began = time.monotonic()
        source.add(other)
        await source.finished(other)
        assert time.monotonic() - began < 1
        stop.open()
        await source.finished(spinner)
