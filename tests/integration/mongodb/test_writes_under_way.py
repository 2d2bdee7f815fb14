"""What is numbered and not written yet, when a watcher begins or meets a gap, still comes to it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from contract.builders import HOUR, a_draft, added, cancelled, claimed_one, completed, finished, read
from pymongo.database import Database
from support.eventually import until_async
from support.mongo_servers import MongoServer, order_fault
from support.mongo_stores import opened
from tocsin_server.domain.bulk_actions import BulkVerb
from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.queues import QueueDocuments
from tocsin_server.store.mongo.store import MongoStore

from integration.bulk.acting import acted, an_order

WAIT = timedelta(seconds=8)


async def test_a_watcher_who_begins_while_a_job_is_being_ended_hears_of_the_end(
    store: MongoStore, server: MongoServer, database: Database[dict[str, Any]]
) -> None:
    await added(store, a_draft("one"))
    one = await claimed_one(store)
    async with opened(server.url) as other:
        order_fault(database.client, {"times": 1}, failCommands=["update"], blockConnection=True, blockTimeMS=1500)
        before = await _last_number(other)
        ending = asyncio.create_task(finished(store, completed(one)))

        async def numbered() -> bool:
            return await _last_number(other) > before

        await until_async(numbered, within=5)
        cursor = await other.cursor("q")
        seen = (await read(other, "one")).state
        assert not ending.done(), "the end was not held up, so nothing was tried"
        while seen is not State.COMPLETED:
            batch = await other.events("q", cursor, wait=WAIT)
            assert batch.gap or batch.events, "nobody tells of the end"
            seen = (await read(other, "one")).state if batch.gap else batch.events[-1].job.state
            cursor = batch.cursor
        assert await ending == [State.COMPLETED]


async def test_a_gap_that_a_dead_server_left_hides_no_write_under_way(
    store: MongoStore, server: MongoServer, database: Database[dict[str, Any]]
) -> None:
    await added(store, a_draft("one"))
    one = await claimed_one(store)
    async with opened(server.url) as other:
        cursor = await other.cursor("q")
        await _queues(other).allocate("q", events=3)  # and nothing more: its server is dead
        reading = asyncio.create_task(other.events("q", cursor, wait=timedelta(seconds=20)))
        await asyncio.wait([reading], timeout=4)
        order_fault(database.client, {"times": 1}, failCommands=["update"], blockConnection=True, blockTimeMS=2500)
        ending = asyncio.create_task(finished(store, completed(one)))
        batch = await reading
        assert batch.gap
        assert not ending.done(), "the end was not held up, so nothing was tried"
        assert (await read(other, "one")).state is State.ACTIVE
        batch = await other.events("q", batch.cursor, wait=WAIT)
        assert [event.job.state for event in batch.events] == [State.COMPLETED]
        assert await ending == [State.COMPLETED]


async def test_a_hole_hides_nothing_that_was_logged_after_it(store: MongoStore) -> None:
    [one, _] = await added(store, a_draft("one"), a_draft("two"))
    cursor = await store.cursor("q")
    await _queues(store).allocate("q", events=3)
    await cancelled(store, one)
    batch = await store.events("q", cursor, wait=timedelta(seconds=20))
    assert batch.gap
    batch = await store.events("q", batch.cursor, wait=timedelta(0))
    assert [(event.job.job_id, event.job.state) for event in batch.events] == [("one", State.CANCELLED)]


async def test_a_hole_fails_no_bulk_action_and_hides_no_change_from_it(store: MongoStore) -> None:
    await added(store, a_draft("one", when=HOUR), a_draft("two", when=HOUR))
    order = await an_order(store, BulkVerb.PRIORITY, priority=9)
    assert order.moment is not None
    await _queues(store).allocate("q", events=3)
    await store.update("q", [UpdateJob("one", priority=1)])
    assert (await store.events("q", order.moment.cursor, wait=timedelta(seconds=20))).gap
    state = await acted(store, order)
    assert (state.done_jobs, state.changed) == (1, 1)
    assert (await read(store, "one")).spec.priority == 1


def _queues(store: MongoStore) -> QueueDocuments:
    return store._queues


async def _last_number(store: MongoStore) -> int:
    return (await _queues(store).numbers())["q"]
