"""JobStore.put in MongoDB: each of its writes is lost in turn, and numbers that two servers bring at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from contract.builders import NOW, a_job, a_query, placed
from support.eventually import until_async
from support.mongo_servers import MongoServer, fault
from support.mongo_stores import JOBS, opened
from support.mongo_wire import asks
from support.tcp_proxy import Fate, TcpProxy
from tocsin_server.domain.errors import OutcomeUnknown
from tocsin_server.domain.job import Put, View
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.store import MongoStore

WRITES = {
    "numbers": asks("findAndModify", f"{JOBS}.queues"),
    "jobs": asks("insert", JOBS),
    "jobs that stand": asks("update", JOBS),  # replaced, or kept and confirmed
    "log": asks("update", f"{JOBS}.events"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """One for a file's tests."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    yield server
    server.stop()


@pytest.fixture
def proxy(server: MongoServer) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
async def store(server: MongoServer, proxy: TcpProxy, tmp_path: Path) -> AsyncIterator[MongoStore]:
    """A store on an empty database, whose every word passes through the proxy."""
    with server.client() as client:
        client.drop_database(tmp_path.name)
    async with opened(f"mongodb://127.0.0.1:{proxy.port}/{tmp_path.name}?directConnection=true") as store:
        yield store


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("fate", [Fate.REPLY_LOST, Fate.CUT_BEFORE], ids=["reply lost", "not sent"])
@pytest.mark.parametrize("over", [False, True])
async def test_a_call_of_which_a_write_was_lost_is_repeated_and_places_nothing_twice(
    store: MongoStore, proxy: TcpProxy, write: str, fate: Fate, over: bool
) -> None:
    stood = [a_job(f"{n}", State.SCHEDULED, arrival=n + 1) for n in range(5)]
    await placed(store, *stood)
    jobs = [*(a_job(job.job_id, arrival=job.arrival) for job in stood), *(a_job(f"new {n}") for n in range(5))]
    # The driver sends a lost write once more by itself.
    lost = [proxy.order(WRITES[write], fate, skip=again) for again in range(2)]
    unknown = False
    try:
        await store.put(jobs, over=over)
    except OutcomeUnknown:
        unknown = True
    assert unknown is (write != "log")
    assert all(order.done.wait(5) for order in lost), "not all was lost that this is about"
    proxy.forget_orders()
    again = Put.SAME if over else Put.KEPT
    assert set(await placed(store, *jobs, over=over)) <= {again, Put.CREATED, Put.REPLACED}
    assert await placed(store, *jobs, over=over) == [again] * 10
    found = (await store.page(a_query(view=View.FULL))).jobs
    assert len({job.job_id for job in found}) == len({job.arrival for job in found}) == len(found) == 10
    assert {job.state for job in found if job.job_id.isdigit()} == {State.WAITING if over else State.SCHEDULED}


async def test_jobs_that_bring_the_same_numbers_at_once_part(server: MongoServer, tmp_path: Path) -> None:
    """One server has looked whose the numbers are, and is held up before it writes; the other writes meanwhile."""
    name = tmp_path.name
    url = f"mongodb://127.0.0.1:{server.port}/{name}?directConnection=true"
    async with opened(url) as one, opened(url) as other:
        await placed(one, a_job("first"))
        with (
            server.client() as client,
            fault(client, {"times": 1}, failCommands=["insert"], blockConnection=True, blockTimeMS=1_000),
        ):
            slow = asyncio.create_task(placed(one, *(a_job(f"slow {n}", arrival=50 + n) for n in range(9))))

            async def numbered() -> bool:
                head, _ = await other._queues.read("q")
                return head is not None and int(head["arrivals"]) >= 58

            await until_async(numbered, within=5)
            quick = [a_job(f"quick {n}", arrival=50 + n) for n in range(9)]
            assert await placed(other, *quick) == [Put.CREATED] * 9
            assert not slow.done(), "it was not held up, so nothing was tried"
            assert await slow == [Put.CREATED] * 9
        found = (await one.page(a_query())).jobs
        assert len({job.arrival for job in found}) == len(found) == 19
        assert await one.get("q", [job.job_id for job in quick], View.FULL) == quick
        batch = await one.events("q", f"{(await one.cursor('q')).partition('.')[0]}.0", wait=NOW)
        told = {event.job.job_id: event.job.arrival for event in batch.events}
        assert told == {job.job_id: job.arrival for job in found}
