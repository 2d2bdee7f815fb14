"""What a server's faults become: a write that was sent twice stands once, and errors say whether it may have acted.

The faults of a failover are ordered by fail points; a failover itself needs a real replica set, which is not had here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from contract.builders import (
    HOUR,
    MINUTE,
    a_draft,
    a_query,
    a_request,
    added,
    claimed_one,
    completed,
    finished,
    outcomes,
    read,
    standing,
    wish,
)
from contract.test_trouble import READS, WRITES
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import NotPrimaryError
from support.eventually import until_async
from support.mongo_servers import Document, MongoServer, fault, order_fault
from support.mongo_stores import JOBS, opened
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.domain.job import Added, Kept, New, OnConflict, View
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.store import MongoStore

ALL_WRITES = ["insert", "update", "findAndModify", "delete"]
ONCE = {"times": 1}


@pytest.fixture
def url(server: MongoServer) -> str:
    """An address whose clients look at once how the server is after an error.

    A mongod tells them when it is a primary again. SecantusDB does not: they would hear of it within 10 s only.
    """
    return server.address(serverMonitoringMode="poll")


@pytest.fixture
async def store(url: str) -> AsyncIterator[MongoStore]:
    async with opened(url) as store:
        yield store


@pytest.fixture
def no_faults(url: str) -> Iterator[Database[Document]]:
    """The database, in which no faults are ordered yet; those that are ordered are taken back at the end."""
    with MongoClient[Document](url) as client:
        yield client.get_default_database()
        client.admin.command("configureFailPoint", "failCommand", mode="off")


@contextmanager
def unchanged(database: Database[Document]) -> Iterator[None]:
    """Nothing that is stored may change meanwhile, but for the numbers taken: they are not given back."""
    counters = {"events": 0, "arrivals": 0, "taken": 0}

    def contents() -> dict[str, list[Document]]:
        return {
            name: list(database[name].find({}, counters))
            for name in database.list_collection_names()
            if name.split(".")[0] == JOBS
        }

    before = contents()
    yield
    assert contents() == before


async def states(store: MongoStore, after: str) -> list[tuple[str, State]]:
    """Each change since, in order."""
    batch = await store.events("q", after, wait=timedelta(seconds=5))
    assert not batch.gap
    return [(event.job.job_id, event.job.state) for event in batch.events]


@pytest.mark.parametrize("command", ["insert", "update", "findAndModify", "find", "aggregate"])
@pytest.mark.parametrize(
    "how",
    [{"closeConnection": True}, {"errorCode": 10107, "errorLabels": ["RetryableWriteError"]}],
    ids=["the connection is closed", "the primary steps down"],
)
async def test_a_command_that_fails_once_on_the_way_is_sent_again_and_stands_once(
    store: MongoStore, no_faults: Database[Document], command: str, how: Document
) -> None:
    client = no_faults.client
    start = await store.cursor("q")

    order_fault(client, ONCE, failCommands=[command], **how)
    await added(store, a_draft("a"))
    order_fault(client, ONCE, failCommands=[command], **how)
    one = await claimed_one(store)
    order_fault(client, ONCE, failCommands=[command], **how)
    assert await finished(store, completed(one, b"it")) == [State.COMPLETED]
    order_fault(client, ONCE, failCommands=[command], **how)
    job = await read(store, "a")

    client.admin.command("configureFailPoint", "failCommand", mode="off")
    assert (job.state, job.attempt, job.crashes, job.result, job.revision) == (State.COMPLETED, 1, 0, b"it", 3)
    assert no_faults[JOBS].count_documents({}) == 1
    assert await states(store, start) == [("a", State.WAITING), ("a", State.ACTIVE), ("a", State.COMPLETED)]
    assert (await store.figures("q")).counts == {State.COMPLETED: {"t": 1}}


async def test_a_deletion_that_fails_once_on_the_way_is_sent_again(
    store: MongoStore, no_faults: Database[Document]
) -> None:
    await standing(store, State.COMPLETED, "a")
    order_fault(no_faults.client, ONCE, failCommands=["delete"], closeConnection=True)
    assert await store.delete("q", ["a"]) == [None]
    assert (await store.page(a_query())).total == 0


#: What a mongod newer than 6.0 says of a command of which no write was performed.
NOTHING_DONE = ["RetryableWriteError", "NoWritesPerformed"]


@pytest.mark.parametrize("code", [91, 10107])
async def test_a_server_that_is_no_primary_and_did_nothing_is_store_away_and_nothing_has_changed(
    store: MongoStore, no_faults: Database[Document], code: int
) -> None:
    await standing(store, State.SCHEDULED, "a")
    running, lease = await standing(store, State.ACTIVE, "run")
    assert lease is not None
    refused = {"failCommands": ALL_WRITES, "errorCode": code, "errorLabels": NOTHING_DONE}
    with unchanged(no_faults), fault(no_faults.client, **refused):
        # One after another: a connection that another call's error closes would make an unknown outcome of this one.
        for call in (
            store.add([a_draft("b"), a_draft()]),
            store.add([a_draft(queue="new")]),
            store.cancel("q", [wish("a")]),
            store.delete("q", ["a"], ended_only=False),
            store.finish([completed(Claimed(running, lease))]),
        ):
            with pytest.raises(StoreAway):
                await call
    assert await outcomes(store, a_draft("b")) == [New]


async def test_numbers_of_a_write_that_may_have_acted_are_nobody_elses(
    store: MongoStore, no_faults: Database[Document]
) -> None:
    """A primary that steps down inside a command has done what came first. The job that stands must keep its number:
    two of one number are leased with one token. And the queue must keep its name, or nobody would claim the job."""
    for labels in (["RetryableWriteError"], NOTHING_DONE):
        with fault(no_faults.client, failCommands=["insert"], errorCode=11602, errorLabels=labels):
            with pytest.raises(StoreAway if labels is NOTHING_DONE else OutcomeUnknown):
                await store.add([a_draft("a"), a_draft("b")])
    assert await store.queues() == ["q"]
    [job] = await added(store, a_draft("c"))
    assert job.arrival == 5


@pytest.mark.parametrize("code", [6, 7, 89, 112, 262, 9001])
async def test_codes_that_no_list_of_ours_names_leave_the_outcome_of_a_write_unknown(
    store: MongoStore, no_faults: Database[Document], code: int
) -> None:
    """Else a job that has ended would run again: only what may have acted, or did not, is recorded once more."""
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    with fault(no_faults.client, failCommands=["update"], errorCode=code), pytest.raises(OutcomeUnknown):
        await store.finish([completed(one)])
    with fault(no_faults.client, failCommands=["aggregate"], errorCode=code), pytest.raises(StoreAway):
        await store.finish([completed(one)])
    assert await finished(store, completed(one)) == [State.COMPLETED]


async def test_a_log_that_fails_in_whatever_way_is_no_failure_of_the_call(
    store: MongoStore, no_faults: Database[Document]
) -> None:
    await added(store, a_draft("before"))  # the queue is made by an update, too
    with fault(no_faults.client, failCommands=["update"], errorCode=72):
        assert await outcomes(store, a_draft("a")) == [New]
    assert (await read(store, "a")).state is State.WAITING


@pytest.mark.parametrize("name", READS)
async def test_reads_of_a_server_that_is_no_primary_are_store_away(
    store: MongoStore, no_faults: Database[Document], name: str
) -> None:
    reads = ["find", "aggregate", "distinct", "count", "hello"]
    with fault(no_faults.client, failCommands=reads, errorCode=10107), pytest.raises(StoreAway):
        await READS[name](store)


async def test_writes_wait_for_no_one_while_the_server_steps_down(url: str, no_faults: Database[Document]) -> None:
    async with opened(url, select_within=timedelta(seconds=1)) as store:
        await added(store, a_draft("a"))
        no_faults.client.admin.command("replSetStepDown", 2, force=True)
        with pytest.raises(NotPrimaryError):
            await asyncio.to_thread(no_faults["other"].insert_one, {})
        with pytest.raises(OutcomeUnknown):  # it does not say NoWritesPerformed, as a mongod does
            await store.add([a_draft("b")])

        async def taken() -> bool:
            try:
                return (await outcomes(store, a_draft("b", on_conflict=OnConflict.KEEP))) == [New]
            except (StoreAway, OutcomeUnknown):
                return False

        await until_async(taken, within=10)
        assert (await store.page(a_query())).total == 2


NOT_YET_SAFE = {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out"}


@pytest.mark.parametrize(("command", "repeat"), [("insert", Kept), ("findAndModify", New)])
async def test_a_write_that_no_majority_confirmed_has_an_unknown_outcome_and_its_repeat_finds_it(
    store: MongoStore, no_faults: Database[Document], command: str, repeat: Added
) -> None:
    with fault(no_faults.client, failCommands=[command], writeConcernError=NOT_YET_SAFE):
        with pytest.raises(OutcomeUnknown):
            await store.add([a_draft("a")])
    assert await outcomes(store, a_draft("a", on_conflict=OnConflict.KEEP)) == [repeat]
    assert (await store.page(a_query())).total == 1


async def test_a_claim_that_no_majority_confirmed_brings_its_jobs_when_repeated(
    store: MongoStore, no_faults: Database[Document]
) -> None:
    await added(store, *(a_draft(f"{i}") for i in range(5)))
    request = a_request()

    async def claim(*, repeated: bool = False) -> list[str]:
        found = await store.claim("q", {"t": 3}, 3, lease=MINUTE, request=request, repeated=repeated)
        return [one.job.job_id for one in found.claimed]

    with fault(no_faults.client, failCommands=["update"], writeConcernError=NOT_YET_SAFE):
        with pytest.raises(OutcomeUnknown):
            await claim()
    assert await claim(repeated=True) == ["0", "1", "2"]
    assert (await store.figures("q")).counts == {State.WAITING: {"t": 2}, State.ACTIVE: {"t": 3}}


async def test_an_outcome_that_no_majority_confirmed_is_recorded_once(
    store: MongoStore, no_faults: Database[Document]
) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    with fault(no_faults.client, failCommands=["update"], writeConcernError=NOT_YET_SAFE):
        with pytest.raises(OutcomeUnknown):
            await store.finish([completed(one)])
    [again] = await store.finish([completed(one)])
    assert (again.state, again.repeated) == (State.COMPLETED, True)  # type: ignore[union-attr]  # it is no refusal
    assert (await read(store, "a")).revision == 3


async def test_an_answer_that_never_comes_is_an_unknown_outcome_for_writes_and_store_away_for_reads(
    url: str, no_faults: Database[Document]
) -> None:
    late: Document = {"blockConnection": True, "blockTimeMS": 1500}
    # In a collection of this test's own: what is late may come when the test is over.
    async with opened(url, "late", answer_within=timedelta(milliseconds=300)) as store:
        with fault(no_faults.client, failCommands=["insert"], **late), pytest.raises(OutcomeUnknown):
            await store.add([a_draft("a")])
        with fault(no_faults.client, failCommands=["find", "aggregate"], **late), pytest.raises(StoreAway):
            await store.get("q", ["a"], View.BASIC)
    async with opened(url, "late") as store:
        assert await outcomes(store, a_draft("a", on_conflict=OnConflict.KEEP)) in ([Kept], [New])
        assert (await store.page(a_query())).total == 1


@pytest.mark.parametrize("code", [14031])
async def test_a_full_disk_is_store_full_and_changes_nothing(
    store: MongoStore, no_faults: Database[Document], code: int
) -> None:
    await added(store, a_draft("a", when=HOUR))
    with unchanged(no_faults), fault(no_faults.client, failCommands=["insert"], errorCode=code):
        with pytest.raises(StoreFull):
            await store.add([a_draft(), a_draft("b")])


async def test_a_disk_that_is_full_inside_a_statement_of_many_jobs_leaves_the_outcome_unknown(
    store: MongoStore, no_faults: Database[Document]
) -> None:
    """What came first stands, and the server's answer does not say so."""
    await added(store, a_draft("a"), a_draft("b"))
    for names, refusal in ((["a"], StoreFull), (["a", "b"], OutcomeUnknown)):
        with fault(no_faults.client, failCommands=["update"], errorCode=14031), pytest.raises(refusal):
            await store.cancel("q", [wish(name) for name in names])


async def test_each_call_outlives_a_connection_that_is_closed_on_its_first_write(
    store: MongoStore, no_faults: Database[Document]
) -> None:
    await standing(store, State.SCHEDULED, "a")
    for call in WRITES.values():
        order_fault(no_faults.client, ONCE, failCommands=ALL_WRITES, closeConnection=True)
        await call(store)
