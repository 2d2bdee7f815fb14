"""JobStore.promote."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.domain.job import View
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import HOUR, MINUTE, SECOND, a_draft, added, claimed, read
from contract.conftest import Contents


async def test_due_jobs_are_made_waiting_and_nothing_else(store: JobStore, backdate: Backdate) -> None:
    due, later, now = await added(store, a_draft("due", when=HOUR), a_draft("later", when=HOUR), a_draft("now"))
    backdate.due(due, by=2 * HOUR)
    before, cursor = await read(store, "later"), await store.cursor("q")

    assert await store.promote("q") is False

    job = await read(store, "due")
    assert (job.state, job.attempt, job.start_time, job.revision) == (State.WAITING, 0, None, due.revision + 1)
    assert (await read(store, "later"), await read(store, "now")) == (before, now)
    batch = await store.events("q", cursor, wait=timedelta(0))
    assert [event.job for event in batch.events] == [await read(store, "due", View.BASIC)]
    assert (await store.figures("q")).counts == {State.SCHEDULED: {"t": 1}, State.WAITING: {"t": 2}}
    assert [one.job.job_id for one in await claimed(store)] == ["due", "now"]
    assert later.state is State.SCHEDULED


@pytest.mark.parametrize("due", [5, 100, 101, 201])
async def test_the_earliest_come_first_and_it_says_whether_more_are_due(
    store: JobStore, backdate: Backdate, due: int
) -> None:
    jobs = await added(store, *(a_draft(f"{i}", when=HOUR + i * SECOND) for i in range(due)))
    await added(store, a_draft("later", when=HOUR))
    backdate.due(*jobs, by=24 * HOUR)
    promoted = 0
    while True:
        more = await store.promote("q")
        waiting = (await store.figures("q")).total(State.WAITING)
        assert promoted < waiting <= promoted + 100
        made = await store.get("q", [f"{i}" for i in range(promoted, waiting)], View.BASIC)
        assert {job and job.state for job in made} == {State.WAITING}
        promoted = waiting
        assert more is (promoted < due)
        if not more:
            break


async def test_jobs_of_a_paused_queue_are_made_waiting_and_not_leased(store: JobStore, backdate: Backdate) -> None:
    [job] = await added(store, a_draft("a", when=HOUR))
    backdate.due(job, by=2 * HOUR)
    await store.put_settings("q", QueueSettings(), paused=True)
    assert await store.promote("q") is False
    assert (await read(store, "a")).state is State.WAITING
    assert await claimed(store) == []


async def test_a_tick_shows_what_was_made_waiting(store: JobStore, backdate: Backdate) -> None:
    """So that servers which missed the time, or do not know the queue, claim."""
    [job] = await added(store, a_draft("a", when=HOUR))
    backdate.due(job, by=2 * HOUR)
    before = (await store.ticks(["q"]))["q"]
    await store.promote("q")
    after = (await store.ticks(["q"]))["q"]
    assert before.next_due is not None
    assert (after.next_due, after.waiting) == (None, True)
    assert after.wakes > before.wakes


async def test_where_nothing_is_due_nothing_changes(store: JobStore, contents: Contents) -> None:
    before = contents()
    assert await store.promote("never") is False
    assert contents() == before
    await added(store, a_draft(when=MINUTE), a_draft())
    before = contents()
    assert await store.promote("q") is False
    assert contents() == before


async def test_a_second_promotion_finds_nothing_to_do(store: JobStore, backdate: Backdate, contents: Contents) -> None:
    [job] = await added(store, a_draft(when=HOUR))
    backdate.due(job, by=2 * HOUR)
    await store.promote("q")
    before = contents()
    assert await store.promote("q") is False
    assert contents() == before
