"""An outcome is recorded once, however often that takes, and a failure gets the wait it is due."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from contract.builders import SECOND, a_draft, added, claimed, claimed_one, read, released
from support.spied_store import SpiedStore
from tocsin_server.domain import limits
from tocsin_server.domain.errors import OutcomeUnknown, StoreFull
from tocsin_server.domain.job import JobError
from tocsin_server.domain.lease import Claimed, Ending, LimitPause
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.operations.finishing import EndedAttempt, Finishing, outcome_of, shorten

EXACT = RetryPolicy(max_attempts=3, backoff=Backoff.EXPONENTIAL, initial_delay=10 * SECOND, jitter=0)


def ended(one: Claimed, ending: Ending, **words: Any) -> EndedAttempt:
    return EndedAttempt(one.lease, ending, one.job.spec.terms.retry, one.job.failures, **words)


def failed(one: Claimed, **words: Any) -> EndedAttempt:
    return ended(one, Ending.FAILED, **{"error": JobError("ValueError", "no", "line 1"), **words})


async def running(spied: SpiedStore, retry: RetryPolicy = EXACT) -> Claimed:
    [job] = await added(spied.as_store, a_draft(retry=retry))
    one = await claimed_one(spied.as_store)
    assert one.job.job_id == job.job_id
    return one


# --- what follows a failure ---


async def waits(spied: SpiedStore, ends: Sequence[dict[str, Any]]) -> list[timedelta | None]:
    """The waits decided after each of a job's failures; None: no further attempt."""
    one = await running(spied)
    return [
        outcome_of(EndedAttempt(one.lease, Ending.FAILED, EXACT, failures, **words)).retry_in
        for failures, words in enumerate(ends)
    ]


async def test_the_policy_decides_the_wait_and_the_end(spied: SpiedStore) -> None:
    assert await waits(spied, [{}, {}, {}]) == [10 * SECOND, 20 * SECOND, None]


async def test_the_handlers_own_wish_goes_before_the_policys_wait(spied: SpiedStore) -> None:
    assert await waits(spied, [{"retry_in": SECOND}, {"retry_in": 0 * SECOND}]) == [SECOND, 0 * SECOND]


async def test_the_handlers_wish_makes_no_further_attempt(spied: SpiedStore) -> None:
    assert await waits(spied, [{}, {}, {"retry_in": SECOND}]) == [10 * SECOND, 20 * SECOND, None]


async def test_what_is_not_to_be_tried_again_is_not(spied: SpiedStore) -> None:
    assert await waits(spied, [{"retryable": False, "retry_in": SECOND}]) == [None]


async def test_a_wait_is_neither_negative_nor_longer_than_a_job_may_wait(spied: SpiedStore) -> None:
    assert await waits(spied, [{"retry_in": -SECOND}, {"retry_in": timedelta(days=3650)}]) == [
        timedelta(0),
        limits.MAX_BACKOFF,
    ]


@pytest.mark.parametrize(
    ("span", "kept"), [(-SECOND, timedelta(0)), (SECOND, SECOND), (timedelta(days=3650), limits.MAX_RATE_SPAN)]
)
async def test_a_pause_of_a_limit_is_neither_negative_nor_longer_than_it_may_last(
    spied: SpiedStore, span: timedelta, kept: timedelta
) -> None:
    one = await running(spied)
    assert outcome_of(failed(one, pause=LimitPause("api", span))).pause == LimitPause("api", kept)


async def test_a_failure_is_recorded_and_the_job_runs_again_after_its_wait(spied: SpiedStore) -> None:
    one = await running(spied)
    assert await Finishing(spied.as_store).finish([failed(one)]) == [True]
    job = await read(spied.as_store, one)
    assert (job.state, job.failures, job.errors[0].type) == (State.SCHEDULED, 1, "ValueError")
    assert one.job.start_time is not None
    assert job.schedule_time - one.job.start_time >= 10 * SECOND


async def test_the_last_failure_ends_the_job(spied: SpiedStore) -> None:
    one = await running(spied, RetryPolicy(max_attempts=1))
    await Finishing(spied.as_store).finish([failed(one, retry_in=SECOND)])
    assert (await read(spied.as_store, one)).state is State.FAILED


