"""Nothing happens before its time by the server's clock.

SecantusDB finds a `$$NOW` that is compared as it is equal to every date: a query that does so starts jobs a year early.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from contract.backdating import MongoBackdate
from contract.builders import HOUR, YEAR, a_draft, added, claimed, claimed_one, completed, finished, read, standing
from pymongo.database import Database
from support.mongo_stores import JOBS
from tocsin_server.domain.job import Retention
from tocsin_server.domain.queues import WorkerFigures
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.store import MongoStore


@pytest.fixture
def backdate(database: Database[dict[str, Any]]) -> MongoBackdate:
    return MongoBackdate(database[JOBS])


async def test_a_job_a_year_ahead_is_neither_leased_nor_made_waiting(
    store: MongoStore, backdate: MongoBackdate
) -> None:
    far, near = await added(store, a_draft("far", when=YEAR), a_draft("near", when=YEAR))
    backdate.due(near, by=YEAR + HOUR)

    assert [one.job.job_id for one in await claimed(store)] == ["near"]

    assert await read(store, "far") == far
    assert far.state is State.SCHEDULED
    after = (await store.ticks(["q"]))["q"]
    assert after.next_due == far.schedule_time
    assert await claimed(store) == []
    assert (await store.ticks(["q"]))["q"].wakes == after.wakes
    assert await read(store, "far") == far
    assert (await store.figures("q")).oldest_waiting is None


async def test_a_lease_is_not_taken_back_before_its_end(store: MongoStore, backdate: MongoBackdate) -> None:
    await added(store, a_draft("a"), a_draft("b"))
    kept, lost = await claimed_one(store, lease=12 * HOUR), await claimed_one(store, lease=12 * HOUR)
    assert len(await store.reap("q")) == 0
    backdate.lease(lost.job, by=13 * HOUR)
    assert len(await store.reap("q")) == 1
    assert (await read(store, kept)).state is State.ACTIVE
    assert await finished(store, completed(kept)) == [State.COMPLETED]


async def test_an_ended_job_is_not_forgotten_before_its_time(store: MongoStore, backdate: MongoBackdate) -> None:
    long = Retention(YEAR, YEAR)
    kept, _ = await standing(store, State.COMPLETED, "kept", retention=long)
    gone, _ = await standing(store, State.COMPLETED, "gone", retention=long)
    assert await store.trim("q", completed_max=9, failed_max=9) == 0
    backdate.end(gone, by=YEAR + HOUR)
    assert await store.trim("q", completed_max=9, failed_max=9) == 1
    assert (await read(store, "kept")).end_time == kept.end_time


async def test_what_ended_just_now_is_spared_by_the_count(store: MongoStore, backdate: MongoBackdate) -> None:
    await standing(store, State.COMPLETED, "new")
    old, _ = await standing(store, State.COMPLETED, "old")
    backdate.end(old, by=HOUR)
    assert await store.trim("q", completed_max=0, failed_max=0) == 1
    assert (await read(store, "new")).state is State.COMPLETED


async def test_a_workers_word_is_good_until_its_end_and_no_longer(store: MongoStore) -> None:
    await store.announce([WorkerFigures("long", ("t",), 1, 0, 0)], "long", YEAR)
    await store.announce([WorkerFigures("short", ("t",), 1, 0, 0)], "short", timedelta(milliseconds=1))
    await store.ping()
    names = [worker.worker for worker in await store.workers()]
    while "short" in names:
        names = [worker.worker for worker in await store.workers()]
    assert names == ["long"]
