"""Who won a race for a job is told from who lost it, though the winner's job has been changed again meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from contract.builders import MINUTE, a_draft, added, cancelled, good
from pymongo.database import Database
from support.eventually import until_async
from support.mongo_servers import MongoServer, order_fault
from support.mongo_stores import JOBS, opened
from tocsin_server.domain.changes import UpdateJob
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.store import MongoStore
from tocsin_server.store.mongo.transitions import lease


async def test_a_write_that_others_have_written_over_was_won_all_the_same(
    store: MongoStore, server: MongoServer, database: Database[dict[str, Any]]
) -> None:
    mine, theirs = await added(store, a_draft("mine"), a_draft("theirs"))
    async with opened(server.url) as other:
        read = await store._records.load("q", ["mine", "theirs"])
        for job in read.values():
            lease(job, MINUTE, b"12345678")
        [answer] = await other.update("q", [UpdateJob(theirs.job_id, priority=1)])
        assert good(answer).revision == 2

        # One of two is lost, so the writer looks which; it is held up until the one that it won is written over.
        order_fault(database.client, {"times": 1}, failCommands=["find"], blockConnection=True, blockTimeMS=1500)
        writing = asyncio.create_task(store._records.swap(list(read.values()), b"87654321"))

        async def leased() -> bool:
            found = await asyncio.to_thread(lambda: list(database[JOBS].aggregate([{"$match": {"id": "mine"}}])))
            return bool(found[0]["state"] == State.ACTIVE)

        await until_async(leased, within=5)
        await cancelled(other, mine)
        assert not writing.done(), "the writer was not held up, so nothing was tried"
        assert await writing == {"theirs"}