# --- sizes ---


async def test_a_result_that_is_too_large_fails_the_job_for_good(spied: SpiedStore) -> None:
    one = await running(spied)
    await Finishing(spied.as_store).finish([ended(one, Ending.COMPLETED, result=bytes(limits.RESULT_BYTES + 1))])
    job = await read(spied.as_store, one)
    assert (job.state, job.errors[0].type) == (State.FAILED, "RESULT_TOO_LARGE")


async def test_a_result_of_the_largest_size_is_kept(spied: SpiedStore) -> None:
    one = await running(spied)
    result = bytes(limits.RESULT_BYTES)
    await Finishing(spied.as_store).finish([ended(one, Ending.COMPLETED, result=result)])
    assert (await read(spied.as_store, one)).result == result


async def test_long_texts_of_an_error_are_cut(spied: SpiedStore) -> None:
    one = await running(spied)
    error = JobError("E" * 5000, "ü" * 5000, "first\n" + "x" * 20_000 + "\nlast")
    await Finishing(spied.as_store).finish([failed(one, error=error)])
    [kept] = (await read(spied.as_store, one)).errors
    assert kept.message.startswith("üü")
    assert kept.message.endswith("...")
    assert kept.trace.startswith("...")
    assert kept.trace.endswith("last")
    assert len(kept.message.encode()) <= limits.ERROR_MESSAGE_BYTES
    assert len(kept.trace.encode()) <= limits.ERROR_TRACE_BYTES


@pytest.mark.parametrize("keep_end", [False, True])
@pytest.mark.parametrize("text", ["a", "ü", "𝄞", "\udcff", "a𝄞"], ids=ascii)
def test_a_shortened_text_is_text_and_fits(text: str, keep_end: bool) -> None:
    for most in range(3, 50):
        assert len(shorten(text * 40, most, keep_end=keep_end).encode()) <= most


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert shorten("ü" * 5, 10) == "ü" * 5


# --- whoever ran it knows the lease alone ---


def unknown(one: Claimed, ending: Ending = Ending.FAILED) -> EndedAttempt:
    return EndedAttempt(one.lease, ending, error=JobError("ValueError", "no"), result=b"r")


async def test_the_policy_is_read_where_the_caller_knows_the_lease_alone(spied: SpiedStore) -> None:
    one = await running(spied)
    assert await Finishing(spied.as_store).finish([unknown(one)]) == [True]
    job = await read(spied.as_store, one)
    assert (job.state, job.failures) == (State.SCHEDULED, 1)
    assert one.job.start_time is not None
    assert 10 * SECOND <= job.schedule_time - one.job.start_time < 11 * SECOND


async def test_failures_before_count_for_a_policy_that_is_read(spied: SpiedStore) -> None:
    one = await running(spied, RetryPolicy(max_attempts=2, initial_delay=0 * SECOND, jitter=0))
    await Finishing(spied.as_store).finish([unknown(one)])
    again = await claimed_one(spied.as_store)
    await Finishing(spied.as_store).finish([unknown(again)])
    job = await read(spied.as_store, one)
    assert (job.state, job.failures) == (State.FAILED, 2)


async def test_policies_are_read_of_failures_alone_in_one_call_a_queue(spied: SpiedStore) -> None:
    store = spied.as_store
    await added(store, *(a_draft(queue=queue, retry=EXACT) for queue in "aaabb"))
    ran = [*await claimed(store, queue="a"), *await claimed(store, queue="b")]
    known, *others = ran
    ends = [failed(known), *(unknown(one) for one in others[:-1]), unknown(others[-1], Ending.COMPLETED)]
    assert await Finishing(store).finish(ends) == [True] * 5
    assert sorted((arguments[0], len(arguments[1])) for arguments, _ in spied.arguments["get"]) == [("a", 2), ("b", 1)]
    assert [(await read(store, one)).state for one in ran] == [*[State.SCHEDULED] * 4, State.COMPLETED]


async def test_a_policy_is_asked_for_until_the_store_tells(spied: SpiedStore) -> None:
    one = await running(spied)
    spied.away.add("get")
    recording = asyncio.create_task(Finishing(spied.as_store).finish([unknown(one)]))
    await spied.until_called("get", 3)
    spied.away.clear()
    assert await recording == [True]
    assert (await read(spied.as_store, one)).state is State.SCHEDULED


