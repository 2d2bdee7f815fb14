"""What handlers log travels with heartbeats, in order, bounded, and before the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from tocsin.worker.context import JobContext
from tocsin.worker.log_lines import LINE_BYTES, WAITING_LINES, WaitingLines, line
from tocsin.worker.registry import Handlers
from tocsin.worker.source import Ending, Heartbeat, HeartbeatAnswer
from unit.client.worker.gates import Gate
from unit.client.worker.memory_source import MemorySource, a_job, running

DEBUG, INFO, WARNING, ERROR = 1, 2, 3, 4


def logged(source: MemorySource) -> list[tuple[int, str]]:
    return [line for beats in source.beats for beat in beats for line in beat.log]


async def test_lines_of_async_and_plain_handlers_stand_before_their_outcomes() -> None:
    handlers = Handlers()

    @handlers.on("loop")
    async def loop(job: JobContext) -> None:
        await job.log("from a loop")
        job.log("not good", "warning")

    @handlers.on("thread")
    def thread(job: JobContext) -> None:
        job.log("from a thread", level="error")
        raise ValueError("no")

    async with running(handlers) as (source, _):
        for kind, lines in (
            ("loop", [(INFO, "from a loop"), (WARNING, "not good")]),
            ("thread", [(ERROR, "from a thread")]),
        ):
            source.beats.clear()
            source.log.clear()
            job = a_job(kind)
            source.add(job)
            await source.finished(job)
            assert logged(source) == lines
            assert source.log.index("extend") < source.log.index("finish")


async def test_a_running_attempt_does_not_wait_with_its_lines_for_the_next_heartbeat() -> None:
    handlers, leave = Handlers(), Gate()

    @handlers.on("t")
    async def handle(job: JobContext) -> None:
        job.log("begun", "debug")
        await leave.passed()

    async with running(handlers, MemorySource(timedelta(minutes=5))) as (source, _):
        job = a_job()
        source.add(job)
        await source.until(lambda: logged(source) == [(DEBUG, "begun")])
        assert source.of(job) is None
        leave.open()
        await source.finished(job)
        assert logged(source) == [(DEBUG, "begun")]  # once


async def test_lines_that_could_not_be_stored_are_tried_again_in_order() -> None:
    handlers, first, leave = Handlers(), Gate(), Gate()

    @handlers.on("t")
    async def handle(job: JobContext) -> None:
        job.log("one")
        await first.passed()
        job.log("two")
        await leave.passed()

    async with running(handlers, MemorySource(timedelta(minutes=5))) as (source, _):
        source.failing = ConnectionError("away")
        job = a_job()
        source.add(job)
        await source.until(lambda: logged(source))
        source.failing = None
        source.beats.clear()
        first.open()
        await source.until(lambda: len(logged(source)) == 2)
        assert logged(source) == [(INFO, "one"), (INFO, "two")]
        leave.open()
        [outcome] = await source.finished(job)
        assert outcome.ending is Ending.COMPLETED


class SlowSource(MemorySource):
    """A heartbeat's answer waits until it is let go; `ended` is set when an outcome is about to be recorded."""

    def __init__(self) -> None:
        super().__init__(timedelta(minutes=5))
        self.answering, self.ended = asyncio.Event(), asyncio.Event()

    async def lull(self) -> None:
        self.ended.set()

    async def extend(self, heartbeats: Sequence[Heartbeat]) -> Sequence[HeartbeatAnswer]:
        answers = await super().extend(heartbeats)
        await self.answering.wait()
        self.log.append("extended")
        return answers


async def test_an_outcome_does_not_overtake_lines_that_are_on_their_way() -> None:
    """A source takes nothing more of an attempt that has ended: they would be lost."""
    handlers, leave = Handlers(), Gate()

    @handlers.on("t")
    async def handle(job: JobContext) -> None:
        job.log("one")
        await leave.passed()

    source = SlowSource()
    async with running(handlers, source):
        job = a_job()
        source.add(job)
        await source.until(lambda: logged(source))
        leave.open()
        await source.ended.wait()
        for _ in range(20):
            await asyncio.sleep(0)  # turns enough for a record that waits for nothing
        assert source.log == ["extend"]
        source.answering.set()
        await source.finished(job)
        assert source.log == ["extend", "extended", "finish"]
    assert logged(source) == [(INFO, "one")]


def test_of_too_many_lines_the_first_and_the_last_stay_with_a_mark_between_them() -> None:
    lines = WaitingLines()
    for number in range(5000):
        lines.add((INFO, f"line {number}"))
    taken = list(lines.take())
    assert len(taken) == WAITING_LINES
    assert (taken[0], taken[-1]) == ((INFO, "line 0"), (INFO, "line 4999"))
    [mark] = [text for level, text in taken if level == WARNING]
    assert mark.startswith("... 4001 lines ")
    assert lines  # they travel
    lines.arrived()
    assert not lines


def test_long_lines_are_bounded_in_bytes() -> None:
    lines = WaitingLines()
    for number in range(500):
        lines.add(line(f"{number} " + "ö" * 4000, "info"))
    taken = lines.take()
    assert all(len(text.encode()) <= LINE_BYTES for _, text in taken)
    assert 200 << 10 < sum(len(text.encode()) for _, text in taken) <= 256 << 10
    assert taken[0][1].startswith("0 ")
    assert taken[-1][1].startswith("499 ")


def test_a_context_alone_takes_lines_and_refuses_unknown_levels() -> None:
    context = JobContext(a_job())
    context.log("nobody listens")
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        context.log("x", "loud")  # type: ignore[arg-type]
    written: list[tuple[int, str]] = []
    JobContext(a_job(), write=written.append).log("half of a \ud83d pair")
    assert written == [(INFO, "half of a ? pair")]
