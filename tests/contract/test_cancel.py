"""JobStore.cancel, and how an attempt whose cancel was asked ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.commands import RetryJob
from tocsin_server.domain.job import Cancel, View
from tocsin_server.domain.job_errors import JobNotFound, LeaseLost, WrongState
from tocsin_server.domain.lease import Claimed, Extension
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    End,
    a_draft,
    a_query,
    added,
    cancelled,
    claimed,
    claimed_one,
    completed,
    crashed,
    extended,
    failed,
    finished,
    good,
    read,
    refused,
    released,
    standing,
    wish,
)
from contract.conftest import Contents

NOT_COMPLETED: dict[str, End] = {
    "failed": failed,
    "failed, to be tried again": lambda one: failed(one, MINUTE),
    "failed, to be tried at once": lambda one: failed(one, NOW),
    "released": released,
    "crashed": crashed,
}


async def a_running_one(store: JobStore) -> Claimed:
    await added(store, a_draft("a"))
    return await claimed_one(store, lease=MINUTE)


@pytest.mark.parametrize("state", [State.SCHEDULED, State.WAITING])
async def test_a_job_that_does_not_run_is_cancelled_at_once(store: JobStore, state: State) -> None:
    job, _ = await standing(store, state)
    before = await store.ping()
    job = await cancelled(store, job, reason="moved", by="ada", grace=MINUTE)
    after = await store.ping()

    assert job.state is State.CANCELLED
    assert job.end_time is not None
    assert before <= job.end_time <= after
    assert job.cancel == Cancel("moved", "ada", MINUTE, job.end_time, None, job.end_time)
    assert await read(store, job) == job
    assert await claimed(store) == []


async def test_a_running_job_is_asked(store: JobStore) -> None:
    one = await a_running_one(store)
    job = await cancelled(store, one.job, reason="\u05d0 why", by="", grace=timedelta(microseconds=1500))
    assert job.state is State.ACTIVE
    assert job.end_time is None
    assert job.cancel is not None
    assert (job.cancel.reason, job.cancel.by, job.cancel.grace) == ("\u05d0 why", "", timedelta(milliseconds=2))
    assert (job.cancel.deliver_time, job.cancel.obey_time) == (None, None)
    assert await read(store, job) == (await read(store, "a"))


async def test_asked_again_it_stays_as_first_asked(store: JobStore, contents: Contents) -> None:
    one = await a_running_one(store)
    first = await cancelled(store, one.job, reason="first", grace=MINUTE)
    before = contents()
    assert await cancelled(store, one.job, reason="second", grace=NOW, by="eve") == first
    assert contents() == before


async def test_a_cancelled_job_stays_as_it_stands(store: JobStore, contents: Contents) -> None:
    job, _ = await standing(store, State.CANCELLED)
    before = contents()
    again = await cancelled(store, job, reason="other", by="eve")
    assert again == job
    assert contents() == before


async def test_a_job_that_completes_first_is_completed(store: JobStore) -> None:
    one = await a_running_one(store)
    asked = await cancelled(store, one.job)
    assert await finished(store, completed(one, b"done")) == [State.COMPLETED]
    job = await read(store, "a")
    assert (job.state, job.result) == (State.COMPLETED, b"done")
    assert asked.cancel is not None
    assert job.cancel == asked.cancel
    assert job.cancel.obey_time is None


@pytest.mark.parametrize("end", NOT_COMPLETED.values(), ids=NOT_COMPLETED.keys())
async def test_however_else_it_ends_it_is_cancelled(store: JobStore, end: End) -> None:
    one = await a_running_one(store)
    await cancelled(store, one.job)
    assert await finished(store, end(one)) == [State.CANCELLED]
    job = await read(store, "a")
    assert job.state is State.CANCELLED
    assert job.cancel is not None
    assert job.cancel.obey_time == job.end_time is not None
    assert await claimed(store) == []


async def test_the_error_of_a_cancelled_attempt_is_kept(store: JobStore) -> None:
    one = await a_running_one(store)
    await cancelled(store, one.job)
    await finished(store, failed(one, message="interrupted"))
    job = await read(store, "a")
    assert [(error.message, error.attempt) for error in job.errors] == [("interrupted", 1)]


async def test_a_lost_lease_is_cancelled_too(store: JobStore, backdate: Backdate) -> None:
    one = await a_running_one(store)
    await cancelled(store, one.job, grace=HOUR)
    backdate.lease(one.job, by=2 * MINUTE)
    assert len(await store.reap("q")) == 1
    job = await read(store, "a")
    assert (job.state, job.crashes) == (State.CANCELLED, 1)
    assert [error.type for error in job.errors] == ["LEASE_EXPIRED"]
    assert await claimed(store) == []


async def test_grace_ends_the_lease_early(store: JobStore) -> None:
    one = await a_running_one(store)
    before = (await store.ticks(["q"]))["q"].next_lease_end
    job = await cancelled(store, one.job, grace=10 * SECOND)
    after = (await store.ticks(["q"]))["q"].next_lease_end
    assert before is not None
    assert after is not None
    assert job.cancel is not None
    assert after == job.cancel.ask_time + 10 * SECOND < before


async def test_grace_does_not_lengthen_the_lease(store: JobStore) -> None:
    one = await a_running_one(store)
    before = (await store.ticks(["q"]))["q"].next_lease_end
    await cancelled(store, one.job, grace=limits.MAX_GRACE)
    assert (await store.ticks(["q"]))["q"].next_lease_end == before


async def test_no_grace_ends_the_lease_now(store: JobStore) -> None:
    one = await a_running_one(store)
    await cancelled(store, one.job, grace=NOW)
    assert len(await store.reap("q")) == 1
    assert (await read(store, "a")).state is State.CANCELLED
    [late] = await store.finish([completed(one)])
    refused(late, LeaseLost)


async def test_extending_tells_the_attempt_and_does_not_pass_the_grace(store: JobStore) -> None:
    one = await a_running_one(store)
    asked = await cancelled(store, one.job, reason="moved", grace=10 * SECOND)
    told = await extended(store, await store.extend([Extension(one.lease)], HOUR))

    assert told.cancel_reason == "moved"
    assert told.cancel_grace is not None
    assert NOW < told.cancel_grace <= 10 * SECOND
    assert asked.cancel is not None
    assert (await store.ticks(["q"]))["q"].next_lease_end == asked.cancel.ask_time + 10 * SECOND
    job = await read(store, "a")
    assert job.cancel is not None
    assert job.cancel.deliver_time is not None
    assert asked.cancel.ask_time <= job.cancel.deliver_time <= await store.ping()


async def test_it_is_delivered_once_and_told_each_time(store: JobStore) -> None:
    one = await a_running_one(store)
    await cancelled(store, one.job)
    await store.extend([Extension(one.lease)], MINUTE)
    first = await read(store, "a")
    assert first.cancel is not None
    while await store.ping() == first.cancel.deliver_time:
        pass
    told = await extended(store, await store.extend([Extension(one.lease)], MINUTE))
    assert told.cancel_reason is not None
    assert (await read(store, "a")).cancel == first.cancel


async def test_an_empty_reason_is_still_a_wish(store: JobStore) -> None:
    one = await a_running_one(store)
    await cancelled(store, one.job, reason="", by="")
    told = await extended(store, await store.extend([Extension(one.lease)], MINUTE))
    assert told.cancel_reason == ""


async def test_each_of_a_batch_is_answered_in_order(store: JobStore) -> None:
    await added(store, a_draft("run"))
    await claimed_one(store)
    await added(store, a_draft("a"), a_draft("b", when=HOUR))
    answers = await store.cancel("q", [wish("b"), wish("x"), wish("run"), wish("a"), wish("b")])
    assert [getattr(answer, "state", None) for answer in answers] == [
        State.CANCELLED,
        None,
        State.ACTIVE,
        State.CANCELLED,
        State.CANCELLED,
    ]
    assert refused(answers[1], JobNotFound).job_id == "x"
    assert answers[0] == answers[4]


async def test_many_are_cancelled_in_one_call(store: JobStore) -> None:
    jobs = await added(store, *(a_draft(when=HOUR if i % 2 else NOW) for i in range(500)))
    answers = await store.cancel("q", [wish(job) for job in jobs])
    assert [good(answer).job_id for answer in answers] == [job.job_id for job in jobs]
    assert (await store.figures("q")).counts == {State.CANCELLED: {"t": 500}}


async def test_jobs_that_stand_alike_are_answered_each_as_itself(store: JobStore) -> None:
    await added(store, a_draft("tried"))
    await finished(store, failed(await claimed_one(store), HOUR))
    drafts = [a_draft("a"), a_draft(), a_draft("b"), a_draft(), a_draft("tagged", tags={"x": "y"}), a_draft("c")]
    a, made, b, made_too, tagged, c = await added(store, *drafts)
    asked = [a, made, "tried", b, made_too, a, b, made_too, tagged]
    answers = await store.cancel("q", [*(wish(one) for one in asked), wish(c, reason="another")])
    ids = [one if isinstance(one, str) else one.job_id for one in [*asked, c]]
    assert [good(answer).job_id for answer in answers] == ids
    assert [good(answer) for answer in answers] == [await read(store, job_id, View.BASIC) for job_id in ids]
    assert {good(answer).state for answer in answers} == {State.CANCELLED}
    assert (await read(store, c)).cancel != (await read(store, b)).cancel
    page = await store.page(a_query(tags={"x": "y"}))
    assert [job.job_id for job in page.jobs] == ["tagged"]
    assert (await store.figures("q")).counts == {State.CANCELLED: {"t": 7}}


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
async def test_what_has_ended_otherwise_is_refused(store: JobStore, state: State) -> None:
    job, _ = await standing(store, state)
    [answer] = await store.cancel("q", [wish(job)])
    refusal = refused(answer, WrongState)
    assert (refusal.job_id, refusal.state) == (job.job_id, state)
    assert (await read(store, job)).cancel is None


async def test_a_retried_job_remembers_no_wish(store: JobStore) -> None:
    one = await a_running_one(store)
    await cancelled(store, one.job)
    await finished(store, released(one))
    await store.update("q", [RetryJob("a")])
    second = await claimed_one(store)
    assert second.job.cancel is None
    assert (await extended(store, await store.extend([Extension(second.lease)], MINUTE))).cancel_reason is None
    assert await finished(store, failed(second, NOW)) == [State.WAITING]


async def test_cancelling_in_an_unused_queue_makes_nothing(store: JobStore, contents: Contents) -> None:
    before = contents()
    [answer] = await store.cancel("never", [wish("a")])
    refused(answer, JobNotFound)
    assert contents() == before
    assert await store.queues() == []
