"""How attempts end: what handlers return and raise, seen by the source."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tocsin.payloads import MAX_DEPTH, struct_from_dict
from tocsin.v1 import job_pb2, job_service_pb2
from tocsin.v1.payloads_pb2 import RawPayload
from tocsin.worker import runtime
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry, HandedOver, JobCancelled, Release, RetryLater
from tocsin.worker.registry import Handlers
from tocsin.worker.source import AttemptOutcome, Ending
from unit.client.worker.memory_source import a_job, endings, running


class TextlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


async def outcome_of(act: Callable[[JobContext], object], *, in_thread: bool) -> AttemptOutcome:
    handlers = Handlers()

    async def async_handler(job: JobContext) -> object:
        return act(job)

    handlers.on("t")(act if in_thread else async_handler)
    async with running(handlers) as (source, _):
        job = a_job()
        source.add(job)
        [outcome] = await source.finished(job)
        # A handler that raised whatever it likes leaves the runtime whole.
        after = [a_job(), a_job()]
        source.add(*after)
        await source.finished(*after)
    return outcome


def throw(error: BaseException) -> Callable[[JobContext], object]:
    def handler(job: JobContext) -> object:
        raise error

    return handler


both = pytest.mark.parametrize("in_thread", [False, True], ids=["async", "thread"])


@both
async def test_a_result_is_kept(in_thread: bool) -> None:
    outcome = await outcome_of(lambda job: {"attempt": job.attempt}, in_thread=in_thread)
    assert outcome.ending is Ending.COMPLETED
    assert outcome.result is not None
    assert job_pb2.Result.FromString(outcome.result).data.struct_value.fields["attempt"].number_value == 1


@both
async def test_a_result_that_cannot_be_kept_fails_the_job_for_good(in_thread: bool) -> None:
    outcome = await outcome_of(lambda job: object(), in_thread=in_thread)
    assert (outcome.ending, outcome.error_type, outcome.retryable) == (Ending.FAILED, "UnfitResult", False)
    assert "object" in outcome.error_message


async def test_a_plain_def_that_returns_a_coroutine_fails_with_what_to_do() -> None:
    async def work() -> None: ...

    outcome = await outcome_of(lambda job: work(), in_thread=True)
    assert (outcome.ending, outcome.retryable) == (Ending.FAILED, False)
    assert "declare the handler `async def`" in outcome.error_message


@both
async def test_an_exception_is_a_failure_with_class_message_and_trace(in_thread: bool) -> None:
    outcome = await outcome_of(throw(ValueError("wrong colour")), in_thread=in_thread)
    assert (outcome.ending, outcome.retryable, outcome.retry_in) == (Ending.FAILED, True, None)
    assert (outcome.error_type, outcome.error_message) == ("ValueError", "wrong colour")
    assert "raise error" in outcome.error_trace
    assert outcome.error_trace.endswith("ValueError: wrong colour\n")


@both
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")])
async def test_no_exception_ends_the_process(error: BaseException, in_thread: bool) -> None:
    outcome = await outcome_of(throw(error), in_thread=in_thread)
    assert (outcome.ending, outcome.error_type) == (Ending.FAILED, type(error).__name__)


@both
async def test_cancelled_errors_of_the_handlers_own_are_failures(in_thread: bool) -> None:
    for error in (asyncio.CancelledError(), JobCancelled("mine")):
        outcome = await outcome_of(throw(error), in_thread=in_thread)
        assert (outcome.ending, outcome.retryable) == (Ending.FAILED, True)


@both
async def test_long_texts_are_cut_and_the_end_of_the_trace_stays(in_thread: bool) -> None:
    outcome = await outcome_of(throw(ValueError("ü" * 20_000)), in_thread=in_thread)
    assert outcome.error_message == "ü" * 512
    assert len(outcome.error_trace.encode()) <= 8192
    assert outcome.error_trace.endswith("ü\n")


@both
async def test_an_error_without_a_text_is_still_a_failure(in_thread: bool) -> None:
    outcome = await outcome_of(throw(TextlessError()), in_thread=in_thread)
    assert (outcome.ending, outcome.error_type) == (Ending.FAILED, "TextlessError")


@both
async def test_retry_later_carries_the_handlers_own_wait(in_thread: bool) -> None:
    outcome = await outcome_of(throw(RetryLater(90, "rate limit")), in_thread=in_thread)
    assert (outcome.ending, outcome.retryable, outcome.retry_in) == (Ending.FAILED, True, timedelta(seconds=90))
    assert (outcome.error_type, outcome.error_message) == ("RetryLater", "rate limit")


@pytest.mark.parametrize("delay", [-1, float("nan"), timedelta(seconds=-1)])
def test_retry_later_refuses_a_delay_that_is_none(delay: float | timedelta) -> None:
    with pytest.raises(ValueError, match="delay"):
        RetryLater(delay)


@both
async def test_do_not_retry_ends_the_job_at_once(in_thread: bool) -> None:
    class NoSuchUser(DoNotRetry): ...

    outcome = await outcome_of(throw(NoSuchUser("gone")), in_thread=in_thread)
    assert (outcome.ending, outcome.retryable, outcome.error_type) == (Ending.FAILED, False, "NoSuchUser")


@both
async def test_a_job_that_is_given_back_has_a_reason_and_holds_up_no_other(
    in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "FIRST_BREATH", 60.0)  # it is taken where a runner cannot begin a job
    outcome = await outcome_of(throw(Release("no room here")), in_thread=in_thread)
    assert (outcome.ending, outcome.reason, outcome.error_type) == (Ending.RELEASED, "no room here", "")


@both
async def test_an_unreadable_payload_fails_only_where_it_is_asked_for(in_thread: bool) -> None:
    handlers = Handlers()
    handlers.on("blind")(lambda job: None)
    handlers.on("reads")(lambda job: job.data)
    async with running(handlers) as (source, _):
        jobs = [a_job(type, payload_kind=10, payload_body=b"\xff\xff") for type in ("blind", "reads")]
        source.add(*jobs)
        outcomes = await source.finished(*jobs)
    assert endings(outcomes) == [Ending.COMPLETED, Ending.FAILED]
    assert (outcomes[1].error_type, outcomes[1].retryable) == ("UnfitPayload", False)


async def test_system_exit_in_a_task_left_behind_leaves_the_loop_running() -> None:
    handlers = Handlers()
    left_behind: list[asyncio.Task[None]] = []

    async def leave() -> None:
        raise SystemExit(1)

    @handlers.on("leaves")
    async def leaves(job: JobContext) -> None:
        left_behind.append(asyncio.create_task(leave()))
        await asyncio.wait(left_behind)
        assert isinstance(left_behind[0].exception(), SystemExit)

    @handlers.on("t")
    async def t(job: JobContext) -> None: ...

    async with running(handlers) as (source, _):
        first, second = a_job("leaves"), a_job("t")
        source.add(first)
        await source.finished(first)
        source.add(second)
        assert endings(await source.finished(second)) == [Ending.COMPLETED]


class Hostile(Exception):
    """Raises what it was given whenever it is looked at."""

    def __init__(self, raises: type[BaseException]) -> None:
        self.raises = raises

    def __str__(self) -> str:
        raise self.raises


class HostileDict(dict[str, int]):
    def __init__(self, raises: type[BaseException]) -> None:
        super().__init__(a=1)
        self.raises = raises

    def items(self) -> Any:
        raise self.raises


@both
@pytest.mark.parametrize("raises", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
async def test_an_attempt_is_heard_of_whatever_its_error_or_result_raises(
    in_thread: bool, raises: type[BaseException]
) -> None:
    outcome = await outcome_of(throw(Hostile(raises)), in_thread=in_thread)
    assert (outcome.ending, outcome.error_type) == (Ending.FAILED, "Hostile")
    outcome = await outcome_of(lambda job: HostileDict(raises), in_thread=in_thread)
    assert outcome.ending is Ending.FAILED


@both
async def test_a_result_may_be_as_deep_as_a_payload(in_thread: bool) -> None:
    deep: dict[str, object] = {}
    for _ in range(MAX_DEPTH - 1):
        deep = {"a": deep}
    struct_from_dict(deep)
    outcome = await outcome_of(lambda job: deep, in_thread=in_thread)
    assert outcome.ending is Ending.COMPLETED
    assert outcome.result is not None
    shown = job_service_pb2.GetJobResponse(job=job_pb2.Job(result=job_pb2.Result.FromString(outcome.result)))
    assert job_service_pb2.GetJobResponse.FromString(shown.SerializeToString()) == shown
    assert (await outcome_of(lambda job: {"a": deep}, in_thread=in_thread)).ending is Ending.FAILED


TENANT = contextvars.ContextVar("TENANT", default="nobody")


@both
async def test_what_a_handler_binds_to_its_context_is_not_for_the_next(in_thread: bool) -> None:
    def bind(job: JobContext) -> str:
        seen = TENANT.get()
        TENANT.set(job.job_id)
        return seen

    async def async_bind(job: JobContext) -> str:
        return bind(job)

    handlers = Handlers()
    handlers.on("t", concurrency=1)(bind if in_thread else async_bind)
    async with running(handlers) as (source, _):
        jobs = [a_job() for _ in range(3)]
        source.add(*jobs)
        outcomes = await source.finished(*jobs)
    seen = [job_pb2.Result.FromString(outcome.result or b"").data.string_value for outcome in outcomes]
    assert seen == ["nobody"] * 3


async def test_a_thread_outlives_an_exception_that_was_put_into_it_after_its_handler_had_ended() -> None:
    handlers = Handlers()
    handlers.on("t")(lambda job: threading.get_ident())
    async with running(handlers) as (source, _):
        for _ in range(3):
            job = a_job()
            source.add(job)
            [outcome] = await source.finished(job)
            assert outcome.ending is Ending.COMPLETED, outcome
            thread = int(job_pb2.Result.FromString(outcome.result or b"").data.number_value)
            # What stopit, func_timeout and the like do, too late.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimeoutError))


async def test_what_goes_on_elsewhere_says_for_how_long() -> None:
    outcome = await outcome_of(throw(HandedOver(timedelta(minutes=15))), in_thread=False)
    assert (outcome.ending, outcome.lease, outcome.error_type) == (Ending.HANDED_OVER, timedelta(minutes=15), "")


async def test_bytes_with_their_content_type_are_a_result_too() -> None:
    raw = RawPayload(content_type="image/png", body=b"\x89")
    outcome = await outcome_of(lambda job: raw, in_thread=False)
    assert outcome.result is not None
    assert job_pb2.Result.FromString(outcome.result).raw == raw
