"""Who may do what, and what is said to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.mongo_servers import DATABASE, MongoServer
from support.redis_backend import RedisBackend
from support.redis_topologies import MISSING_TLS, OPENSSL, Authority, TlsRedis
from support.servers import Server
from tocsin import Client, JobRequest, RetryPolicy, Tls, Unavailable, __version__

from integration.from_a_queue_module.conftest import StartServer
from integration.from_a_queue_module.lines import Lines
from integration.topologies.acl import documented

PASSWORD = "s3cret-pw"
PLANTED = "planted-in-a-payload"
ONCE = RetryPolicy(max_attempts=1)


def run_one(server: Server) -> None:
    """See one job scheduled, run and read; nothing of the password was said."""
    with Client(server.address) as client:
        assert client.wait(client.schedule("resize_image", {"path": "a.png"}), timeout=20).result == {"bytes": 5}
    assert PASSWORD not in server.said(100_000)


def test_redis_user(lines: Lines, redis: RedisBackend, start: StartServer) -> None:
    redis.client.execute_command(*documented(PASSWORD))
    redis.client.execute_command("ACL", "SETUSER", "default", "resetpass")
    env = lines.variables({"PASSWORD": PASSWORD, "redis.internal:6379": f"127.0.0.1:{redis.port}"})
    run_one(start(env["REDIS_URL"], "--handlers", "myapp.jobs"))
    assert redis.client.execute_command("ACL", "LOG") == [], "something was denied"


@pytest.fixture
def locked_mongo(tmp_path: Path) -> Iterator[MongoServer]:
    """Lets nobody in but the user of the page."""
    server = MongoServer(tmp_path / "mongo")
    server.lock({"tocsin": PASSWORD})
    yield server
    server.stop()


def test_mongodb_user(lines: Lines, locked_mongo: MongoServer, start: StartServer) -> None:
    address = {"PASSWORD": PASSWORD, "mongo.internal:27017/shop": f"127.0.0.1:{locked_mongo.port}/{DATABASE}"}
    run_one(start(lines.variables(address)["MONGODB_URL"], "--handlers", "myapp.jobs"))


@pytest.fixture
def redis_tls(tmp_path: Path) -> Iterator[TlsRedis]:
    """Takes TLS alone, asks for a certificate, and lets in the user of docs/redis.md."""
    if MISSING_TLS:
        pytest.skip(MISSING_TLS)
    redis = TlsRedis(tmp_path / "redis")
    redis.admin.execute_command(*documented(PASSWORD))
    redis.lock()
    yield redis
    redis.stop()


def test_redis_tls(lines: Lines, redis_tls: TlsRedis, start: StartServer) -> None:
    own = redis_tls.client_certificate
    there = {
        "PASSWORD": PASSWORD,
        "redis.internal:6380": f"127.0.0.1:{redis_tls.port}",
        "=ca.pem": f"={redis_tls.authority.certificate}",
        "=client.pem": f"={own.certificate}",
        "=client.key": f"={own.key}",
    }
    run_one(start(lines.variables(there)["REDIS_URL"], "--handlers", "myapp.jobs"))


@pytest.fixture
def mongo_tls(tmp_path: Path) -> Iterator[MongoServer]:
    """Takes TLS alone, from clients whose certificate its authority has signed."""
    if OPENSSL is None:
        pytest.skip("openssl is not on PATH")
    (tmp_path / "ca").mkdir()
    server = MongoServer(tmp_path / "mongo", tls=Authority(tmp_path / "ca"))
    yield server
    server.stop()


def test_mongodb_tls(lines: Lines, mongo_tls: MongoServer, start: StartServer, tmp_path: Path) -> None:
    there = {
        "mongo.internal:27017/shop": f"127.0.0.1:{mongo_tls.port}/{DATABASE}",
        "=ca.pem": f"={tmp_path / 'ca/ca.pem'}",
        "=client.both.pem": f"={tmp_path / 'ca/client.both.pem'}",
    }
    assert mongo_tls.url  # writes the client's certificate
    run_one(start(lines.variables(there)["MONGODB_URL"], "--handlers", "myapp.jobs"))


def test_no_payload_in_the_log(lines: Lines, redis: RedisBackend, start: StartServer) -> None:
    server = start(redis, "--handlers", "myapp.jobs", "--handlers", "support.jobs.everyday", **lines.variables())
    with Client(server.address) as client:
        wanted = [
            JobRequest("resize_image", {"path": PLANTED}),
            JobRequest("resize_image", PLANTED.encode()),
            JobRequest("resize_image", {PLANTED: 1}, retry=ONCE),
            JobRequest("charge_card", {"amount": PLANTED}, retry=ONCE),
            JobRequest("echo", {"said": PLANTED}),
            JobRequest("fails", retry=ONCE),
        ]
        ended = [client.wait(job, timeout=20) for job in client.schedule_many(wanted) if not isinstance(job, Exception)]
        assert [job.state for job in ended] == ["COMPLETED", *["FAILED"] * 3, "COMPLETED", "FAILED"]
        assert (ended[4].result, ended[5].errors[-1].message) == ({"said": PLANTED}, "this job always fails")
    assert server.stop() == 0
    said = server.said(1_000_000)
    assert '"level": "debug"' in said
    assert PLANTED not in said
    assert "this job always fails" not in said


def test_no_secret_is_shown(lines: Lines) -> None:
    said = lines.shell(exits=1, swap={"PASSWORD": PASSWORD, "redis.internal:6379": "127.0.0.1:1"})
    assert "store.url redis://tocsin:***@127.0.0.1:1/0 REDIS_URL" in said
    assert "MEND store: redis://tocsin:***@127.0.0.1:1/0: " in said
    assert PASSWORD not in said


def test_loopback(lines: Lines) -> None:
    assert "listen 127.0.0.1:50051 default" in lines.shell()


@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")  # one line, and the program is at its end
def test_no_login_by_default(lines: Lines, redis: RedisBackend, start: StartServer) -> None:
    server = start(redis, "--no-dispatch")
    assert lines.at(server.address).python() == __version__
    with Client(server.address, tls=Tls(), retries=False) as client, pytest.raises(Unavailable):
        client.server_info()
