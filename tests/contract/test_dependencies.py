"""Jobs that wait for others: who lets them go, and when."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.commands import RetryJob
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.dependencies import JobRef, ParentEnd, ParentJob, Settlement, WhenParentFails
from tocsin_server.domain.job import Job, Retention
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    a_draft,
    added,
    cancelled,
    claimed,
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    good,
    read,
)
from contract.dependent_jobs import (
    CANCEL,
    FAIL,
    RUN,
    all_errands,
    child,
    complete,
    of,
    stands,
    unwatched_child,
)
from contract.keyed_jobs import passed

#: A thousand on one store take another a minute; tests/e2e/test_dependencies.py has them anyway.
MANY = 1_000 if os.environ.get("TESTS_FULL") else 150

# --- one parent, and how it ends ---


async def test_a_job_is_blocked_until_its_parent_has_completed(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent)
    assert job.state is State.BLOCKED
    assert [one.job.job_id for one in await claimed(store)] == ["p"]
    await all_errands(store)
    assert (await read(store, "c")).state is State.BLOCKED


@pytest.mark.parametrize("queue", ["q", "other"])
async def test_it_is_let_go_when_it_has(store: JobStore, queue: str) -> None:
    [parent] = await added(store, a_draft("p", queue=queue))
    job = await child(store, "c", parent)
    await complete(store, parent)
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING
    assert [one.job.job_id for one in await claimed(store)] == ["c"]


End = Callable[[JobStore, Job], Awaitable[object]]


async def _fail(store: JobStore, job: Job) -> None:
    await finished(store, failed(await claimed_one(store)))


async def _cancel(store: JobStore, job: Job) -> None:
    await cancelled(store, job)


async def _cancel_running(store: JobStore, job: Job) -> None:
    one = await claimed_one(store)
    await cancelled(store, job)
    await finished(store, failed(one, retry_in=HOUR))


async def _crash_for_good(store: JobStore, job: Job) -> None:
    for _ in range(limits.MAX_CRASHES):
        await finished(store, crashed(await claimed_one(store)))


async def _delete(store: JobStore, job: Job) -> None:
    assert await store.delete("q", [job.job_id], ended_only=False) == [None]


_ENDS = [_fail, _cancel, _cancel_running, _crash_for_good, _delete]


@pytest.mark.parametrize("end", _ENDS)
async def test_with_run_it_runs_however_its_parent_ends(store: JobStore, end: End) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent, rule=RUN)
    await end(store, parent)
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING


@pytest.mark.parametrize("end", _ENDS)
async def test_with_fail_it_fails_and_says_by_whom(store: JobStore, end: End) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent, rule=FAIL)
    await end(store, parent)
    await all_errands(store)
    now = await read(store, job)
    assert now.state is State.FAILED
    assert now.end_time is not None
    [error] = now.errors
    assert error.type == "PARENT_FAILED"
    assert "'p'" in error.message


@pytest.mark.parametrize("end", _ENDS)
async def test_with_cancel_it_is_cancelled_and_says_by_whom(store: JobStore, end: End) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent, rule=CANCEL)
    await end(store, parent)
    await all_errands(store)
    now = await read(store, job)
    assert now.state is State.CANCELLED
    assert now.cancel is not None
    assert now.cancel.reason.startswith("PARENT_FAILED: ")
    assert "'p'" in now.cancel.reason


async def test_a_retry_of_its_parent_is_no_end(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent)
    await finished(store, failed(await claimed_one(store), retry_in=NOW))
    await all_errands(store)
    assert (await read(store, job)).state is State.BLOCKED
    await complete(store, parent)
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING


async def test_a_parent_that_expires_has_failed(movable: JobStore) -> None:
    [parent] = await added(movable, a_draft("p", conditions=Conditions(expire=MINUTE)))
    job = await child(movable, "c", parent)
    await passed(movable, 2 * MINUTE)
    await movable.trim("q", completed_max=10, failed_max=10)
    assert (await read(movable, parent)).state is State.CANCELLED
    await all_errands(movable)
    assert (await read(movable, job)).state is State.FAILED


# --- many ---


async def test_it_waits_for_all_of_its_parents(store: JobStore) -> None:
    first, second, third = await added(
        store, a_draft("p1", type="a"), a_draft("p2", type="b"), a_draft("p3", type="c", queue="other")
    )
    job = await child(store, "c", first, second, third)
    for parent in (first, third):
        await complete(store, parent)
        await all_errands(store)
        assert (await read(store, job)).state is State.BLOCKED
    await complete(store, second)
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING


async def test_the_first_that_fails_ends_it_and_what_comes_later_changes_nothing(store: JobStore) -> None:
    first, second = await added(store, a_draft("p1", type="a"), a_draft("p2", type="b"))
    job = await child(store, "c", first, second)
    await cancelled(store, first)
    await all_errands(store)
    ended = await read(store, job)
    assert ended.state is State.FAILED
    await cancelled(store, second)
    await all_errands(store)
    assert await read(store, job) == ended


async def test_one_lets_all_of_its_children_go(store: JobStore) -> None:
    """More than are told at a time."""
    [parent] = await added(store, a_draft("p"))
    jobs = [await child(store, f"c{i}", parent, queue=f"q{i % 2}") for i in range(130)]
    await complete(store, parent)
    await all_errands(store)
    assert {(await read(store, job)).state for job in jobs} == {State.WAITING}


async def test_many_into_one(store: JobStore) -> None:
    parents = await added(store, *(a_draft(f"p{i}") for i in range(MANY)))
    job = await child(store, "c", *parents)
    running = await claimed(store, 1_000)
    await finished(store, *(completed(one) for one in running[1:]))
    await all_errands(store)
    assert (await read(store, job)).state is State.BLOCKED
    [outlook] = await store.explain("q", ["c"])
    assert outlook is not None
    assert (outlook.open_parents, outlook.waits_for) == (1, (running[0].job.job_id,))
    await finished(store, completed(running[0]))
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING


@pytest.mark.parametrize(("rule", "state"), [(RUN, State.WAITING), (FAIL, State.FAILED), (CANCEL, State.CANCELLED)])
async def test_a_child_that_ends_is_told_to_its_own(store: JobStore, rule: WhenParentFails, state: State) -> None:
    [parent] = await added(store, a_draft("p"))
    middle = await child(store, "m", parent, rule=rule, queue="other")
    last = await child(store, "l", middle, rule=rule)
    await cancelled(store, parent)
    await all_errands(store)
    assert (await read(store, middle)).state is state
    assert (await read(store, last)).state is (State.BLOCKED if rule is RUN else state)


# --- what has ended before ---


async def test_a_parent_that_has_ended_counts_at_once(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    await complete(store, parent)
    job = await child(store, "c", parent)
    assert (await read(store, job)).state is State.WAITING


async def test_so_does_one_that_failed(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    await cancelled(store, parent)
    job = await child(store, "c", parent, rule=CANCEL)
    assert (await read(store, job)).state is State.CANCELLED


async def test_another_job_of_the_parents_id_is_not_its_parent(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    await cancelled(store, parent)
    await store.delete("q", ["p"])
    await added(store, a_draft("p"))
    job = await child(store, "c", parent)
    now = await read(store, job)
    assert now.state is State.FAILED
    assert "is gone" in now.errors[0].message


async def test_what_is_said_twice_is_as_said_once(store: JobStore) -> None:
    first, second = await added(store, a_draft("p1"), a_draft("p2"))
    job = await child(store, "c", first, second)
    ended = ParentJob("q", "p1", first.arrival, ParentEnd.COMPLETED)
    for _ in range(2):
        assert await of(store).settle("q", [Settlement("c", (ended,))]) == [State.BLOCKED]
    stranger = ParentJob("q", "p3", 99, ParentEnd.FAILED)
    assert await of(store).settle("q", [Settlement("c", (stranger,)), Settlement("no", (ended,))]) == [
        State.BLOCKED,
        None,
    ]
    assert [one.end for one in (await of(store).parents("q", [job.job_id]))[0]] == [ParentEnd.COMPLETED, ParentEnd.OPEN]


# --- what a death leaves behind ---


async def test_a_child_that_nobody_let_ask_asks_by_itself(movable: JobStore) -> None:
    [parent] = await added(movable, a_draft("p"))
    job = await unwatched_child(movable, "c", parent)
    await complete(movable, parent)
    await all_errands(movable)
    assert (await read(movable, job)).state is State.BLOCKED
    await passed(movable, limits.ASK_PARENTS + SECOND)
    await all_errands(movable)
    assert (await read(movable, job)).state is State.WAITING


async def test_who_asked_by_itself_is_told_from_then_on(movable: JobStore) -> None:
    [parent] = await added(movable, a_draft("p"))
    job = await unwatched_child(movable, "c", parent)
    await passed(movable, limits.ASK_PARENTS + SECOND)
    await all_errands(movable)
    await complete(movable, parent)
    await all_errands(movable)
    assert (await read(movable, job)).state is State.WAITING


async def test_an_end_that_was_taken_and_not_told_is_told_later(movable: JobStore) -> None:
    [parent] = await added(movable, a_draft("p"))
    job = await child(movable, "c", parent)
    await complete(movable, parent)
    taken = await of(movable).errands("q")
    assert [(one.parent.job_id, one.parent.end, one.children) for one in taken.ended] == [
        ("p", ParentEnd.COMPLETED, (JobRef("q", "c"),))
    ]
    await all_errands(movable)
    assert (await read(movable, job)).state is State.BLOCKED  # whoever has taken it may be about to tell
    await passed(movable, limits.RETELL + SECOND)
    await all_errands(movable)
    assert (await read(movable, job)).state is State.WAITING


@pytest.mark.parametrize("by_count", [False, True])
async def test_a_parent_is_not_trimmed_before_its_children_were_told(movable: JobStore, by_count: bool) -> None:
    kept = HOUR if by_count else NOW
    [parent] = await added(movable, a_draft("p", retention=Retention(kept, kept)))
    job = await child(movable, "c", parent)
    await complete(movable, parent)
    await passed(movable, limits.SPARED_AFTER_END + SECOND)
    await movable.trim("q", completed_max=0 if by_count else 10, failed_max=10)
    assert await stands(movable, parent) is not None
    await all_errands(movable)
    assert (await read(movable, job)).state is State.WAITING
    await passed(movable, limits.RETELL + SECOND)
    await movable.trim("q", completed_max=0 if by_count else 10, failed_max=10)
    assert await stands(movable, parent) is None


async def test_a_parent_that_is_deleted_is_told_of_all_the_same(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent)
    await complete(store, parent)
    assert await store.delete("q", ["p"]) == [None]
    await all_errands(store)
    assert (await read(store, job)).state is State.WAITING


async def test_a_parent_that_is_retried_before_it_was_told_of_has_failed(store: JobStore) -> None:
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent)
    await cancelled(store, parent)
    [answer] = await store.update("q", [RetryJob("p")])
    good(answer)
    late = await child(store, "late", parent)
    await all_errands(store)
    assert (await read(store, job)).state is State.FAILED
    assert (await read(store, late)).state is State.BLOCKED
    await complete(store, parent)
    await all_errands(store)
    assert (await read(store, late)).state is State.WAITING


async def test_nothing_is_left_over(store: JobStore) -> None:
    """No errand stands where nobody waits, and a queue of which all jobs are gone can be forgotten."""
    [parent] = await added(store, a_draft("p"))
    job = await child(store, "c", parent)
    await complete(store, parent)
    await all_errands(store)
    await complete(store, job)
    await store.delete("q", ["p", "c"])
    assert (await store.ticks(["q"]))["q"].next_errand is None
    assert await store.forget("q")
