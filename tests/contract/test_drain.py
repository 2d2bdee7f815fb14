"""A queue that takes no new jobs, and ends those that it has."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tocsin_server.domain.commands import RetryJob, UpdateJob
from tocsin_server.domain.conditions import CollapseMode
from tocsin_server.domain.errors import QueueDraining
from tocsin_server.domain.job import Draft, Kept, New, OnConflict, Put, Replaced
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore
from tocsin_server.store.schedule_store import ScheduleWrite

from contract.builders import (
    HOUR,
    a_draft,
    a_job,
    added,
    claimed,
    claimed_one,
    completed,
    failed,
    finished,
    placed,
    read,
    refused,
)
from contract.conftest import Contents
from contract.keyed_jobs import keyed, states
from contract.test_schedules import a_job as a_scheduled
from contract.test_schedules import a_schedule, put
from contract.test_schedules import read as read_schedule


async def drained(store: JobStore, *, draining: bool = True) -> QueueSettings:
    [settings] = await store.settings(["q"])
    return await store.put_settings("q", replace(settings, draining=draining), paused=settings.paused)


async def test_a_queue_that_drains_says_so(store: JobStore) -> None:
    await added(store, a_draft())
    assert (await drained(store)).draining
    assert [one.draining for one in await store.settings(["q", "other"])] == [True, False]
    assert (await store.put_settings("q", QueueSettings(draining=True), paused=True)).draining
    assert not (await drained(store, draining=False)).draining


@pytest.mark.parametrize("second", OnConflict)
async def test_two_new_jobs_of_one_id_are_both_refused(store: JobStore, second: OnConflict) -> None:
    await drained(store)
    answers = await store.add([a_draft("a"), a_draft("a", on_conflict=second)])
    assert [type(answer) for answer in answers] == [QueueDraining] * 2


async def test_no_new_job_is_taken_and_nothing_changes(store: JobStore, contents: Contents) -> None:
    await added(store, a_draft("a"))
    await finished(store, completed(await claimed_one(store)))
    await drained(store)
    before = contents(counters=False)
    drafts = [
        *(a_draft(), a_draft("b"), a_draft("c", when=HOUR, on_conflict=OnConflict.KEEP)),
        a_draft("a", on_conflict=OnConflict.REPLACE),  # it has ended: this would make it anew
        keyed(CollapseMode.KEEP),
    ]
    for answer in await store.add(drafts):
        assert refused(answer, QueueDraining).queue == "q"
    assert contents(counters=False) == before


async def test_drafts_of_one_id_are_refused_alike(store: JobStore) -> None:
    await added(store, a_draft("a"))
    await drained(store)
    modes = (OnConflict.FAIL, OnConflict.FAIL, OnConflict.KEEP, OnConflict.REPLACE)
    for answer in await store.add([a_draft("b", on_conflict=one) for one in modes]):
        assert refused(answer, QueueDraining).queue == "q"


async def test_what_stands_is_kept_replaced_and_ended(store: JobStore) -> None:
    await added(store, a_draft("a"), a_draft("b"), keyed(CollapseMode.REPLACE, "k"))
    await drained(store)
    drafts: list[Draft] = [
        a_draft("a", on_conflict=OnConflict.KEEP),
        a_draft("new"),
        a_draft("b", on_conflict=OnConflict.REPLACE, priority=1),
        keyed(CollapseMode.REPLACE, body=b"2"),
        keyed(CollapseMode.KEEP),
    ]
    answers = await store.add(drafts)
    assert [type(one) for one in answers] == [Kept, QueueDraining, Replaced, Replaced, Kept]
    await store.update("q", [UpdateJob("a", priority=3)])
    ran = await claimed(store)
    assert [one.job.job_id for one in ran] == ["a", "b", "k"]
    await finished(store, failed(ran[0], retry_in=HOUR), failed(ran[1]), completed(ran[2]))
    await store.update("q", [RetryJob("b")])
    assert await states(store) == {State.SCHEDULED: 1, State.WAITING: 1, State.COMPLETED: 1}


async def test_no_next_one_is_made_beside_one_that_runs(store: JobStore) -> None:
    again = keyed(CollapseMode.RUN_AGAIN_AFTER)
    await store.add([again])
    await claimed_one(store)
    await drained(store)
    [answer] = await store.add([again])
    refused(answer, QueueDraining)


async def test_jobs_are_placed_in_it_all_the_same(store: JobStore) -> None:
    await drained(store)
    assert await placed(store, a_job("a")) == [Put.CREATED]
    assert len(await claimed(store)) == 1


async def test_it_takes_jobs_again_once_it_drains_no_more(store: JobStore) -> None:
    await drained(store)
    await drained(store, draining=False)
    [job] = await added(store, a_draft("a"))
    assert (await read(store, job)).state is State.WAITING


@pytest.mark.parametrize("at_once", [1, 5])
async def test_once_it_drains_no_job_comes_in_any_more(store: JobStore, at_once: int) -> None:
    taken = 0
    some = asyncio.Event()

    async def adds() -> None:
        nonlocal taken
        while True:
            answers = await store.add([a_draft()] * at_once)
            taken += sum(isinstance(one, New) for one in answers)
            some.set()
            if any(isinstance(one, QueueDraining) for one in answers):
                return

    adding = [asyncio.create_task(adds()) for _ in range(3)]
    await some.wait()
    await drained(store)
    before = (await store.figures("q")).total(State.WAITING)
    await asyncio.gather(*adding)
    assert (await store.figures("q")).total(State.WAITING) == taken
    assert taken - before <= 3 * at_once  # what was under way


async def test_a_schedule_makes_no_job_of_it(store: JobStore) -> None:
    one = a_schedule()
    await put(store, one)
    await drained(store)
    [answer] = await store.schedules.put_schedules(
        "q", [ScheduleWrite(await read_schedule(store), [a_scheduled(one, "a")])]
    )
    refused(answer, QueueDraining)
    assert await states(store) == {}
