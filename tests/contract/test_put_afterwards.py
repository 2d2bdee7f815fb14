"""JobStore.put: what happens to jobs once they are placed is what happens to any other."""

from __future__ import annotations

import pytest
from tocsin_server.domain.commands import RetryJob, UpdateJob
from tocsin_server.domain.job import Cancel, OnConflict, Replaced, Retention
from tocsin_server.domain.lease import Extension
from tocsin_server.domain.states import ENDED, State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    EARLIER,
    HOUR,
    IDLE,
    LATER,
    MINUTE,
    NOW,
    SECOND,
    a_draft,
    a_job,
    a_query,
    claimed,
    claimed_one,
    completed,
    failed,
    finished,
    good,
    listed,
    outcomes,
    placed,
    read,
    wish,
)
from contract.test_ticks_and_wakes import claimable, listening, tick


async def test_every_verb_does_with_them_what_it_does(store: JobStore) -> None:
    await placed(store, *(a_job(state.name, state, tags={"k": "v"}) for state in IDLE))
    [retried] = await store.update("q", [RetryJob("FAILED")])
    assert (good(retried).state, good(retried).failures, len(good(retried).errors)) == (State.WAITING, 0, 1)
    [updated] = await store.update("q", [UpdateJob("SCHEDULED", priority=3, revision=3)])
    assert (good(updated).spec.priority, good(updated).revision) == (3, 4)
    for answer in await store.cancel("q", [wish("WAITING"), wish("BLOCKED")]):
        assert good(answer).state is State.CANCELLED
    assert await store.delete("q", ["COMPLETED"]) == [None]
    assert await outcomes(store, a_draft("CANCELLED", on_conflict=OnConflict.REPLACE)) == [Replaced]
    assert {one.job.job_id for one in await claimed(store)} == {"FAILED", "CANCELLED"}
    assert sorted(await listed(store, a_query(tags={"k": "v"}, states=ENDED))) == ["BLOCKED", "WAITING"]


async def test_attempts_go_on_counting(store: JobStore) -> None:
    await placed(store, a_job(life={"attempt": 4, "failures": 2}))
    one = await claimed_one(store)
    assert (one.lease.attempt, one.job.failures) == (5, 2)
    assert await finished(store, failed(one)) == [State.FAILED]
    job = await read(store, "a")
    assert (job.attempt, job.failures, job.revision) == (5, 3, 5)


async def test_jobs_are_claimed_best_first_and_those_whose_time_has_passed_with_them(store: JobStore) -> None:
    await placed(
        store,
        a_job("third", arrival=4),
        a_job("second", arrival=3),
        a_job("later", State.SCHEDULED, priority=9),
        a_job("first", State.SCHEDULED, arrival=9, priority=5, life={"schedule_time": EARLIER}),
        a_job("fourth", arrival=1, life={"schedule_time": EARLIER + SECOND}),
        a_job("blocked", State.BLOCKED, arrival=2, priority=99),
    )
    assert [one.job.job_id for one in await claimed(store)] == ["first", "second", "third", "fourth"]
    assert (await read(store, "later")).state is State.SCHEDULED


async def test_a_waiting_job_waits_though_its_time_has_yet_to_come(store: JobStore) -> None:
    """The clock here may be behind that of where it came due."""
    await placed(store, a_job(life={"schedule_time": LATER}))
    assert [one.job.job_id for one in await claimed(store)] == ["a"]


async def test_a_wish_to_cancel_comes_with_a_job_that_has_yet_to_run(store: JobStore) -> None:
    await placed(store, a_job(life={"cancel": Cancel("moved", "ada", HOUR, await store.ping())}))
    one = await claimed_one(store)
    [said] = await store.extend([Extension(one.lease)], MINUTE)
    assert good(said).cancel_reason == "moved"
    assert await finished(store, failed(one, HOUR)) == [State.CANCELLED]


