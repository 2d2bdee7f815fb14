"""Moving jobs to a queue that takes no new ones, on each store: refused, and what stands here stays as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
from contract.builders import HOUR, a_draft, added
from tocsin_server.domain.bulk_actions import BulkVerb
from tocsin_server.domain.errors import QueueDraining
from tocsin_server.domain.job import Job, View
from tocsin_server.store.interface import JobStore

from integration.bulk.acting import Meddled, acted, an_order, died

IDS = ["w0", "w1", "s0", "s1"]


async def drain(store: JobStore, queue: str, *, draining: bool = True) -> None:
    [settings] = await store.settings([queue])
    await store.put_settings(queue, replace(settings, draining=draining), paused=settings.paused)


async def four(store: JobStore, queue: str = "q") -> list[Job | None]:
    """Two that wait, two that are due later; as they stand."""
    await added(store, *(a_draft(one, queue=queue, when=HOUR * (one[0] == "s")) for one in IDS))
    return await store.get(queue, IDS, View.FULL)


def as_it_was(job: Job | None) -> Job | None:
    """All of it but how often it was written."""
    return job and replace(job, revision=0)


async def test_an_action_whose_target_drains_as_it_begins_fails_and_touches_nothing(store: JobStore) -> None:
    before = await four(store)
    await drain(store, "r")
    with pytest.raises(QueueDraining, match="'r' is draining"):
        await acted(store, await an_order(store, BulkVerb.MOVE, target="r"))
    assert await store.get("q", IDS, View.FULL) == before
    assert await store.get("r", IDS, View.BASIC) == [None] * 4
    await drain(store, "r", draining=False)
    assert (await acted(store, await an_order(store, BulkVerb.MOVE, target="r"))).done_jobs == 4


async def test_of_a_target_that_begins_to_drain_meanwhile_the_rest_is_left_and_counted(store: JobStore) -> None:
    before = await four(store)
    order = await an_order(store, BulkVerb.MOVE, target="r")
    # The second step is noted by the third write.
    meddled = Meddled(store, "write_note", 3, lambda: drain(store, "r")).as_store
    state = await acted(meddled, order, step=2)
    assert (state.done_jobs, state.refused, state.changed, state.finished) == (2, 2, 0, True)
    assert {(one.job_id, one.reason) for one in state.refusals} == {("w0", "QUEUE_DRAINING"), ("w1", "QUEUE_DRAINING")}
    assert await store.get("q", IDS, View.FULL) == [*before[:2], None, None]


async def test_what_a_dead_attempt_had_put_off_stands_again_as_before(store: JobStore) -> None:
    at = 0
    while at := at + 1:
        here, there = f"q{at}", f"r{at}"
        before = await four(store, here)
        order = await an_order(store, BulkVerb.MOVE, queue=here, target=there)
        if not await died(store, order, f"a{at}", at, after=True):
            break
        begun = (await store.get(there, IDS, View.BASIC)).count(None) < len(IDS)
        await drain(store, there)
        try:
            state = await acted(store, order, f"a{at}")
        except QueueDraining:
            assert not begun
            assert await store.get(here, IDS, View.FULL) == before
            continue
        stay = await store.get(here, IDS, View.FULL)
        gone = await store.get(there, IDS, View.BASIC)
        assert state.done_jobs == sum(job is not None for job in gone)
        assert state.done_jobs + state.refused == len(IDS)
        for was, now, moved in zip(before, stay, gone, strict=True):
            assert (now is None) is (moved is not None), at
            assert now is None or as_it_was(now) == as_it_was(was), at
    assert at > 8
