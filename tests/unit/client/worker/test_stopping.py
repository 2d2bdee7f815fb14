"""Timeouts, cancels, lost leases: who is stopped, what is recorded, what keeps its slot."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta

import pytest
from tocsin.v1 import job_pb2
from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers
from tocsin.worker.source import Ending, HeartbeatAnswer
from unit.client.worker.gates import Gate
from unit.client.worker.memory_source import MemorySource, a_job, endings, running, until_figures

SHORT = timedelta(seconds=0.05)
LONG = timedelta(seconds=30)


class Handled:
    """Handlers of all habits, and gates to see and steer them by."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.entered, self.leave, self.left = Gate(), Gate(), Gate()
        self.contexts: list[JobContext] = []
        on = self.handlers.on
        on("obeys")(self.obeys)
        on("ignores")(self.ignores)
        on("polls")(self.polls)
        on("deaf")(self.deaf)
        on("completes")(self.completes)
        on("limited", timeout=SHORT)(self.obeys)

    def enter(self, job: JobContext) -> None:
        self.contexts.append(job)
        self.entered.open()

    async def obeys(self, job: JobContext) -> None:
        self.enter(job)
        try:
            await asyncio.Event().wait()
        finally:
            self.left.open()

    async def ignores(self, job: JobContext) -> None:
        self.enter(job)
        while not self.leave.is_open:
            with contextlib.suppress(asyncio.CancelledError):
                await self.leave.passed()
        self.left.open()

    def polls(self, job: JobContext) -> None:
        self.enter(job)
        while True:
            job.raise_if_cancelled()

    def deaf(self, job: JobContext) -> str:
        self.enter(job)
        self.leave.block()
        self.left.open()
        return "late"

    async def completes(self, job: JobContext) -> str:
        self.enter(job)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return ""


@pytest.fixture
def handled() -> Handled:
    return Handled()


def result(outcome_result: bytes | None) -> str:
    assert outcome_result is not None
    return job_pb2.Result.FromString(outcome_result).data.string_value


@pytest.mark.parametrize("type", ["obeys", "polls", "completes"])
async def test_a_timeout_stops_the_handler_and_counts_as_a_failure(handled: Handled, type: str) -> None:
    async with running(handled.handlers) as (source, runtime):
        job = a_job(type, timeout=SHORT)
        source.add(job)
        [outcome] = await source.finished(job)
        assert (outcome.ending, outcome.error_type, outcome.retryable) == (Ending.FAILED, "TIMEOUT", True)
        assert outcome.error_message == "the attempt passed its limit of 0.05 s"
        assert handled.contexts[0].cancelled
        assert runtime.figures().abandoned == 0


async def test_the_trace_of_a_timeout_shows_where_the_handler_was(handled: Handled) -> None:
    async with running(handled.handlers) as (source, _):
        job = a_job("obeys", timeout=SHORT)
        source.add(job)
        [outcome] = await source.finished(job)
    assert "await asyncio.Event().wait()" in outcome.error_trace


async def test_a_handlers_own_limit_holds_where_it_is_shorter(handled: Handled) -> None:
    async with running(handled.handlers) as (source, _):
        jobs = [a_job("limited"), a_job("limited", timeout=LONG)]
        source.add(*jobs)
        assert [outcome.error_type for outcome in await source.finished(*jobs)] == ["TIMEOUT"] * 2