async def test_policies_that_do_not_come_hold_up_their_own_queue_alone(spied: SpiedStore) -> None:
    store = spied.as_store
    await added(store, *(a_draft(queue=queue, retry=EXACT) for queue in ("away", "there", "known")))
    away, there, known = [await claimed_one(store, queue=queue) for queue in ("away", "there", "known")]
    back = spied.silent["away"] = asyncio.Event()
    recording = asyncio.create_task(Finishing(store).finish([unknown(away), unknown(there), failed(known)]))
    await spied.until_called("finish", 2)
    assert (await read(store, there)).state is (await read(store, known)).state is State.SCHEDULED
    back.set()  # the policy's question fails
    await spied.until_called("get", 1)
    assert not recording.done()
    del spied.silent["away"]
    assert await recording == [True] * 3
    assert (await read(store, away)).state is State.SCHEDULED


async def test_a_job_that_is_gone_has_no_policy_and_no_lease(spied: SpiedStore) -> None:
    one = await running(spied)
    gone = Claimed(one.job, dataclasses.replace(one.lease, job_id="gone", token=b"gone"))
    assert await Finishing(spied.as_store).finish([unknown(gone), unknown(one)]) == [False, True]


# --- a store that answers badly ---


async def test_an_outcome_waits_for_the_store(spied: SpiedStore) -> None:
    one = await running(spied)
    spied.away.add("finish")
    recording = asyncio.create_task(Finishing(spied.as_store).finish([failed(one)]))
    await spied.until_called("finish", 3)
    spied.away.clear()
    assert await recording == [True]
    outcomes = {arguments[0][0] for arguments, _ in spied.arguments["finish"]}
    assert len(outcomes) == 1, "a repeat must not draw another wait"


async def test_a_lost_answer_records_nothing_twice(spied: SpiedStore) -> None:
    one = await running(spied)
    spied.lose["finish"] = 2
    assert await Finishing(spied.as_store).finish([failed(one)]) == [True]
    assert (await read(spied.as_store, one)).failures == 1


async def test_a_lost_lease_is_said_and_harms_no_neighbour(spied: SpiedStore) -> None:
    store = spied.as_store
    await added(store, a_draft(), a_draft())
    lost, good = await claimed(store, 2)
    await store.finish([released(lost)])
    await claimed_one(store)
    answers = await Finishing(store).finish([ended(lost, Ending.COMPLETED), ended(good, Ending.COMPLETED)])
    assert answers == [False, True]


async def test_an_outcome_that_cannot_be_written_keeps_no_other_from_being_recorded(spied: SpiedStore) -> None:
    store = spied.as_store
    await added(store, a_draft(), a_draft())
    bad, good = await claimed(store, 2)
    unfit: Any = "not bytes"
    recording = asyncio.create_task(
        Finishing(store).finish([ended(bad, Ending.COMPLETED, result=unfit), ended(good, Ending.COMPLETED)])
    )
    await spied.until_called("finish", 4)  # together, each by itself, and the bad one once more
    assert (await read(store, good)).state is State.COMPLETED
    assert not recording.done()
    recording.cancel()


@pytest.mark.parametrize(
    "error",
    [StoreFull("no room"), OutcomeUnknown("no answer"), ValueError("a bug")],
    ids=lambda error: type(error).__name__,
)
async def test_an_outcome_is_kept_whatever_stands_in_its_way(spied: SpiedStore, error: Exception) -> None:
    one = await running(spied)
    spied.break_with["finish"] = error
    recording = asyncio.create_task(Finishing(spied.as_store).finish([ended(one, Ending.COMPLETED)]))
    await spied.until_called("finish", 3)
    del spied.break_with["finish"]
    assert await recording == [True]
    assert (await read(spied.as_store, one)).state is State.COMPLETED


async def test_a_lease_given_back_leaves_the_job_waiting_with_nothing_counted(spied: SpiedStore) -> None:
    one = await running(spied)
    await Finishing(spied.as_store).give_back([one.lease])
    job = await read(spied.as_store, one)
    assert (job.state, job.failures, job.crashes) == (State.WAITING, 0, 0)
