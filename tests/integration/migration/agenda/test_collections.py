"""Collections in which anything may stand, large ones, and those that are not there. No Node is needed."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.objectid import ObjectId
from support.mongo_servers import MongoServer, fault
from support.mongo_wire import command_of
from support.ports import free_port
from support.tcp_proxy import Fate, TcpProxy
from tocsin_server.migrate.systems.agenda.reader import open_agenda
from tocsin_server.migrate.systems.foreign import Choices, SourceAway, Verdict

from integration.migration.agenda.conftest import DROPPED_BY_THE_DRIVER, Database, read

pytestmark = DROPPED_BY_THE_DRIVER

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=1)
PASSWORD = "p@ss/wörd:1 %41"
MIB = 1 << 20


def a_document(**fields: Any) -> dict[str, Any]:
    return {"_id": ObjectId(), "name": "send email", "data": {"n": 1}, "nextRunAt": LATER, "priority": 0, **fields}


@contextmanager
def faulty(database: Database, mode: str | dict[str, Any], command: str, code: int) -> Iterator[None]:
    """Meanwhile the command fails for who migrates, and for nobody else who uses the server of all tests."""
    with database.server.client() as client:
        with fault(client, mode, failCommands=[command], errorCode=code, appName="tocsin migrate"):
            yield


async def test_hostile_documents_are_named_and_the_rest_is_taken(database: Database) -> None:
    documents = [
        a_document(),
        a_document(name=["send", "email"]),
        a_document(name={"$ref": "a", "$id": 1}),
        a_document(nextRunAt="tomorrow"),
        a_document(lockedAt="yes"),
        a_document(name=None),
        {"_id": "default/x", "queue": "default", "state": 1},
        {"_id": 7},
        a_document(data={"text": "x" * 200_000}),
        a_document(data={"text": "x" * MIB}),
        a_document(priority="high", failCount="x", progress=[1]),
    ]
    database.insert(*documents)
    found = {one.source_id: one for one in await read(database.url)}
    verdicts = [found[str(one["_id"])].verdict for one in documents]
    taken, refused = Verdict.CHANGED, Verdict.REFUSED
    assert verdicts == [taken, *[refused] * 7, taken, refused, taken]
    assert all(one.why for one in found.values())
    assert {one.job.spec.type for one in found.values() if one.job is not None} == {"send_email"}


async def test_two_names_of_one_collection_do_not_fall_together(database: Database) -> None:
    names = ["send email", "send_email", "send/email", "send-email"]
    database.insert(*(a_document(name=name) for name in names))
    types = {one.job.spec.type for one in await read(database.url) if one.job is not None}
    assert len(types) == 4
    assert {"send_email", "send-email"} < types


async def test_jobs_come_by_time_then_priority_then_age(database: Database) -> None:
    ids = [ObjectId() for _ in range(4)]
    database.insert(
        a_document(_id=ids[3], nextRunAt=LATER + timedelta(seconds=1), priority=20),
        a_document(_id=ids[2]),
        a_document(_id=ids[1]),
        a_document(_id=ids[0], priority=10),
    )
    assert [one.source_id for one in await read(database.url)] == [str(one) for one in ids]


async def test_jobs_come_by_age_where_the_server_cannot_sort_so_many(database: Database) -> None:
    ids = [ObjectId() for _ in range(3)]
    database.insert(*(a_document(_id=one, nextRunAt=LATER - timedelta(hours=at)) for at, one in enumerate(ids)))
    the_sorting = {"skip": 1, "times": 1}  # the names come first
    with faulty(database, the_sorting, "aggregate", 292):
        assert [one.source_id for one in await read(database.url)] == [str(one) for one in ids]
    assert [one.source_id for one in await read(database.url)] == [str(one) for one in reversed(ids)]


async def test_names_are_told_apart_here_where_the_server_cannot_group_so_many(database: Database) -> None:
    names = ["send email", "send_email", "send email", "mail", "mail"]
    database.insert(*(a_document(name=name) for name in names))
    with faulty(database, {"times": 1}, "aggregate", 292):  # they are asked first
        found = await read(database.url)
    types = Counter(one.job.spec.type for one in found if one.job is not None)
    assert types == Counter(one.job.spec.type for one in await read(database.url) if one.job is not None)
    assert sorted(types.values()) == [1, 2, 2]


async def test_nothing_but_questions_is_sent(database: Database) -> None:
    database.insert(*(a_document() for _ in range(1200)))
    before = database.everything()
    heard: Counter[str] = Counter()

    def hear(piece: bytes) -> bool:
        if command := command_of(piece):
            heard[next(iter(command))] += 1
            stages = {name for stage in command.get("pipeline", ()) for name in stage}
            assert stages <= {"$match", "$group", "$limit", "$sort"}
        return False  # let it pass

    with TcpProxy("127.0.0.1", database.server.port) as proxy:
        proxy.order(hear, Fate.HELD)
        assert len(await read(database.url_at(proxy.port))) == 1200
    assert heard["aggregate"] == 2
    assert heard["getMore"] >= 5  # 200 documents each
    assert set(heard) <= {"hello", "isMaster", "ismaster", "listCollections", "aggregate", "getMore", "endSessions"}
    assert database.everything() == before


async def test_memory_is_bounded(database: Database) -> None:
    for _ in range(10):
        database.insert(*(a_document(data={"text": "x" * 20_000}) for _ in range(200)))
    tracemalloc.start()
    try:
        taken = 0
        async with open_agenda(database.url, Choices()) as queue, aclosing(queue.read()) as found:  # type: ignore[type-var]
            async for one in found:
                taken += one.job is not None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken == 2000  # 40 MB
    assert peak < 20 * MIB


async def test_a_reading_that_is_given_up_leaves_no_cursor(database: Database) -> None:
    database.insert(*(a_document() for _ in range(1200)))
    heard: Counter[str] = Counter()

    def hear(piece: bytes) -> bool:
        heard.update(list(command_of(piece))[:1])
        return False

    with TcpProxy("127.0.0.1", database.server.port) as proxy:
        proxy.order(hear, Fate.HELD)
        async with open_agenda(database.url_at(proxy.port), Choices()) as queue, aclosing(queue.read()) as found:  # type: ignore[type-var]
            assert (await anext(found)).job is not None
    assert heard["killCursors"] == 1


# --- sources that cannot be read ---


async def away(url: str, collection: str = "agendaJobs") -> str:
    """What is said, in one line."""
    with pytest.raises(SourceAway) as refused:
        await read(url, collection=collection)
    line = str(refused.value)
    assert "\n" not in line
    assert len(line) < 500
    for secret in (PASSWORD, "p%40ss", "s3cret"):
        assert secret not in line
    return line


async def test_a_collection_that_is_not_there_is_told_with_those_that_are(database: Database) -> None:
    database.insert(a_document(), collection="jobs")
    line = await away(database.url)
    assert database.name in line
    assert "'agendaJobs'" in line
    assert "--source-collection" in line
    assert "jobs" in line.partition("there:")[2]


async def test_an_address_without_a_database_means_the_drivers_own(database: Database) -> None:
    line = await away(f"mongodb://127.0.0.1:{database.server.port}/?directConnection=true")
    assert "'test'" in line


async def test_an_address_may_lack_its_scheme_as_with_agenda(database: Database) -> None:
    database.insert(a_document())
    assert len(await read(database.url.removeprefix("mongodb://"))) == 1


async def test_an_empty_collection_has_no_jobs(database: Database) -> None:
    with database.server.client() as client:
        client[database.name].create_collection("agendaJobs")
    assert await read(database.url) == []


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://ada:s3cret@",
        "mongodb://ada:s3cret@host:port/app",
        "mongodb://ada:s3cret@localhost/app?tls=perhaps",
        "mongodb://localhost/app?tls=true&tlsCAFile=/nowhere/ca.pem",
        "redis://localhost",
        "",
    ],
)
async def test_an_address_that_cannot_be_used_is_told(url: str) -> None:
    assert "cannot be read" in await away(url)


@pytest.mark.parametrize("collection", ["", "a..b", "$jobs", ".jobs"])
async def test_a_collection_that_cannot_be_one_is_told(database: Database, collection: str) -> None:
    assert "cannot be read" in await away(database.url, collection)


async def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin_server.migrate.systems.agenda.source._SELECT_MS", 300)
    port = free_port()
    assert f"127.0.0.1:{port}" in await away(f"mongodb://ada:s3cret@127.0.0.1:{port}/app")


async def test_what_the_driver_says_does_not_show_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin_server.migrate.systems.agenda.source._SELECT_MS", 300)
    line = await away(f"mongodb://ada:127.0.0.1@127.0.0.1:{free_port()}/app")  # a password that the driver's line holds
    assert "127.0.0.1" not in line
    assert "***" in line


@pytest.fixture
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """One that lets nobody in without a login; the user may read, and nothing else."""
    server = MongoServer(tmp_path_factory.mktemp("locked"))
    database = Database(server, "tests")
    database.insert(a_document())
    server.lock({"ada": PASSWORD}, roles=["read"])
    yield server
    server.stop()


async def test_a_user_who_may_only_read_is_enough_and_a_wrong_password_is_told(locked_server: MongoServer) -> None:
    assert len(await read(locked_server.url)) == 1
    line = await away(locked_server.address(login=("ada", "wr0ng-s3cret")))
    assert "authentication failed" in line.lower()


@pytest.mark.parametrize("command", ["listCollections", "aggregate", "getMore"])
async def test_a_server_that_fails_on_the_way_is_told(database: Database, command: str) -> None:
    database.insert(*(a_document() for _ in range(1200)))
    with faulty(database, "alwaysOn", command, 13):
        assert "cannot be read" in await away(database.url)
    assert len(await read(database.url)) == 1200


@pytest.mark.parametrize("queue", ["", "a b", "x" * 101, "mail\n"])
async def test_a_queue_that_cannot_be_one_is_told(database: Database, queue: str) -> None:
    database.insert(a_document())
    with pytest.raises(SourceAway, match="cannot be a queue"):
        await read(database.url, queue=queue)
