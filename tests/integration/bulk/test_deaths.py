"""An attempt dies at each of its calls in turn, before the call is sent and once it has acted; the next goes on. Each
job is acted upon once, and a job on the move is never lost and never to be had twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from contract.builders import HOUR, MINUTE, a_draft, a_job, added, claimed, failed, finished, placed, read
from tocsin_server.domain.bulk_actions import BulkVerb
from tocsin_server.domain.commands import HoldJob, RetryJob, UpdateJob
from tocsin_server.domain.conditions import Collapse, CollapseMode, Conditions
from tocsin_server.domain.filters import ListQuery
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.states import State
from tocsin_server.operations.bulk_actions.moving import PUT_OFF
from tocsin_server.store.interface import JobStore

from integration.bulk.acting import acted, an_order, died

JOBS = 5  # two steps of three
CONDITIONS = Conditions(limit_key="c", weight=3, collapse=Collapse("k", CollapseMode.KEEP), expire=HOUR)
EITHER_SIDE = pytest.mark.parametrize("after", [False, True], ids=["unsent", "unanswered"])


def deaths() -> Iterator[int]:
    """Calls to die at; a test ends with the first that was not made."""
    yield from range(1, 60)


@EITHER_SIDE
async def test_each_job_is_shifted_once(store: JobStore, after: bool) -> None:
    for at in deaths():
        queue, action = f"q{at}", f"a{at}"
        jobs = await added(store, *(a_draft(queue=queue, when=HOUR) for _ in range(JOBS)))
        order = await an_order(store, BulkVerb.RETIME, queue=queue, by=MINUTE)
        more = await died(store, order, action, at, after=after)
        state = await acted(store, order, action, step=3)
        assert [(await read(store, job)).schedule_time for job in jobs] == [j.schedule_time + MINUTE for j in jobs]
        assert (state.done_jobs, state.changed, state.refused) == (JOBS, 0, 0), at
        if not more:
            assert at > 8
            return
    raise AssertionError("an attempt makes more calls than that")


@EITHER_SIDE
async def test_a_retried_job_that_fails_before_the_next_attempt_is_not_retried_again(
    store: JobStore, after: bool
) -> None:
    for at in deaths():
        queue, action = f"q{at}", f"a{at}"
        await added(store, *(a_draft(queue=queue) for _ in range(JOBS)))
        await finished(store, *[failed(one) for one in await claimed(store, queue=queue)])
        order = await an_order(store, BulkVerb.RETRY, queue=queue)
        more = await died(store, order, action, at, after=after)
        again = await claimed(store, queue=queue)
        await finished(store, *[failed(one) for one in again])
        state = await acted(store, order, action, step=3)
        assert len(again) + len(await claimed(store, queue=queue)) == JOBS
        assert (state.done_jobs, state.changed) == (JOBS, 0), at
        if not more:
            return
    raise AssertionError("an attempt makes more calls than that")


@pytest.mark.parametrize("most", [0, 2_000], ids=["from the log anew", "from the note"])
async def test_what_changed_before_a_death_is_still_left_after_it(
    store: JobStore, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin_server.operations.bulk_actions.state._MOST_CHANGED", most)
    jobs = await added(store, *(a_draft(f"j{n}", when=HOUR) for n in range(10)))
    order = await an_order(store, BulkVerb.PRIORITY, priority=9)
    for job_id in ("j0", "j5", "j9"):
        await store.update("q", [UpdateJob(job_id, priority=1)])
    done = 0

    def stopped() -> bool:
        nonlocal done
        done += 1
        return done > 2

    assert (await acted(store, order, step=3, stopped=stopped)).done_jobs == 4
    state = await acted(store, order, step=3)
    assert (state.done_jobs, state.changed) == (7, 3)
    assert [(await read(store, job)).spec.priority for job in jobs] == [1, 9, 9, 9, 9, 1, 9, 9, 9, 1]


async def all_of(store: JobStore, queue: str) -> dict[str, Job]:
    page = await store.page(ListQuery(queue, limit=100, view=View.FULL))
    return {job.job_id: job for job in page.jobs}


def as_in(queue: str, job: Job) -> Job:
    return replace(job, spec=replace(job.spec, queue=queue), arrival=0)


@EITHER_SIDE
async def test_a_job_on_the_move_is_never_lost_nor_to_be_had_twice(store: JobStore, after: bool) -> None:
    for at in deaths():
        here, there, action = f"q{at}", f"r{at}", f"a{at}"
        drafts = [a_draft(f"w{i}", queue=here, body=b"w" * 50, tags={"k": "v"}, priority=i) for i in range(3)]
        await added(store, a_draft("failed", queue=here, body=b"f", type="f"))
        await finished(store, *[failed(one) for one in await claimed(store, queue=here, types=["f"])])
        await added(store, a_draft("later", queue=here, when=HOUR, conditions=CONDITIONS), *drafts)
        await store.update(here, [HoldJob("w0")])
        before = await all_of(store, here)
        states = frozenset({State.SCHEDULED, State.WAITING, State.FAILED})
        order = await an_order(store, BulkVerb.MOVE, queue=here, target=there, states=states)
        more = await died(store, order, action, at, after=after)
        left, moved = await all_of(store, here), await all_of(store, there)
        assert left.keys() | moved.keys() == before.keys(), at
        runnable = [
            job.job_id
            for job in (*left.values(), *moved.values())
            if job.state in (State.SCHEDULED, State.WAITING) and job.schedule_time != PUT_OFF
        ]
        assert len(runnable) == len(set(runnable)), at
        state = await acted(store, order, action, step=3)
        assert await all_of(store, here) == {}
        moved = await all_of(store, there)
        assert {name: as_in(there, job) for name, job in moved.items()} == {
            name: as_in(there, job) for name, job in before.items()
        }
        assert (state.done_jobs, state.changed, state.refused) == (JOBS, 0, 0), at
        assert [one.job.job_id for one in await claimed(store, queue=there)] == ["w2", "w1"]  # w0 is held
        if not more:
            assert at > 12
            return
    raise AssertionError("an attempt makes more calls than that")


async def test_a_job_whose_id_stands_there_stays_as_it_is(store: JobStore) -> None:
    await added(store, a_draft("a", body=b"here"), a_draft("b", body=b"here"))
    await added(store, a_draft("a", queue="r", body=b"there", when=HOUR))
    before = await read(store, "a")
    state = await acted(store, await an_order(store, BulkVerb.MOVE, target="r"))
    assert (state.done_jobs, state.refused) == (1, 1)
    [refusal] = state.refusals
    assert (refusal.job_id, refusal.reason) == ("a", "JOB_EXISTS")
    assert await read(store, "a") == before
    there = await read(store, "a", queue="r")
    assert there.spec.payload is not None
    assert there.spec.payload.body == b"there"


async def test_an_ended_job_whose_id_stands_there_stays_though_both_were_made_at_once(store: JobStore) -> None:
    """The same id, type and create time: two jobs all the same."""
    life = {"create_time": (await store.ping()) - timedelta(days=1)}
    ended = a_job("a", State.COMPLETED, life={**life, "end_time": await store.ping()})
    await placed(store, ended, replace(ended, spec=replace(ended.spec, queue="r"), attempt=7))
    order = await an_order(store, BulkVerb.MOVE, target="r", states=frozenset({State.COMPLETED}))
    for at in range(3, 14):  # resumed, too, with the job in flight
        await died(store, order, "action", at, after=False)
    state = await acted(store, order)
    assert (state.done_jobs, state.refused) == (0, 1)
    assert (await read(store, "a", queue="r")).attempt == 7
    await read(store, "a")


async def test_a_moved_job_can_be_retried_there(store: JobStore) -> None:
    await added(store, a_draft("a", body=b"x"))
    await finished(store, *[failed(one) for one in await claimed(store)])
    await acted(store, await an_order(store, BulkVerb.MOVE, target="r", states=frozenset({State.FAILED})))
    await store.update("r", [RetryJob("a")])
    [one] = await claimed(store, queue="r")
    assert one.job.spec.payload is not None
    assert one.job.spec.payload.body == b"x"
    assert [error.message for error in (await read(store, "a", queue="r")).errors] == ["no"]
