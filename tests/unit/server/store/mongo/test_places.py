"""Places of limits on MongoDB: what a server leaves that dies, or is slow, between a place and its lease."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from bson.int64 import Int64
from contract.builders import MINUTE, NOW, a_draft, a_request, added, claimed, completed, failed, finished, wish
from support.eventually import until_async
from support.mongo_backend import MongoBackend
from tocsin_server.domain.commands import HoldJob, ReleaseJob, UpdateJob
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document, new_document
from tocsin_server.store.mongo.places import LimitPlaces, place_of
from tocsin_server.store.mongo.store import MongoStore
from tocsin_server.store.mongo.transitions import Standing, lease

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

    async def next_ones() -> list[Claimed]:
        return await claimed(store)

    [one] = await until_async(next_ones, within=10, what="the stale place found")
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


async def test_stale_places_are_found_while_other_jobs_begin(store: MongoStore) -> None:
    """A key whose place a dead server left goes on, also where there is always something else to begin."""
    await store.put_settings("q", ONE, paused=False)
    await added(store, a_draft("stuck", conditions=Conditions("k")))
    slow = (await store._jobs.load("q", ["stuck"]))["stuck"]
    document = await store._places.read("q")
    assert document is not None
    assert await store._places.swap({**document, "held": [{**place_of(slow), "token": a_request()}]})
    begun: list[str] = []

    async def is_begun() -> bool:
        await added(store, a_draft(f"other {len(begun)}"))
        [one] = await claimed(store, 1)
        begun.append(one.job.job_id)
        return begun[-1] == "stuck"

    assert await until_async(is_begun, within=10, what="the stale place found")
    assert len(begun) > 1


async def test_a_retry_whose_attempt_was_taken_back_as_the_queue_was_paused_keeps_its_place(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put_settings("q", ONE, paused=False)
    await added(store, *(a_draft(f"{i}", conditions=Conditions("k")) for i in range(2)))
    [one] = await claimed(store)
    await finished(store, failed(one, retry_in=NOW))
    write = store._commit.write

    async def and_pause(*words: Any, **more: Any) -> set[str]:
        monkeypatch.setattr(store._commit, "write", write)
        lost = await write(*words, **more)
        await store.put_settings("q", ONE, paused=True)
        return lost

    monkeypatch.setattr(store._commit, "write", and_pause)
    assert (await store.claim("q", {"t": 9}, 9, lease=MINUTE, request=a_request())).claimed == ()
    await store.put_settings("q", ONE, paused=False)
    await store.update("q", [UpdateJob("0", when=MINUTE)])
    assert await claimed(store) == []
    [standing] = (await store._jobs.load("q", ["0"])).values()
    assert standing.document["attempt"] == 1


async def test_a_lease_that_is_taken_back_is_so_though_somebody_changes_the_job_meanwhile(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await added(store, a_draft("a"))
    held_up = store._queues.held_up
    load = store._jobs.load

    async def and_pause(queue: str) -> bool:
        await store.put_settings("q", QueueSettings(), paused=True)
        return await held_up(queue)

    async def and_cancel(queue: str, job_ids: Sequence[str]) -> Mapping[str, Standing]:
        monkeypatch.setattr(store._jobs, "load", load)
        found = await load(queue, job_ids)
        await store.cancel("q", [wish("a")])  # between the reading and the writing
        return found

    monkeypatch.setattr(store._queues, "held_up", and_pause)
    monkeypatch.setattr(store._jobs, "load", and_cancel)
    assert (await store.claim("q", {"t": 9}, 9, lease=MINUTE, request=a_request())).claimed == ()
    [standing] = (await load("q", ["a"])).values()
    assert standing.state is not State.ACTIVE


async def test_a_job_that_has_come_to_keep_a_place_is_not_replaced_by_one_command(store: MongoStore) -> None:
    await store.put_settings("q", ONE, paused=False)
    await added(store, a_draft("0", conditions=Conditions("k")))
    [one] = await claimed(store)
    await finished(store, failed(one, retry_in=NOW))
    new = new_document(a_draft("0", conditions=Conditions("other")), "0", 0, await store.ping())
    assert await store._jobs.replace(new, 1_000_000) is None


async def test_who_looks_for_stale_places_leaves_a_claim_that_is_under_way_alone(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else servers whose queue is full would take jobs from each other, twice a second each."""
    await store.put_settings("q", ONE, paused=False)
    await added(store, a_draft("0", conditions=Conditions("k")))
    swap = store._places.swap

    async def and_another_server_looks(document: Document) -> bool:
        monkeypatch.setattr(store._places, "swap", swap)
        done = await swap(document)
        places = await store._places.read("q")
        assert places is not None
        assert not await store._places.settle("q", places["held"])
        return done

    monkeypatch.setattr(store._places, "swap", and_another_server_looks)
    [one] = (await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())).claimed
    assert one.job.job_id == "0"
