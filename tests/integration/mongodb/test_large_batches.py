"""Calls of many jobs, and of large ones, go in parts: no command and no document of the log comes near 16 MiB."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from contract.builders import EARLIER, a_job, placed, wish
from pymongo.database import Database
from support.mongo_stores import JOBS
from support.mongo_trace import tracing
from tocsin_server.domain import limits
from tocsin_server.domain.job import Job, JobError
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.store import MongoStore


async def heard(store: MongoStore, cursor: str) -> list[tuple[str, State]]:
    """All changes since."""
    found: list[tuple[str, State]] = []
    while True:
        batch = await store.events("q", cursor, wait=timedelta(0))
        assert not batch.gap
        if not batch.events:
            return found
        found += [(event.job.job_id, event.job.state) for event in batch.events]
        cursor = batch.cursor


async def test_a_large_call_is_cut_and_every_change_is_heard(store: MongoStore) -> None:
    names = [f"{number:03}" for number in range(450)]
    await placed(store, *(a_job(name, State.SCHEDULED) for name in names))
    cursor = await store.cursor("q")
    with tracing() as trace:
        answers = await store.cancel("q", [wish(name) for name in names])
    assert [answer.state for answer in answers if isinstance(answer, Job)] == [State.CANCELLED] * 450
    writes = [one for one in trace.sent if (one.name, one.collection) == ("update", JOBS)]
    # What happens to many jobs alike is few statements.
    jobs = [[len(update["q"]["_id"]["$in"]) for update in one.command["updates"]] for one in writes]
    assert jobs == [[40] * 5, [40] * 5, [40, 10]]
    assert sorted(await heard(store, cursor)) == [(name, State.CANCELLED) for name in names]


async def test_changes_of_large_jobs_are_logged_in_documents_of_a_bounded_size(
    store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    error = JobError("E" * limits.ERROR_MESSAGE_BYTES, "m" * limits.ERROR_MESSAGE_BYTES, "", EARLIER, 1)
    names = [f"{number:03}" for number in range(150)]
    await placed(store, *(a_job(name, State.SCHEDULED, life={"errors": (error,) * 10}) for name in names))
    cursor = await store.cursor("q")
    await store.cancel("q", [wish(name) for name in names])
    sizes = [
        int(one["size"])
        for one in database[f"{JOBS}.events"].aggregate(
            [{"$match": {"first": {"$gt": 150}}}, {"$project": {"size": {"$bsonSize": "$$ROOT"}}}]
        )
    ]
    assert len(sizes) > 1
    assert max(sizes) < 1.1 * (1 << 20)
    assert sorted(await heard(store, cursor)) == [(name, State.CANCELLED) for name in names]
