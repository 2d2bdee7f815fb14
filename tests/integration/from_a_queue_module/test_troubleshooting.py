"""Each trouble is brought about, and the page's lines find it or end it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.eventually import until
from support.mongo_servers import MongoServer
from support.ports import free_port
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client, InvalidArgument, RetryPolicy

from integration.from_a_queue_module.conftest import StartServer
from integration.from_a_queue_module.lines import Lines
from integration.from_a_queue_module.moved_times import backdated

CHRISTMAS = datetime(2099, 12, 24, 18, tzinfo=UTC)
ONCE = RetryPolicy(max_attempts=1)
IMAGE = {"path": "a.png"}
ADA = ["ada@example.com"]
#: A server or a doctor waits no longer for a store that does not answer.
HASTY = {"TOCSIN_STORE__ANSWER_WITHIN": "500ms"}
NOT_SERVING = 2
EXIT_NOT_SERVING = 4

on_redis = pytest.mark.parametrize("server", ["redis"], indirect=True)


@on_redis
def test_no_handler(lines: Lines, client: Client) -> None:
    client.schedule("send_fax")
    assert "no process runs jobs of type send_fax: start a server or a worker that has a handler for it" in lines.shell(
        exits=4
    )


@on_redis
def test_paused(lines: Lines, client: Client) -> None:
    client.pause(reason="new prices")
    client.schedule("resize_image", IMAGE, job_id="order-7")
    assert "the queue is paused (new prices) and 1 due job waits: resume it" in lines.shell(exits=4)
    lines.shell()
    assert client.wait("order-7", timeout=20).state == "COMPLETED"


@on_redis
def test_for_later(lines: Lines, client: Client) -> None:
    client.schedule("resize_image", IMAGE, at=CHRISTMAS, job_id="order-7")
    client.schedule("resize_image", IMAGE, at=CHRISTMAS + timedelta(days=1), job_id="order-8")
    listed = lines.shell()
    assert listed.index("order-7 resize_image SCHEDULED 2099-12-24T18:00:00.000Z") < listed.index("order-8")
    lines.shell()
    assert client.wait("order-7", timeout=20).state == "COMPLETED"


def test_redis_away(lines: Lines, tmp_path: Path, start: StartServer) -> None:
    port = free_port()
    said = lines.shell(exits=1, swap={"redis.internal:6379": f"127.0.0.1:{port}"}, env=HASTY)
    assert f"store.url redis://127.0.0.1:{port} REDIS_URL" in said
    assert f"MEND store: redis://127.0.0.1:{port}: the store cannot be reached" in said
    assert "Error 111 connecting" in said

    with RedisBackend(tmp_path / "redis") as redis:
        server = start(redis.url, **HASTY)
    server.wait_health(NOT_SERVING)
    assert lines.at(server.address).shell(exits=EXIT_NOT_SERVING) == "status: NOT_SERVING"


@pytest.fixture
def own_mongo(tmp_path: Path) -> Iterator[MongoServer]:
    """A server that speaks MongoDB's protocol, and that nobody else needs."""
    server = MongoServer(tmp_path / "mongo")
    yield server
    server.stop()


def test_mongodb_away(lines: Lines, own_mongo: MongoServer, start: StartServer) -> None:
    port = free_port()
    said = lines.shell(exits=1, swap={"mongo.internal:27017": f"127.0.0.1:{port}"}, env=HASTY)
    assert f"MEND store: mongodb://127.0.0.1:{port}/shop, collection agenda_jobs: the store cannot be reached" in said

    server = start(own_mongo.url, **HASTY)
    own_mongo.stop()
    server.wait_health(NOT_SERVING)
    assert lines.at(server.address).shell(exits=EXIT_NOT_SERVING) == "status: NOT_SERVING"


def test_tocsin_away(lines: Lines) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    said = lines.at(nobody).shell(exits=1)
    assert f"no server is reached at {nobody}: " in said
    assert "[UNAVAILABLE]" in said


