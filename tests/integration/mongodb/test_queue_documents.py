"""A queue's own document, which each write of its jobs writes, stays small, whatever is set and however old it is."""

from __future__ import annotations

from typing import Any

from contract.builders import MINUTE, NOW, a_draft, added, claimed_one, completed, finished
from pymongo.database import Database
from support.eventually import until_async
from support.mongo_servers import MongoServer
from support.mongo_stores import JOBS, opened
from support.mongo_trace import tracing
from tocsin_server.domain.defaults import JobDefaults
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.mongo.store import MongoStore


def size(database: Database[dict[str, Any]]) -> int:
    [found] = database[f"{JOBS}.queues"].aggregate([{"$project": {"size": {"$bsonSize": "$$ROOT"}}}])
    return int(found["size"])


async def test_old_rates_are_swept_as_new_ones_come(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    await added(store, a_draft("a"))
    minute = int((await store.ping()).timestamp()) // 60
    old = {f"rates.{kind}{minute - ago}": 7 for kind in "cf" for ago in range(1, 61)}
    database[f"{JOBS}.queues"].update_one({"_id": "q"}, {"$set": old})
    assert size(database) > 1_500

    await finished(store, completed(await claimed_one(store)))

    async def swept() -> bool:
        return size(database) < 1_000

    await until_async(swept, within=5)
    assert (await store.figures("q")).completed_per_second > 7 * 5 / 360  # those that count are there


async def test_what_is_set_stands_elsewhere(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    await added(store, a_draft())
    types = {f"type-{number}": JobDefaults(timeout=MINUTE) for number in range(1_000)}
    await store.put_settings("q", QueueSettings(type_defaults=types), paused=False)
    assert (await store.settings(["q"]))[0].type_defaults == types
    assert size(database) < 1_000


async def test_what_was_set_for_a_queue_that_was_forgotten_is_of_no_effect(
    store: MongoStore, server: MongoServer, database: Database[dict[str, Any]]
) -> None:
    """Also where the server died before it had deleted that."""
    await store.put_settings("q", QueueSettings(completed_max=7), paused=True)
    stood = database[f"{JOBS}.settings"].find_one({"_id": "q"})
    assert stood is not None
    assert await store.forget("q")
    assert database[f"{JOBS}.settings"].find_one({"_id": "q"}) is None
    database[f"{JOBS}.settings"].insert_one(stood)
    await added(store, a_draft())
    async with opened(server.url) as other:
        assert await other.settings(["q"]) == [QueueSettings()]


async def test_a_change_that_was_numbered_and_not_set_is_set_by_its_repeat(
    store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    wanted = QueueSettings(completed_max=7)
    await store.put_settings("q", wanted, paused=False)
    database[f"{JOBS}.settings"].delete_one({"_id": "q"})  # its server died in between
    cursor = await store.cursor("q")
    await store.put_settings("q", wanted, paused=False)
    assert await store.settings(["q"]) == [wanted]
    assert await store.cursor("q") != cursor, "nobody hears of it"
    with tracing() as trace:
        await store.put_settings("q", wanted, paused=False)
    assert {one.name for one in trace.sent} == {"aggregate"}
    assert (await store.events("q", cursor, wait=NOW)).gap is False


async def test_queues_are_counted_once_while_nothing_is_heard_of_a_new_one(
    store: MongoStore, server: MongoServer
) -> None:
    async with opened(server.url) as other:
        await added(other, a_draft())
        wakes = store.wakes()
        assert (await anext(wakes)).missed  # it listens from now on
        assert await store.count_queues() == 1
        with tracing() as trace:
            assert [await store.count_queues() for _ in range(5)] == [1] * 5
        assert trace.names == []
        await added(other, a_draft(queue="new"))

        async def seen() -> bool:
            return await store.count_queues() == 2

        await until_async(seen, within=2)
        assert await store.forget("never")
        with tracing() as trace:
            await store.count_queues()
        assert trace.names == [f"count {JOBS}.queues"]
