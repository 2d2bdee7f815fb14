"""Places of limits on MongoDB: what a server leaves that dies, or is slow, between a place and its lease."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from bson.int64 import Int64
from contract.builders import MINUTE, NOW, a_draft, a_request, added, claimed, completed, failed, finished
from support.eventually import until_async
from support.mongo_backend import MongoBackend
from tocsin_server.domain.commands import HoldJob, ReleaseJob, UpdateJob
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.places import LimitPlaces, place_of
from tocsin_server.store.mongo.store import MongoStore
from tocsin_server.store.mongo.transitions import lease

ONE = QueueSettings(limits=(Limit("one", LimitScope.KEY, max_active=1),))


@pytest.fixture
async def store(mongo_database: MongoBackend) -> AsyncIterator[MongoStore]:
    connection = MongoConnection(mongo_database.url, answer_within=timedelta(seconds=30), max_connections=8)
    store = MongoStore(connection)
    await store.open()
    yield store
    await store.close()


async def test_a_place_without_its_lease_is_found_and_a_late_lease_is_refused(
    store: MongoStore,
) -> None:
    await store.put_settings("q", ONE, paused=False)
    await added(store, *(a_draft(f"{i}", conditions=Conditions("k")) for i in range(2)))
    places: LimitPlaces = store._places
    # A server has read job 0, has taken its place, and stands still.
    slow = (await store._jobs.load("q", ["0"]))["0"]
    document = await places.read("q")
    assert document is not None
    token = a_request()
    assert await places.swap({**document, "held": [{**place_of(slow), "token": token}]})

    assert (await store.claim("q", {"t": 9}, 9, lease=MINUTE, request=a_request())).more  # it was stale
    [one] = (await store.claim("q", {"t": 9}, 9, lease=MINUTE, request=a_request())).claimed
    assert one.job.job_id == "0"

    lease(slow, MINUTE, token)
    assert await store._commit.write("q", [slow]) == {"0"}  # it goes on, too late
    [standing] = (await store._jobs.load("q", ["0"])).values()
    assert standing.state is State.ACTIVE
    assert standing.document["token"] != token
    await finished(store, completed(one))
    assert [one.job.job_id for one in await claimed(store)] == ["1"]


async def test_a_place_whose_end_was_not_told_is_found(store: MongoStore) -> None:
    await store.put_settings("q", ONE, paused=False)
    await added(store, *(a_draft(f"{i}", conditions=Conditions("k")) for i in range(2)))
    [one] = await claimed(store)
    before = await store._places.read("q")
    await finished(store, completed(one))
    now = await store._places.read("q")
    assert before is not None
    assert now is not None
    assert await store._places.swap({**now, "held": before["held"], "version": Int64(now["version"])})

    async def next_ones() -> list[str]:
        return [found.job.job_id for found in await claimed(store)]

    assert await until_async(next_ones, within=10, what="the stale place found") == ["1"]


async def test_a_place_that_waits_for_a_retry_and_was_not_told_so_is_found(store: MongoStore) -> None:
    await store.put_settings("q", ONE, paused=False)
    await added(store, *(a_draft(f"{i}", conditions=Conditions("k")) for i in range(2)))
    [one] = await claimed(store)
    before = await store._places.read("q")
    await finished(store, failed(one, retry_in=NOW))
    now = await store._places.read("q")
    assert before is not None
    assert now is not None
    # The server died after it had written the job, before it told the place.
    assert await store._places.swap({**now, "held": before["held"]})

    async def next_ones() -> list[str]:
        return [found.job.job_id for found in await claimed(store)]

    assert await until_async(next_ones, within=10, what="the place that waits found") == ["0"]


async def test_a_retry_that_was_about_to_be_leased_has_its_place_back(store: MongoStore) -> None:
    await store.put_settings("q", ONE, paused=False)
    await added(store, a_draft("0", conditions=Conditions("k")), a_draft("1", conditions=Conditions("k"), priority=9))
    one = (await store.claim("q", {"t": 9}, 1, lease=MINUTE, request=a_request())).claimed[0]
    assert one.job.job_id == "1"
    await finished(store, failed(one, retry_in=NOW))
    await store.update("q", [UpdateJob("1", priority=-9)])  # so that only its place lets it begin before the other one
    slow = (await store._jobs.load("q", ["1"]))["1"]
    document = await store._places.read("q")
    assert document is not None
    # A server has taken its place for the next attempt, and dies.
    assert await store._places.swap({**document, "held": [{**place_of(slow), "token": a_request()}]})

    async def next_ones() -> list[str]:
        return [found.job.job_id for found in await claimed(store)]

    assert await until_async(next_ones, within=10, what="the place found") == ["1"]


async def test_a_retry_whose_lease_was_lost_to_a_change_keeps_its_place(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put_settings("q", ONE, paused=False)
    await added(store, *(a_draft(f"{i}", conditions=Conditions("k")) for i in range(2)))
    [one] = await claimed(store)
    await finished(store, failed(one, retry_in=NOW))
    swap = store._places.swap

    async def and_somebody_holds_the_job(document: Document) -> bool:
        monkeypatch.setattr(store._places, "swap", swap)
        done = await swap(document)
        await store.update("q", [HoldJob("0")])
        return done

    monkeypatch.setattr(store._places, "swap", and_somebody_holds_the_job)
    assert await claimed(store) == []
    assert await claimed(store) == []
    await store.update("q", [ReleaseJob("0")])
    assert [one.job.job_id for one in await claimed(store)] == ["0"]
