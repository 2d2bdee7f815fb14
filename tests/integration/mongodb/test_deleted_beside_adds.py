"""A queue that is deleted while a job is being added to it: the job is acknowledged, so it is found and claimed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from contract.builders import HOUR, NOW, a_draft, added, claimed, read
from pymongo.database import Database
from support.eventually import until_async
from support.mongo_servers import MongoServer, order_fault
from support.mongo_stores import JOBS, opened
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.store import MongoStore


async def added_beside_a_deletion(
    store: MongoStore, server: MongoServer, database: Database[dict[str, Any]], when: timedelta
) -> None:
    """A job whose numbers are taken, and which is not written yet, when the queue is deleted."""
    async with opened(server.url) as other:
        order_fault(database.client, {"times": 1}, failCommands=["insert"], blockConnection=True, blockTimeMS=1500)
        adding = asyncio.create_task(added(store, a_draft("one", when=when)))

        async def numbered() -> bool:
            head = database[f"{JOBS}.queues"].find_one({"_id": "q"})
            return head is not None and bool(head.get("arrivals"))

        await until_async(numbered, within=5)
        assert await other.forget("q")
        assert not adding.done(), "the job was not held up, so nothing was tried"
        await adding


@pytest.mark.parametrize("when", [NOW, HOUR])
async def test_its_queue_is_there_again(
    store: MongoStore, server: MongoServer, database: Database[dict[str, Any]], when: timedelta
) -> None:
    await added_beside_a_deletion(store, server, database, when)
    assert await store.queues() == ["q"]
    [again] = await added(store, a_draft("two"))
    numbers = [document["arrival"] for document in database[JOBS].find({"queue": "q"})]
    assert again.arrival == max(numbers)
    assert len(set(numbers)) == 2


async def test_a_claim_brings_it(store: MongoStore, server: MongoServer, database: Database[dict[str, Any]]) -> None:
    await added_beside_a_deletion(store, server, database, NOW)
    assert [one.job.job_id for one in await claimed(store)] == ["one"]


async def test_a_claim_brings_the_jobs_of_a_queue_whose_document_is_lost(
    store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    await added(store, a_draft("due"), a_draft("soon", when=timedelta(milliseconds=1)))
    database[f"{JOBS}.queues"].delete_one({"_id": "q"})

    brought: set[str] = set()

    async def both() -> bool:
        brought.update([one.job.job_id for one in await claimed(store)])
        return brought == {"due", "soon"}

    await until_async(both, within=5)
    assert await store.queues() == ["q"]


async def test_a_promotion_names_the_queue_whose_document_is_lost(
    store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    await added(store, a_draft("soon", when=timedelta(milliseconds=1)))
    database[f"{JOBS}.queues"].delete_one({"_id": "q"})

    async def waiting() -> bool:
        await store.promote("q")
        return (await read(store, "soon")).state is State.WAITING

    await until_async(waiting, within=5)
    assert await store.queues() == ["q"]
