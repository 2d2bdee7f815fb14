"""Jobs that are held, and let go."""

from __future__ import annotations

import pytest
from tocsin_server.domain.commands import HoldJob, ReleaseJob, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.filters import Order
from tocsin_server.domain.job import Job, OnConflict, Put, View
from tocsin_server.domain.job_errors import JobNotFound, WrongState
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    STATES,
    a_draft,
    a_job,
    a_query,
    added,
    cancelled,
    claimed,
    claimed_one,
    failed,
    finished,
    good,
    listed,
    placed,
    read,
    refused,
    standing,
)
from contract.damaging import Damage


async def held(store: JobStore, job: Job | str) -> Job:
    job_id = job if isinstance(job, str) else job.job_id
    [answer] = await store.update("q", [HoldJob(job_id)])
    assert good(answer).held
    assert await read(store, job_id, View.BASIC) == answer
    return good(answer)


async def released(store: JobStore, job: Job | str) -> Job:
    job_id = job if isinstance(job, str) else job.job_id
    [answer] = await store.update("q", [ReleaseJob(job_id)])
    assert not good(answer).held
    assert await read(store, job_id, View.BASIC) == answer
    return good(answer)


@pytest.mark.parametrize("state", STATES)
async def test_what_has_not_ended_and_does_not_run_can_be_held(store: JobStore, state: State) -> None:
    job, _ = await standing(store, state)
    [answer] = await store.update("q", [HoldJob(job.job_id)])
    if state in (State.SCHEDULED, State.WAITING):
        assert (good(answer).state, good(answer).held) == (state, True)
        assert good(answer).revision == job.revision + 1
    else:
        assert refused(answer, WrongState).state is state
        assert await read(store, job) == job


@pytest.mark.parametrize("state", STATES)
async def test_to_let_go_what_is_not_held_changes_nothing(store: JobStore, state: State) -> None:
    job, _ = await standing(store, state)
    [answer] = await store.update("q", [ReleaseJob(job.job_id)])
    if state in (State.COMPLETED, State.FAILED, State.CANCELLED):
        assert refused(answer, WrongState).state is state
    else:
        assert good(answer).revision == job.revision
    assert await read(store, job) == job


async def test_a_second_hold_changes_nothing_and_of_no_job_is_refused(store: JobStore) -> None:
    [job] = await added(store, a_draft())
    first = await held(store, job)
    assert await held(store, job) == first
    for answer in await store.update("q", [HoldJob("none"), ReleaseJob("none")]):
        refused(answer, JobNotFound)


async def test_no_claim_takes_a_held_job_and_one_does_once_it_is_let_go(store: JobStore) -> None:
    first, second = await added(store, a_draft(priority=1), a_draft())
    await held(store, first)
    assert [one.job.job_id for one in await claimed(store)] == [second.job_id]
    wakes = (await store.ticks(["q"]))["q"].wakes
    assert (await released(store, first)).state is State.WAITING
    assert (await store.ticks(["q"]))["q"].wakes > wakes
    assert [one.job.job_id for one in await claimed(store)] == [first.job_id]


async def test_a_held_job_whose_time_comes_goes_on_being_held(store: JobStore, backdate: Backdate) -> None:
    [job] = await added(store, a_draft(when=HOUR))
    await held(store, job)
    assert (await store.ticks(["q"]))["q"].next_due is None
    [again] = await store.update("q", [RunJob(job.job_id)])
    assert good(again).held
    assert not await claimed(store)
    assert not await store.promote("q")
    let_go = await released(store, job)
    assert (let_go.state, let_go.schedule_time) == (State.WAITING, good(again).schedule_time)
    assert (await claimed_one(store)).job.job_id == job.job_id


async def test_let_go_before_its_time_it_is_due_at_its_time(store: JobStore) -> None:
    [job] = await added(store, a_draft(when=HOUR))
    await held(store, job)
    assert (await released(store, job)).state is State.SCHEDULED
    assert (await store.ticks(["q"]))["q"].next_due == job.schedule_time
    assert not await claimed(store)


async def test_let_go_it_stands_where_it_stood_before(store: JobStore) -> None:
    first, second = await added(store, a_draft("first"), a_draft("second"))
    await held(store, first)
    await released(store, first)
    assert [one.job.job_id for one in await claimed(store)] == [first.job_id, second.job_id]


