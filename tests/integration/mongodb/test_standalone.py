"""A server without change streams and without retryable writes: messages come by looking, lost answers are said."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from contract.builders import HOUR, MINUTE, SECOND, a_draft, a_query, added, claimed_one, completed, finished, outcomes
from support.mongo_servers import MongoServer
from support.mongo_stores import opened
from tocsin_server.domain.errors import OutcomeUnknown
from tocsin_server.domain.job import Kept, New, OnConflict
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import Wake
from tocsin_server.store.mongo.store import MongoStore

SOON = 1.0  # seconds: the slowest look is every 0.5 s


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    server = MongoServer(tmp_path_factory.mktemp("mongo"), standalone=True)
    yield server
    server.stop()


@pytest.fixture
async def stores(standalone: MongoServer) -> AsyncIterator[tuple[MongoStore, MongoStore]]:
    """Two of them, as two servers have them, on an empty database."""
    with standalone.client() as client:
        client.drop_database("tests")
    async with opened(standalone.url) as one, opened(standalone.url) as other:
        yield one, other


async def test_it_is_told_that_it_should_be_a_replica_set(stores: tuple[MongoStore, MongoStore]) -> None:
    [warning] = stores[0].warnings
    assert "standalone" in warning
    assert "replica set" in warning
    assert "\n" not in warning


@contextlib.asynccontextmanager
async def hearing(store: MongoStore) -> AsyncIterator[asyncio.Queue[tuple[float, Wake]]]:
    """Messages with the times of their coming, from the first that a nudge brings on."""
    heard: asyncio.Queue[tuple[float, Wake]] = asyncio.Queue()

    async def listen() -> None:
        async for wake in store.wakes():
            heard.put_nowait((time.monotonic(), wake))

    task = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(10):
            number = 0
            while heard.empty():
                number += 1
                await store.put_settings("nudge", QueueSettings(completed_max=number), paused=False)
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_another_servers_jobs_are_heard_within_a_second(stores: tuple[MongoStore, MongoStore]) -> None:
    one, other = stores
    async with hearing(other) as heard:
        for _ in range(5):
            began = time.monotonic()
            await added(one, a_draft())
            async with asyncio.timeout(10):
                while (message := await heard.get())[1] != Wake("q", None):
                    pass
            assert message[0] - began < SOON


async def test_watchers_see_another_servers_changes_within_a_second_and_in_order(
    stores: tuple[MongoStore, MongoStore],
) -> None:
    one, other = stores
    cursor = await other.cursor("q")
    seen: list[tuple[str, State]] = []
    for number in range(5):
        watching = asyncio.create_task(other.events("q", cursor, wait=10 * SECOND))
        began = time.monotonic()
        await added(one, a_draft(f"{number}"))
        batch = await watching
        assert time.monotonic() - began < SOON
        assert not batch.gap
        cursor = batch.cursor
        seen += [(event.job.job_id, event.job.state) for event in batch.events]
    await finished(one, completed(await claimed_one(one)))
    batch = await other.events("q", cursor, wait=10 * SECOND)
    while len(seen) + len(batch.events) < 7:
        batch_after = await other.events("q", batch.cursor, wait=10 * SECOND)
        seen += [(event.job.job_id, event.job.state) for event in batch.events]
        batch = batch_after
    seen += [(event.job.job_id, event.job.state) for event in batch.events]
    assert seen == [*((f"{n}", State.WAITING) for n in range(5)), ("0", State.ACTIVE), ("0", State.COMPLETED)]


async def test_waiting_for_changes_that_do_not_come_ends_in_time(stores: tuple[MongoStore, MongoStore]) -> None:
    cursor = await stores[0].cursor("q")
    began = time.monotonic()
    batch = await stores[0].events("q", cursor, wait=timedelta(milliseconds=300))
    assert (batch.events, batch.gap) == ((), False)
    assert 0.25 < time.monotonic() - began < 2


async def test_a_lost_connection_is_an_unknown_outcome_and_the_repeat_finds_one_job(
    stores: tuple[MongoStore, MongoStore], standalone: MongoServer
) -> None:
    """Without a replica set the driver sends no write twice."""
    store, _ = stores
    for command in ("findAndModify", "insert"):
        standalone.fail({"times": 1}, failCommands=[command], closeConnection=True)
        with pytest.raises(OutcomeUnknown):
            await store.add([a_draft("a", when=HOUR)])
    assert (await outcomes(store, a_draft("a", on_conflict=OnConflict.KEEP)))[0] in (Kept, New)
    assert (await store.page(a_query())).total == 1


async def test_a_lost_connection_in_a_claim_loses_no_job(
    stores: tuple[MongoStore, MongoStore], standalone: MongoServer
) -> None:
    store, _ = stores
    await added(store, a_draft("a"))
    standalone.fail({"times": 1}, failCommands=["update"], closeConnection=True)
    with pytest.raises(OutcomeUnknown):
        await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=b"12345678")
    found = await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=b"12345678", repeated=True)
    assert [one.job.job_id for one in found.claimed] == ["a"]
    assert found.claimed[0].job.attempt == 1
