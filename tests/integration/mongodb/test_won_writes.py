"""Who won a race for a job is told from who lost it, though the winner's job has been changed again meanwhile, or made
anew under its id."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract.builders import HOUR, MINUTE, a_draft, added, cancelled, good, read
from pymongo.database import Database
from support.eventually import until_async
from support.mongo_servers import MongoServer, fault, order_fault
from support.mongo_stores import JOBS, opened
from tocsin_server.domain.changes import UpdateJob
from tocsin_server.domain.errors import OutcomeUnknown
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.store import MongoStore
from tocsin_server.store.mongo.transitions import lease


async def test_a_write_that_others_have_written_over_was_won_all_the_same(
    store: MongoStore, server: MongoServer, database: Database[dict[str, Any]]
) -> None:
    mine, theirs = await added(store, a_draft("mine"), a_draft("theirs"))
    async with opened(server.url) as other:
        read = await store._jobs.load("q", ["mine", "theirs"])
        for job in read.values():
            lease(job, MINUTE, b"12345678")
        [answer] = await other.update("q", [UpdateJob(theirs.job_id, priority=1)])
        assert good(answer).revision == 2

        # One of two is lost, so the writer looks which; it is held up until the one that it won is written over.
        order_fault(database.client, {"times": 1}, failCommands=["find"], blockConnection=True, blockTimeMS=1500)
        writing = asyncio.create_task(store._jobs.swap(list(read.values())))

        async def leased() -> bool:
            found = await asyncio.to_thread(lambda: list(database[JOBS].aggregate([{"$match": {"id": "mine"}}])))
            return bool(found[0]["state"] == State.ACTIVE)

        await until_async(leased, within=5)
        await cancelled(other, mine)
        assert not writing.done(), "the writer was not held up, so nothing was tried"
        assert await writing == {"theirs"}


async def test_where_it_cannot_be_read_who_won_the_outcome_is_unknown(
    store: MongoStore, server: MongoServer, database: Database[dict[str, Any]]
) -> None:
    """Not "nothing was sent": a claim would be made anew then, and what this one leased would run nowhere."""
    _, theirs = await added(store, a_draft("mine"), a_draft("theirs"))
    async with opened(server.url) as other:
        jobs = await store._jobs.load("q", ["mine", "theirs"])
        for job in jobs.values():
            lease(job, MINUTE, b"12345678")
        await other.update("q", [UpdateJob(theirs.job_id, priority=1)])
        with fault(database.client, failCommands=["find"], errorCode=13), pytest.raises(OutcomeUnknown):
            await store._jobs.swap(list(jobs.values()))
    assert (await read(store, "mine")).state is State.ACTIVE


async def test_a_job_that_was_made_anew_under_its_id_is_another_one(store: MongoStore, server: MongoServer) -> None:
    """Else tomorrow's job would be leased today, by whoever had read the one before it."""
    await added(store, a_draft("a"))
    jobs = await store._jobs.load("q", ["a"])
    lease(jobs["a"], MINUTE, b"12345678")
    async with opened(server.url) as other:
        await other.delete("q", ["a"], ended_only=False)
        [tomorrow] = await added(other, a_draft("a", when=HOUR))
    assert await store._jobs.swap(list(jobs.values())) == {"a"}
    assert await read(store, "a") == tomorrow
