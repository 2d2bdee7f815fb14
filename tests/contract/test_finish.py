"""JobStore.finish. Ends of attempts whose cancel was asked stand in test_cancel.py."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.commands import RunJob
from tocsin_server.domain.job import JobError, View
from tocsin_server.domain.job_errors import LeaseLost
from tocsin_server.domain.lease import AttemptOutcome, Claimed, Ending, Finished, Lease
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MILLISECOND,
    MINUTE,
    NOW,
    SECOND,
    End,
    a_draft,
    added,
    claimed,
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    read,
    refused,
    released,
)
from contract.conftest import Contents

ENDS: dict[str, tuple[End, State]] = {
    "completed": (completed, State.COMPLETED),
    "failed for good": (failed, State.FAILED),
    "failed": (lambda one: failed(one, HOUR), State.SCHEDULED),
    "failed, at once again": (lambda one: failed(one, NOW), State.WAITING),
    "released": (released, State.WAITING),
    "crashed": (crashed, State.WAITING),
}
every_end = pytest.mark.parametrize(("end", "state"), ENDS.values(), ids=ENDS.keys())


async def a_running_one(store: JobStore) -> Claimed:
    await added(store, a_draft("a"))
    return await claimed_one(store)


async def test_a_completed_job_keeps_its_result(store: JobStore) -> None:
    one = await a_running_one(store)
    result = b"\0\xff" + random.Random(3).randbytes(limits.RESULT_BYTES - 2)
    before = await store.ping()
    assert await finished(store, completed(one, result)) == [State.COMPLETED]
    job = await read(store, "a")
    assert (job.state, job.result, job.errors, job.attempt) == (State.COMPLETED, result, (), 1)
    assert job.end_time is not None
    assert before <= job.end_time <= await store.ping()
    assert job.revision > one.job.revision


@pytest.mark.parametrize("result", [None, b"", b"\0"])
async def test_an_empty_result_is_told_from_none(store: JobStore, result: bytes | None) -> None:
    await finished(store, completed(await a_running_one(store), result))
    assert (await read(store, "a")).result == result


async def test_a_failure_without_another_attempt_is_the_end(store: JobStore) -> None:
    one = await a_running_one(store)
    before = await store.ping()
    assert await finished(store, failed(one, type="KeyError", message="'x'", trace="deep")) == [State.FAILED]
    job = await read(store, "a")
    assert (job.state, job.failures, job.crashes, job.end_time is None) == (State.FAILED, 1, 0, False)
    [error] = job.errors
    assert error.time is not None
    assert before <= error.time <= await store.ping()
    assert error == JobError("KeyError", "'x'", "deep", error.time, 1)
    assert await claimed(store) == []


async def test_a_failure_waits_for_its_next_attempt(store: JobStore) -> None:
    one = await a_running_one(store)
    before = await store.ping()
    assert await finished(store, failed(one, 2 * SECOND)) == [State.SCHEDULED]
    job = await read(store, "a")
    assert (job.state, job.failures, job.end_time, job.attempt) == (State.SCHEDULED, 1, None, 1)
    assert before + 2 * SECOND <= job.schedule_time <= await store.ping() + 2 * SECOND
    assert job.arrival == one.job.arrival
    assert await claimed(store) == []


async def test_the_wait_rounds_up(store: JobStore) -> None:
    one = await a_running_one(store)
    await finished(store, failed(one, HOUR + timedelta(microseconds=1)))
    job = await read(store, "a")
    [error] = job.errors
    assert error.time is not None
    assert job.schedule_time - error.time == HOUR + MILLISECOND


async def test_no_wait_makes_it_due_at_once(store: JobStore) -> None:
    one = await a_running_one(store)
    assert await finished(store, failed(one, NOW)) == [State.WAITING]
    again = await claimed_one(store)
    assert (again.job.attempt, again.job.failures) == (2, 1)


async def test_the_first_error_and_the_last_nine_are_kept(store: JobStore) -> None:
    await added(store, a_draft("a"))
    for number in range(1, 15):
        await finished(store, failed(await claimed_one(store), NOW, message=f"no. {number}", trace="x" * 100))
        job = await read(store, "a")
        numbers = list(range(1, number + 1))
        kept = numbers if number <= 10 else [1, *numbers[-9:]]
        assert [error.attempt for error in job.errors] == kept
        assert [error.message for error in job.errors] == [f"no. {attempt}" for attempt in kept]
        assert job.failures == number


async def test_an_error_is_kept_character_for_character(store: JobStore) -> None:
    one = await a_running_one(store)
    message, trace = "\u05d0\0\U0001f514\n" * 80, "\u00e9" * (limits.ERROR_TRACE_BYTES // 2)
    await finished(store, failed(one, type="pkg.Err", message=message, trace=trace))
    [error] = (await read(store, "a")).errors
    assert (error.type, error.message, error.trace) == ("pkg.Err", message, trace)


async def test_a_failure_without_words_is_a_failure(store: JobStore) -> None:
    one = await a_running_one(store)
    assert await finished(store, failed(one, type="", message="", trace="")) == [State.FAILED]
    [error] = (await read(store, "a")).errors
    assert (error.type, error.message, error.trace, error.attempt) == ("", "", "", 1)


async def test_released_counts_nothing_and_keeps_order(store: JobStore) -> None:
    await added(store, a_draft("a"), a_draft("b"))
    one = await claimed_one(store)
    assert await finished(store, released(one)) == [State.WAITING]
    job = await read(store, "a")
    assert (job.attempt, job.failures, job.crashes, job.errors) == (1, 0, 0, ())
    assert (job.schedule_time, job.arrival) == (one.job.schedule_time, one.job.arrival)
    assert job.end_time is None
    assert [each.job.job_id for each in await claimed(store)] == ["a", "b"]


async def test_crashes_in_a_row_end_as_poison(store: JobStore) -> None:
    await added(store, a_draft("a", retry=RetryPolicy(max_attempts=1)))
    states = []
    for number in range(1, limits.MAX_CRASHES + 1):
        states += await finished(store, crashed(await claimed_one(store)))
        job = await read(store, "a")
        assert (job.crashes, job.failures, job.attempt) == (number, 0, number)
    assert states == [State.WAITING, State.WAITING, State.FAILED]
    assert job.errors[-1].type == "POISON"
    assert [error.type for error in job.errors[:3]] == ["CHILD_DIED"] * 3
    assert job.end_time is not None
    assert await claimed(store) == []


@pytest.mark.parametrize("end", [released, lambda one: failed(one, NOW)], ids=["released", "failed"])
async def test_a_release_or_a_failure_breaks_the_row(store: JobStore, end: End) -> None:
    await added(store, a_draft("a"))
    for _ in range(2):
        await finished(store, crashed(await claimed_one(store)))
    await finished(store, end(await claimed_one(store)))
    assert (await read(store, "a")).crashes == 0
    states = [(await finished(store, crashed(await claimed_one(store))))[0] for _ in range(3)]
    assert states == [State.WAITING, State.WAITING, State.FAILED]


async def test_success_breaks_the_row(store: JobStore) -> None:
    await added(store, a_draft("a"))
    await finished(store, crashed(await claimed_one(store)))
    one = await claimed_one(store)
    assert one.job.crashes == 1
    await finished(store, completed(one))
    job = await read(store, "a")
    assert (job.state, job.crashes, len(job.errors)) == (State.COMPLETED, 0, 1)


@every_end
async def test_a_repeated_outcome_says_so_and_changes_nothing(
    store: JobStore, contents: Contents, end: End, state: State
) -> None:
    one = await a_running_one(store)
    outcome = end(one)
    assert await store.finish([outcome]) == [Finished(state, repeated=False)]
    before = contents()
    assert await store.finish([outcome]) == [Finished(state, repeated=True)]
    assert contents() == before


async def test_a_repeat_answers_with_the_state_of_now_and_changes_nothing(store: JobStore) -> None:
    one = await a_running_one(store)
    assert await store.finish([failed(one, HOUR)]) == [Finished(State.SCHEDULED, repeated=False)]
    await store.update("q", [RunJob("a")])
    assert await store.finish([failed(one, HOUR)]) == [Finished(State.WAITING, repeated=True)]


async def test_one_outcome_twice_in_a_batch_is_recorded_once(store: JobStore) -> None:
    one = await a_running_one(store)
    assert await store.finish([failed(one, NOW), failed(one, NOW)]) == [
        Finished(State.WAITING, repeated=False),
        Finished(State.WAITING, repeated=True),
    ]
    assert (await read(store, "a")).failures == 1


@every_end
async def test_a_late_outcome_of_a_lost_lease_is_refused(
    store: JobStore, backdate: Backdate, contents: Contents, end: End, state: State
) -> None:
    first = await a_running_one(store)
    backdate.lease(first.job, by=2 * MINUTE)
    assert len(await store.reap("q")) == 1
    before = contents()
    [early] = await store.finish([end(first)])
    assert refused(early, LeaseLost).attempt == 1
    assert contents() == before

    second = await claimed_one(store)
    late, good = await store.finish([end(first), completed(second)])
    refused(late, LeaseLost)
    assert good == Finished(State.COMPLETED, repeated=False)
    assert (await read(store, "a")).attempt == 2


@every_end
async def test_an_outcome_of_an_attempt_before_is_refused(
    store: JobStore, contents: Contents, end: End, state: State
) -> None:
    first = await a_running_one(store)
    await finished(store, released(first))
    await claimed_one(store)
    before = contents()
    [answer] = await store.finish([end(first)])
    refused(answer, LeaseLost)
    assert contents() == before


@pytest.mark.parametrize("token", [b"", b"x", bytes(8), bytes(14), b"\xff" * 14, b"\0" * 100])
@pytest.mark.parametrize("ending", Ending)
async def test_a_token_of_nobody_is_refused(store: JobStore, contents: Contents, token: bytes, ending: Ending) -> None:
    one = await a_running_one(store)
    await added(store, a_draft("waits"))
    before = contents()
    error = JobError("E", "m")
    leases = [Lease("q", "a", 1, token), Lease("never", "a", 1, one.lease.token), Lease("q", "waits", 0, token)]
    for answer in await store.finish([AttemptOutcome(lease, ending, error=error) for lease in leases]):
        refused(answer, LeaseLost)
    assert contents() == before


async def test_many_outcomes_over_several_queues_are_answered_in_order(store: JobStore) -> None:
    await added(store, *(a_draft(f"{i}", queue=f"q{i % 3}") for i in range(90)))
    found = [one for queue in ("q0", "q1", "q2") for one in await claimed(store, queue=queue)]
    found.sort(key=lambda one: int(one.job.job_id))
    ends = [ENDS[list(ENDS)[i % 5]] for i in range(90)]
    answers = await store.finish([end(one) for (end, _), one in zip(ends, found, strict=True)])
    assert answers == [Finished(state, repeated=False) for _, state in ends]


async def test_results_of_many_mebibytes_are_recorded(store: JobStore) -> None:
    jobs = await added(store, *(a_draft() for _ in range(24)))
    ones = await claimed(store)
    results = [bytes([number]) * limits.RESULT_BYTES for number in range(24)]
    await finished(store, *(completed(one, result) for one, result in zip(ones, results, strict=True)))
    found = await store.get("q", [job.job_id for job in jobs], View.FULL)
    assert [job.result if job else None for job in found] == results