async def test_what_is_to_be_tried_again_can_be_held(store: JobStore) -> None:
    [job] = await added(store, a_draft())
    await finished(store, failed(await claimed_one(store), retry_in=HOUR))
    await held(store, job)
    await store.update("q", [UpdateJob(job.job_id, when=0 * HOUR)])
    assert not await claimed(store)
    await released(store, job)
    assert (await claimed_one(store)).job.attempt == 2


@pytest.mark.parametrize("on_conflict", [OnConflict.KEEP, OnConflict.REPLACE])
async def test_another_spec_for_a_held_job_is_held(store: JobStore, on_conflict: OnConflict) -> None:
    await added(store, a_draft("a"))
    await held(store, "a")
    for when in (HOUR, 0 * HOUR):
        [job] = await added(store, a_draft("a", when=when, priority=2, on_conflict=on_conflict))
        assert job.held
        assert (job.spec.priority == 2) == (on_conflict is OnConflict.REPLACE)
        assert await read(store, "a", View.BASIC) == job
    assert not await claimed(store)
    await released(store, "a")
    assert len(await claimed(store)) == 1


async def test_a_cancelled_job_is_held_no_more(store: JobStore) -> None:
    [job] = await added(store, a_draft())
    job = await cancelled(store, await held(store, job))
    assert (job.state, job.held) == (State.CANCELLED, False)
    [job_again] = await store.update("q", [RetryJob(job.job_id)])
    assert not good(job_again).held
    assert len(await claimed(store)) == 1


async def test_lists_and_counts_show_held_jobs_by_their_state(store: JobStore) -> None:
    now, later, held_now, held_later = await added(
        store, a_draft(), a_draft(when=HOUR), a_draft(), a_draft(when=2 * HOUR, tags={"k": "v"})
    )
    await store.update("q", [HoldJob(held_now.job_id), HoldJob(held_later.job_id)])
    for state, jobs in ((State.WAITING, [held_now, now]), (State.SCHEDULED, [held_later, later])):
        ids = [job.job_id for job in jobs]
        assert await listed(store, a_query(states=frozenset({state}))) == ids
        assert await listed(store, a_query(states=frozenset({state}), types=frozenset({"t"}))) == ids
    assert await listed(store, a_query(tags={"k": "v"}, states=frozenset({State.SCHEDULED}))) == [held_later.job_id]
    soonest = a_query(states=frozenset({State.SCHEDULED}), order=Order.SOONEST)
    assert await listed(store, soonest) == [later.job_id]  # what comes next
    assert (await store.figures("q")).counts == {State.WAITING: {"t": 2}, State.SCHEDULED: {"t": 2}}
    total = (await store.page(a_query(states=frozenset({State.WAITING})))).total
    assert total == 2


async def test_a_held_job_can_be_deleted_and_placed_elsewhere(store: JobStore) -> None:
    [job] = await added(store, a_draft("a"))
    job = await held(store, job)
    assert await store.delete("q", ["a"], ended_only=False) == [None]
    assert await placed(store, job, over=True) == [Put.CREATED]
    assert await placed(store, job, over=True) == [Put.SAME]
    assert await read(store, "a", View.BASIC) == job
    assert not await claimed(store)
    let_go = a_job("a", life={name: getattr(job, name) for name in ("create_time", "schedule_time", "revision")})
    assert await placed(store, let_go, over=True) == [Put.REPLACED]
    assert len(await claimed(store)) == 1


async def test_nothing_is_ahead_of_a_held_job_and_it_is_ahead_of_none(store: JobStore) -> None:
    first, second = await added(store, a_draft(), a_draft())
    await held(store, first)
    outlooks = await store.explain("q", [first.job_id, second.job_id])
    assert [one and one.ahead for one in outlooks] == [None, 0]


async def test_checking_leaves_a_held_job_alone(store: JobStore, damage: Damage) -> None:
    first, second = await added(store, a_draft(), a_draft(when=HOUR))
    await held(store, first)
    await held(store, second)
    damage.lose_lists("q")
    while not (await store.check()).done:
        pass
    assert not await claimed(store)
    assert set(await listed(store, a_query())) == {first.job_id, second.job_id}
    while not (step := await store.check()).done:
        assert step.mended == {}