def test_stuck_after_a_crash(lines: Lines, store: StoreBackend, start: StartServer) -> None:
    doomed = start(store, "--handlers", "myapp.jobs", TOCSIN_LEASE__DURATION="2s")
    with Client(doomed.address) as client:
        client.schedule("export_orders", {"pages": 3600}, job_id="order-7")
        until(lambda: client.count(states=["ACTIVE"]) == 1, within=20)
    doomed.kill()
    other = start(store, "--handlers", "myapp.jobs", TOCSIN_LEASE__DURATION="2s")
    lines.at(other.address)
    with Client(other.address) as client:
        again = until(lambda: now if (now := client.get("order-7")).attempt == 2 else None, within=30)
        assert again is not None
        assert (again.state, again.errors[-1].type, again.failures) == ("ACTIVE", "LEASE_EXPIRED", 0)
        assert lines.python() == 1
        client.cancel("order-7")
        client.wait("order-7", timeout=20)


@on_redis
def test_stuck_in_its_handler(lines: Lines, client: Client) -> None:
    client.schedule("export_orders", {"pages": 3600}, job_id="order-7")
    until(lambda: client.count(states=["ACTIVE"]) == 1, within=20)
    lines.shell()
    assert client.wait("order-7", timeout=20).state == "CANCELLED"
    lines.shell()
    assert client.schedule("export_orders", {"pages": 0}, delay=60).timeout == timedelta(hours=2)


@on_redis
def test_failed(lines: Lines, client: Client) -> None:
    client.wait(client.schedule("charge_card", {"amount": 4200}, retry=ONCE, job_id="order-7"), timeout=20)
    shown = lines.shell()
    assert "ValueError: no cover" in shown
    assert 'raise ValueError("no cover")' in shown
    assert lines.shell().startswith("due again order-7")
    assert client.wait("order-7", timeout=20).attempt == 2


def test_run_twice(lines: Lines, client: Client) -> None:
    assert lines.python() == "CREATED"
    assert lines.again().python() == "KEPT"
    assert client.wait("charge-7", timeout=20).attempt == 1
    assert client.count() == 1


@on_redis
def test_memory_grows(lines: Lines, server: Server, client: Client) -> None:
    ids = [client.wait(client.schedule("resize_image", IMAGE), timeout=20).job_id for _ in range(3)]
    assert "default 0 0 0 0 3 0 0" in lines.shell()
    lines.shell()
    kept = client.schedule("resize_image", IMAGE, delay=60).retention
    assert (kept.completed_for, kept.failed_for) == (timedelta(hours=1), timedelta(days=7))
    backdated(server, client, ids, hours=2)
    cleanup = client.wait(lines.shell().split()[1], timeout=20)
    assert isinstance(cleanup.result, dict)
    assert cleanup.result["deleted"] == 3


def test_moved_booking(lines: Lines, client: Client) -> None:
    old = client.schedule_booking_reminders("48", CHRISTMAS, email_to=ADA)
    moved = lines.python()
    assert {client.get(one.job_id).state for one in old.reminders} == {"CANCELLED"}
    standing = client.list(tags={"reminder": "booking/48"}, states=["SCHEDULED"])
    assert {job.schedule_time for job in standing} == {one.send_time for one in moved.reminders}
    assert moved.reminders[0].send_time == CHRISTMAS  # a day before the new time


def test_time_without_a_zone(lines: Lines, client: Client) -> None:
    with pytest.raises(InvalidArgument, match="a time without a zone"):
        lines.python()
    assert lines.python().schedule_time == datetime(2099, 12, 24, 17, tzinfo=UTC)


def test_hour_shown(lines: Lines, server: Server, client: Client) -> None:
    assert client.wait(lines.python(), timeout=20).state == "COMPLETED"
    [*_, newest] = sorted((server.folder / "mails").iterdir())
    assert "18:00" in newest.read_text()