async def test_what_is_past_its_retention_is_placed_and_trimmed(store: JobStore) -> None:
    now = await store.ping()
    kept = Retention(HOUR, HOUR)
    for state in sorted(ENDED):
        await placed(store, a_job(f"old {state.name}", state, retention=kept))
        await placed(store, a_job(f"new {state.name}", state, retention=kept, life={"end_time": now}))
    assert (await tick(store)).next_expiry == EARLIER + MINUTE + HOUR
    assert await store.trim("q", completed_max=100, failed_max=100) == 3
    assert sorted(await listed(store, a_query())) == ["new CANCELLED", "new COMPLETED", "new FAILED"]


async def test_too_many_are_trimmed_oldest_end_first(store: JobStore) -> None:
    ends = {"b": 3, "d": 1, "a": 4, "c": 2}
    kept = Retention(100 * 365 * 24 * HOUR, HOUR)
    jobs = [
        a_job(name, State.COMPLETED, retention=kept, life={"end_time": EARLIER + end * HOUR})
        for name, end in ends.items()
    ]
    await placed(store, *jobs)
    for left in ("abc", "ab", "a", ""):
        assert await store.trim("q", completed_max=len(left), failed_max=0) == 1
        assert sorted(await listed(store, a_query())) == list(left)


async def test_ends_that_came_about_elsewhere_are_in_no_rate(store: JobStore) -> None:
    await placed(store, a_job("a", State.COMPLETED), a_job("b", State.FAILED), a_job("c"))
    figures = await store.figures("q")
    assert (figures.completed_per_second, figures.failed_per_second) == (0, 0)
    await finished(store, completed(await claimed_one(store)))
    assert (await store.figures("q")).completed_per_second > 0


PLACED = {
    "new": a_job("new"),
    "over an ended one": a_job("done"),
    "over one that was due later": a_job("later"),
    "of another type": a_job("waits", type="other", arrival=1),
}


@pytest.mark.parametrize("name", PLACED)
async def test_what_is_claimable_wakes(store: JobStore, name: str) -> None:
    standing = a_job("waits", arrival=1), a_job("done", State.COMPLETED), a_job("later", State.SCHEDULED)
    await placed(store, *standing)
    before = await tick(store)
    async with listening(store) as ear:
        await placed(store, PLACED[name], over=True)
        await ear.until(claimable)
    assert (await tick(store)).wakes > before.wakes


async def test_what_is_not_claimable_does_not_wake(store: JobStore) -> None:
    await placed(store, a_job("a"), a_job("b", arrival=7))
    before = await tick(store)
    jobs = [a_job(state.name, state) for state in IDLE if state is not State.WAITING]
    await placed(store, *jobs, a_job("a"), a_job("b", State.COMPLETED, arrival=7), over=True)
    assert (await tick(store)).wakes == before.wakes


async def test_an_earlier_due_time_is_announced(store: JobStore) -> None:
    await placed(store, a_job("far", State.SCHEDULED, life={"schedule_time": LATER + HOUR}))
    async with listening(store) as ear:
        await placed(store, a_job("near", State.SCHEDULED))
        assert (await ear.until(lambda wake: wake.due is not None)).due == LATER
        await placed(store, a_job("passed", State.SCHEDULED, life={"schedule_time": EARLIER}))
        assert (await ear.until(lambda wake: wake.due is not None)).due == EARLIER
    assert (await tick(store)).next_due == EARLIER


async def test_a_new_queue_is_announced(store: JobStore) -> None:
    async with listening(store) as ear:
        await placed(store, a_job(queue="new", state=State.COMPLETED))
        assert (await ear.until(lambda wake: wake.settings)).queue == "new"
    assert "new" in await store.queues()


async def test_each_job_that_changed_makes_one_event(store: JobStore) -> None:
    await placed(store, a_job("same"), a_job("other", arrival=2))
    cursor = await store.cursor("q")
    jobs = a_job("same"), a_job("other", State.COMPLETED, arrival=2), a_job("new")
    await placed(store, *jobs, over=True)
    await placed(store, *jobs)
    batch = await store.events("q", cursor, wait=NOW)
    assert not batch.gap
    assert {(event.job.job_id, event.job.state, event.deleted) for event in batch.events} == {
        ("other", State.COMPLETED, False),
        ("new", State.WAITING, False),
    }
    assert len(batch.events) == 2
