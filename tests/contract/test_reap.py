"""JobStore.reap."""

from __future__ import annotations

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.job import View
from tocsin_server.domain.lease import LostLease
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    a_draft,
    added,
    claimed,
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    read,
    released,
)
from contract.conftest import Contents


async def test_a_lease_that_ran_out_is_taken_back(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft("a"), a_draft("b"))
    one = await claimed_one(store)
    backdate.lease(one.job, by=2 * MINUTE)
    before = await store.ping()

    assert await store.reap("q") == [LostLease("a", one.job.spec.type, 1, State.WAITING)]

    job = await read(store, "a")
    assert (job.state, job.attempt, job.failures, job.crashes) == (State.WAITING, 1, 0, 1)
    [error] = job.errors
    assert (error.type, error.attempt) == ("LEASE_EXPIRED", 1)
    assert error.message
    assert error.time is not None
    assert before <= error.time <= await store.ping()
    assert (job.arrival, job.schedule_time, job.end_time) == (one.job.arrival, one.job.schedule_time, None)
    assert [each.job.job_id for each in await claimed(store)] == ["a", "b"]


async def test_a_lease_that_stands_is_left(store: JobStore, contents: Contents) -> None:
    await added(store, a_draft("a"), a_draft("b", when=HOUR), a_draft("c", type="other"))
    await claimed_one(store, lease=SECOND)
    before = contents()
    assert len(await store.reap("q")) == 0
    assert contents() == before


async def test_a_queue_that_was_never_used_has_nothing_to_reap(store: JobStore, contents: Contents) -> None:
    before = contents()
    assert len(await store.reap("never")) == 0
    assert contents() == before


async def lose_lease(store: JobStore, backdate: Backdate) -> None:
    """A lease of the one job that waits runs out."""
    one = await claimed_one(store)
    backdate.lease(one.job, by=HOUR)
    assert len(await store.reap("q")) == 1


async def test_many_in_a_row_are_poison(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft("a", retry=RetryPolicy(max_attempts=1)))
    for number in range(1, limits.MAX_LEASES_LOST + 1):
        await lose_lease(store, backdate)
        job = await read(store, "a")
        assert (job.crashes, job.failures) == (number, 0)
        assert job.state is (State.FAILED if number == limits.MAX_LEASES_LOST else State.WAITING)
    assert (job.errors[-1].type, job.errors[0].type) == ("POISON", "LEASE_EXPIRED")
    assert job.end_time is not None
    assert await claimed(store) == []


async def test_a_neighbour_of_poison_is_not_buried_by_what_kills_its_servers(
    store: JobStore, backdate: Backdate
) -> None:
    await added(store, a_draft("a"))
    for _ in range(limits.MAX_LEASES_LOST - 1):
        await lose_lease(store, backdate)
    one = await claimed_one(store)
    assert one.job.crashes == limits.MAX_LEASES_LOST - 1
    assert await finished(store, completed(one)) == [State.COMPLETED]
    assert (await read(store, "a")).crashes == 0


@pytest.mark.parametrize("lost", [2, 3, 5])
async def test_after_lost_leases_the_death_of_a_process_of_its_own_is_poison(
    store: JobStore, backdate: Backdate, lost: int
) -> None:
    await added(store, a_draft("a"))
    for _ in range(lost):
        await lose_lease(store, backdate)
    assert await finished(store, crashed(await claimed_one(store))) == [State.FAILED]
    job = await read(store, "a")
    assert (job.crashes, job.failures, job.errors[-1].type) == (lost + 1, 0, "POISON")


async def test_a_process_that_died_once_after_one_lost_lease_is_not(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft("a"))
    await lose_lease(store, backdate)
    assert await finished(store, crashed(await claimed_one(store))) == [State.WAITING]


async def test_a_failure_or_a_release_between_starts_the_count_anew(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft("a"))
    for end in (released, lambda one: failed(one, NOW)):
        for _ in range(2):
            one = await claimed_one(store)
            backdate.lease(one.job, by=HOUR)
            await store.reap("q")
        await finished(store, end(await claimed_one(store)))
        assert (await read(store, "a")).crashes == 0
    assert (await read(store, "a")).state is State.WAITING


async def test_no_more_than_the_limit_are_taken_back_a_call(store: JobStore, backdate: Backdate) -> None:
    await added(store, *(a_draft() for _ in range(7)))
    backdate.lease(*(one.job for one in await claimed(store)), by=HOUR)
    assert [len(await store.reap("q", limit=3)) for _ in range(4)] == [3, 3, 1, 0]
    assert (await store.figures("q")).counts == {State.WAITING: {"t": 7}}


async def test_many_are_taken_back_in_bounded_steps(store: JobStore, backdate: Backdate) -> None:
    jobs = await added(store, *(a_draft() for _ in range(130)))
    backdate.lease(*(one.job for one in await claimed(store)), by=HOUR)
    steps = [len(await store.reap("q"))]
    while steps[-1]:
        steps.append(len(await store.reap("q")))
    assert sum(steps) == 130
    assert max(steps) <= 100
    found = await store.get("q", [job.job_id for job in jobs], View.BASIC)
    assert {(job.state, job.crashes) for job in found if job} == {(State.WAITING, 1)}