@pytest.mark.parametrize("type", ["ignores", "deaf"])
async def test_what_does_not_stop_is_abandoned_and_keeps_its_slot_until_it_ends(
    handled: Handled, type: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(handled.handlers, concurrency=2, stop_grace=SHORT) as (source, runtime):
        job = a_job(type, timeout=SHORT)
        source.add(job)
        [outcome] = await source.finished(job)
        assert (outcome.ending, outcome.error_type) == (Ending.FAILED, "TIMEOUT")
        assert (runtime.figures().abandoned, runtime.figures().busy) == (1, 0)
        assert f"Handled.{type} of job {job.job_id} did not stop (TIMEOUT)" in caplog.text

        held = [a_job("polls"), a_job("polls")]
        source.add(*held)
        await until_figures(runtime, busy=1)
        assert source.waiting == [held[1]]

        handled.leave.open()
        await until_figures(runtime, busy=2)
        assert runtime.figures().abandoned == 0
    assert source.of(job) is outcome
    assert len([o for o in source.outcomes if o.job is job]) == 1


@pytest.mark.parametrize("type", ["ignores", "deaf"])
async def test_the_next_attempt_does_not_start_here_before_the_abandoned_one_has_ended(
    handled: Handled, type: str
) -> None:
    async with running(handled.handlers, stop_grace=SHORT) as (source, runtime):
        first = a_job(type, timeout=SHORT)
        source.add(first)
        await source.finished(first)
        second = a_job(type, job_id=first.job_id, attempt=2)
        source.add(second)
        await until_figures(runtime, parked=1)
        assert len(handled.contexts) == 1
        handled.leave.open()
        assert endings(await source.finished(second)) == [Ending.COMPLETED]
    assert [context.attempt for context in handled.contexts] == [1, 2]


async def test_a_next_attempt_that_waited_long_enough_is_given_back(handled: Handled) -> None:
    async with running(handled.handlers, stop_grace=SHORT, park_for=SHORT) as (source, runtime):
        first = a_job("deaf", timeout=SHORT)
        source.add(first)
        await source.finished(first)
        second = a_job("deaf", job_id=first.job_id, attempt=2)
        source.add(second)
        assert endings(await source.finished(second)) == [Ending.RELEASED]
        assert (runtime.figures().parked, runtime.figures().busy) == (0, 0)
        handled.leave.open()


@pytest.mark.parametrize("type", ["obeys", "polls"])
async def test_a_cancel_stops_the_handler_with_its_reason(handled: Handled, type: str) -> None:
    async with running(handled.handlers) as (source, _):
        job = a_job(type)
        source.add(job)
        await handled.entered.passed()
        source.answer(job, HeartbeatAnswer(cancel_reason="moved", cancel_grace=LONG))
        [outcome] = await source.finished(job)
    assert (outcome.ending, outcome.error_type, outcome.retryable) == (Ending.FAILED, "CANCELLED", False)
    assert outcome.error_message == "cancelled: moved"
    assert handled.contexts[0].cancel_reason == "moved"


async def test_a_cancelled_handler_that_completes_is_completed(handled: Handled) -> None:
    async with running(handled.handlers) as (source, _):
        job = a_job("completes")
        source.add(job)
        await handled.entered.passed()
        source.answer(job, HeartbeatAnswer(cancel_reason="moved"))
        [outcome] = await source.finished(job)
    assert outcome.ending is Ending.COMPLETED
    assert result(outcome.result) == "done all the same"


@pytest.mark.parametrize("type", ["ignores", "deaf"])
async def test_a_cancel_not_obeyed_within_its_grace_is_recorded_and_the_slot_stays_taken(
    handled: Handled, type: str
) -> None:
    async with running(handled.handlers) as (source, runtime):
        job = a_job(type)
        source.add(job)
        await handled.entered.passed()
        source.answer(job, HeartbeatAnswer(cancel_reason="moved", cancel_grace=SHORT))
        [outcome] = await source.finished(job)
        assert (outcome.error_type, runtime.figures().abandoned) == ("CANCELLED", 1)
        handled.leave.open()
        await until_figures(runtime, abandoned=0)


async def test_the_runtimes_own_grace_holds_where_the_source_names_none(handled: Handled) -> None:
    async with running(handled.handlers, cancel_grace=SHORT) as (source, runtime):
        job = a_job("deaf")
        source.add(job)
        await handled.entered.passed()
        source.answer(job, HeartbeatAnswer(cancel_reason=""))
        [outcome] = await source.finished(job)
        assert outcome.error_message == "cancelled"
        handled.leave.open()
        await until_figures(runtime, abandoned=0)


@pytest.mark.parametrize("type", ["obeys", "polls", "completes"])
async def test_an_attempt_whose_lease_is_lost_is_stopped_and_its_outcome_dropped(
    handled: Handled, type: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(handled.handlers) as (source, runtime):
        job, other = a_job(type), a_job("obeys", timeout=SHORT)
        source.add(job)
        await handled.entered.passed()
        source.answer(job, HeartbeatAnswer(lost=True))
        await source.until(lambda: source.beats)
        source.add(other)
        await source.finished(other)
        assert runtime.figures().busy == 0
    assert [outcome.job for outcome in source.outcomes] == [other]
    assert f"job {job.job_id} of type '{type}' lost its lease" in caplog.text


async def test_a_lease_lost_during_a_cancel_drops_the_outcome(handled: Handled) -> None:
    async with running(handled.handlers) as (source, runtime):
        job = a_job("deaf")
        source.add(job)
        await handled.entered.passed()
        source.answer(job, HeartbeatAnswer(cancel_reason="moved", cancel_grace=LONG))
        await source.until(lambda: handled.contexts[0].cancelled)
        source.answer(job, HeartbeatAnswer(lost=True))
        await source.until(lambda: len(source.beats) >= 2)
        handled.leave.open()
        await until_figures(runtime, busy=0)
    assert source.outcomes == []


async def test_a_cancel_of_a_job_that_waits_for_its_abandoned_attempt_ends_it_at_once(handled: Handled) -> None:
    async with running(handled.handlers, stop_grace=SHORT) as (source, runtime):
        first = a_job("deaf", timeout=SHORT)
        source.add(first)
        await source.finished(first)
        second = a_job("deaf", job_id=first.job_id, attempt=2)
        source.add(second)
        await until_figures(runtime, parked=1)
        source.answer(second, HeartbeatAnswer(cancel_reason="moved"))
        [outcome] = await source.finished(second)
        assert (outcome.error_type, runtime.figures().parked) == ("CANCELLED", 0)
        handled.leave.open()


async def test_nothing_logged_shows_a_payload(handled: Handled, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source = MemorySource()
    async with running(handled.handlers, source, stop_grace=SHORT) as (_, runtime):
        job = a_job("deaf", timeout=SHORT, payload_kind=11, payload_body=b"\x12\x06secret")
        source.add(job)
        await source.finished(job)
        handled.leave.open()
        await until_figures(runtime, abandoned=0)
    assert caplog.records
    assert "secret" not in caplog.text
