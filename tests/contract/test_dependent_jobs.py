"""Jobs that wait for others: what can be done to them meanwhile, and what is told of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.commands import HoldJob, ReleaseJob, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.dependencies import DependsOn, EndWatch, JobRef, ParentEnd, ParentJob
from tocsin_server.domain.job import Job, OnConflict, Put
from tocsin_server.domain.job_errors import WrongState
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    a_draft,
    a_job,
    added,
    cancelled,
    claimed,
    claimed_one,
    completed,
    finished,
    good,
    placed,
    read,
    refused,
)
from contract.dependent_jobs import (
    FAIL,
    RUN,
    all_errands,
    child,
    complete,
    dependents,
    of,
)
from contract.keyed_jobs import passed

# --- its time, timeouts, verbs ---


async def test_it_runs_no_sooner_than_it_is_due(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent, when=HOUR)
    await complete(store, parent)
    await all_errands(store)
    assert (await read(store, job)).state is State.SCHEDULED


async def test_it_fails_when_it_has_waited_for_too_long(movable: JobStore) -> None:
    [parent] = await added(movable, a_draft("p"))
    job = await child(movable, "c", parent, block_timeout=MINUTE)
    await passed(movable, MINUTE - SECOND)
    await all_errands(movable)
    assert (await read(movable, job)).state is State.BLOCKED
    await passed(movable, 2 * SECOND)
    await all_errands(movable)
    now = await read(movable, job)
    assert (now.state, now.errors[0].type) == (State.FAILED, "BLOCK_TIMEOUT")


async def test_its_timeout_says_nothing_of_one_that_was_let_go(movable: JobStore) -> None:
    [parent] = await added(movable, a_draft("p"))
    job = await child(movable, "c", parent, block_timeout=MINUTE)
    await complete(movable, parent)
    await all_errands(movable)
    await passed(movable, HOUR)
    await all_errands(movable)
    assert (await read(movable, job)).state is State.WAITING


async def test_it_can_be_cancelled_while_it_waits(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent)
    await cancelled(store, job)
    await complete(store, parent)
    await all_errands(store)
    assert (await read(store, job)).state is State.CANCELLED


async def test_retried_it_runs_without_waiting_again(store: JobStore) -> None:
    first, second = await added(store, a_draft("p1", type="a"), a_draft("p2", type="b"))
    job = await child(store, "c", first, second)
    await cancelled(store, first)
    await all_errands(store)
    [answer] = await store.update("q", [RetryJob("c")])
    assert good(answer).state is State.WAITING
    await cancelled(store, second)
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING


async def test_run_and_retry_are_refused_while_it_waits(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    await child(store, "c", parent)
    for answer in await store.update("q", [RunJob("c"), RetryJob("c")]):
        refused(answer, WrongState)


async def test_changed_or_held_it_goes_on_waiting(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent)
    await store.update("q", [UpdateJob("c", when=NOW, priority=3), HoldJob("c")])
    await complete(store, parent)
    await all_errands(store)
    now = await read(store, job)
    assert (now.state, now.held, now.spec.priority) == (State.WAITING, True, 3)
    assert await claimed(store) == []
    await store.update("q", [ReleaseJob("c")])
    assert [one.job.job_id for one in await claimed(store)] == ["c"]


async def test_what_takes_its_place_waits_for_nothing(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p", type="a"))
    job = await child(store, "c", parent)
    await added(store, a_draft("c", on_conflict=OnConflict.REPLACE))
    now = await read(store, job)
    assert (now.state, now.spec.conditions.depends) == (State.WAITING, None)
    await cancelled(store, parent)
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING
    assert (await of(store).parents("q", ["c"])) == [()]


async def test_its_children_wait_for_whatever_takes_its_parents_place(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p", when=HOUR))
    job = await child(store, "c", parent)
    await added(store, a_draft("p", on_conflict=OnConflict.REPLACE))
    await all_errands(store)
    assert (await read(store, job)).state is State.BLOCKED
    await complete(store, parent)
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING


@pytest.mark.parametrize("way", ["REPLACE", "deleted", "brought over"])
async def test_what_stands_under_its_parents_id_later_does_not_hide_how_that_ended(store: JobStore, way: str) -> None:
    """Also where that comes before its children have heard."""
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent)
    [after] = await added(
        store,
        replace(
            a_draft("after", conditions=Conditions(depends=DependsOn(RUN, of_end=True))),
            parents=(ParentJob("q", "p2"),),
        ),
    )
    [followed] = await added(store, a_draft("p2", type="b", conditions=Conditions(on_end=JobRef("q", "after"))))
    await complete(store, parent)
    await complete(store, followed)
    for one in (parent, followed):
        if way == "deleted":
            assert await store.delete("q", [one.job_id]) == [None]
        elif way == "REPLACE":
            await added(store, a_draft(one.job_id, when=HOUR, on_conflict=OnConflict.REPLACE))
        else:
            await store.put([a_job(one.job_id, arrival=one.arrival + 100)], over=True)
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING
    assert (await read(store, after)).state is State.WAITING


# --- what is told of it ---


async def test_whom_it_waits_for_is_told(store: JobStore) -> None:
    first, second = await added(store, a_draft("p1", type="a"), a_draft("p2", type="b", queue="other"))
    job = await child(store, "c", first, second)
    [outlook] = await store.explain("q", ["c"])
    assert outlook is not None
    assert (outlook.open_parents, outlook.waits_for) == (2, ("p1", "other/p2"))
    await complete(store, first)
    await all_errands(store)
    [outlook] = await store.explain("q", ["c"])
    assert outlook is not None
    assert (outlook.open_parents, outlook.waits_for) == (1, ("other/p2",))
    assert await of(store).parents("q", ["c", "p1", "no"]) == [
        (
            ParentJob("q", "p1", first.arrival, ParentEnd.COMPLETED),
            ParentJob("other", "p2", second.arrival, ParentEnd.OPEN),
        ),
        (),
        (),
    ]
    assert (await read(store, job)).spec.conditions.depends is not None


async def test_to_be_watched_is_no_change_of_a_job(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p", body=b"payload", tags={"k": "v"}))
    before, cursor = await read(store, parent), await store.cursor("q")
    answers = await of(store).watch(
        "q", [EndWatch("p", parent.arrival, JobRef("q", "c")), EndWatch("no", 0, JobRef("q", "c"))]
    )
    assert [(one.end, one.arrival) for one in answers] == [(ParentEnd.OPEN, parent.arrival), (ParentEnd.GONE, 0)]
    assert await read(store, parent) == before
    assert (await read(store, parent)).watched
    batch = await store.events("q", cursor, wait=timedelta(0))
    assert batch.events == ()


async def test_one_that_runs_can_be_watched(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p", body=b"payload"))
    one = await claimed_one(store)
    job = await child(store, "c", parent)
    await finished(store, completed(one, b"result"))
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING
    assert (await read(store, parent)).result == b"result"


async def test_a_server_that_listens_hears_of_an_errand(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    await child(store, "c", parent)
    one = await claimed_one(store)
    wakes = store.wakes()
    async for wake in wakes:
        if wake.missed:
            await finished(store, completed(one))
        elif wake.errands:
            assert wake.queue == "q"
            break


async def test_a_step_says_whether_there_is_more(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    await child(store, "c", parent)
    await complete(store, parent)
    assert not await dependents(store).run_errands("q")
    assert (await of(store).errands("q")).ended == ()


# --- brought in from elsewhere ---


def _brought_in(job_id: str, *parents: ParentJob, queue: str = "q") -> Job:
    """A child as an import places it."""
    conditions = Conditions(depends=DependsOn(FAIL))
    return replace(a_job(job_id, State.BLOCKED, queue=queue, conditions=conditions), parents=parents)


async def test_a_child_that_is_brought_in_asks_its_parents_anew(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    ended = ParentJob("q", "before", 0, ParentEnd.COMPLETED)
    child_job = _brought_in("c", ended, ParentJob("q", "p"))
    assert await placed(store, child_job) == [Put.CREATED]
    assert await of(store).parents("q", ["c"]) == [(ended, ParentJob("q", "p"))]
    await all_errands(store)
    assert (await read(store, "c")).state is State.BLOCKED
    assert await of(store).parents("q", ["c"]) == [(ended, ParentJob("q", "p", parent.arrival))]
    await complete(store, parent)
    await all_errands(store)
    assert (await read(store, "c")).state is State.WAITING
    assert await placed(store, child_job, over=True) == [Put.REPLACED]


async def test_its_parents_may_come_after_it(movable: JobStore) -> None:
    """Also where their queue is there already: an import brings the newest jobs first."""
    await added(movable, a_draft("other"))
    await placed(movable, _brought_in("c", ParentJob("q", "p"), ParentJob("later", "p")))
    await all_errands(movable)
    await placed(movable, a_job("p", State.COMPLETED), a_job("p", State.COMPLETED, queue="later"))
    assert (await read(movable, "c")).state is State.BLOCKED
    await passed(movable, limits.ASK_PARENTS + SECOND)
    await all_errands(movable)
    assert (await read(movable, "c")).state is State.WAITING


async def test_it_waits_for_them_some_minutes_and_then_they_are_gone(movable: JobStore) -> None:
    await placed(movable, _brought_in("c", ParentJob("q", "p")))
    for _ in range(15):
        await all_errands(movable)
        assert (await read(movable, "c")).state is State.BLOCKED
        await passed(movable, limits.ASK_PARENTS + SECOND)
    for _ in range(10):
        await all_errands(movable)
        await passed(movable, limits.ASK_PARENTS + SECOND)
    assert (await read(movable, "c")).state is State.FAILED


async def test_what_is_placed_twice_is_the_same(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    await child(store, "c", parent)
    followed = await read(store, "p")
    assert await placed(store, followed, over=True) == [Put.SAME]
    assert await placed(store, replace(followed, spec=replace(followed.spec, priority=3)), over=True) == [Put.REPLACED]
    await complete(store, parent)
    await all_errands(store)
    assert (await read(store, "c")).state is State.WAITING
