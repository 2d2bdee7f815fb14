"""A store that answers and is not what it was: it takes no writes, keeps less than it did, or is busy with others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2
from redis import Redis
from redis.exceptions import RedisError
from support.eventually import until
from support.ports import free_port
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client, ResourceExhausted, Unavailable
from tocsin.queues import Durability

StartServer = Callable[..., Server]

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisBackend]:
    options = ("--appendonly", "yes", "--enable-protected-configs", "yes", "--busy-reply-threshold", "100")
    with RedisBackend(tmp_path / "redis", *options) as redis:
        yield redis


def replica(redis: RedisBackend, _: Path) -> Callable[[], object]:
    redis.client.replicaof("127.0.0.1", free_port())
    redis.client.config_set("replica-serve-stale-data", "yes")
    return lambda: redis.client.replicaof("NO", "ONE")


def lonely(redis: RedisBackend, _: Path) -> Callable[[], object]:
    redis.client.config_set("min-replicas-to-write", 1)
    return lambda: redis.client.config_set("min-replicas-to-write", 0)


def full_disk(redis: RedisBackend, folder: Path) -> Callable[[], object]:
    gone = folder / "gone"
    gone.mkdir()
    home = redis.client.config_get("dir")["dir"]
    redis.client.config_set("save", "3600 1")
    redis.client.config_set("dir", str(gone))
    gone.rmdir()
    redis.client.bgsave()
    until(lambda: redis.client.info("persistence")["rdb_last_bgsave_status"] == "err", within=10)

    def room() -> None:
        redis.client.config_set("dir", home)
        redis.client.bgsave()

    return room


@pytest.mark.parametrize("trouble", [replica, lonely, full_disk])
def test_a_store_that_takes_no_writes_makes_the_server_not_ready(
    redis: RedisBackend,
    serve: StartServer,
    tmp_path: Path,
    trouble: Callable[[RedisBackend, Path], Callable[[], object]],
) -> None:
    server = serve(redis.url, "--no-dispatch")
    mend = trouble(redis, tmp_path)
    server.wait_health(NOT_SERVING, timeout=15)
    server.wait_health(SERVING, timeout=5, service="live")
    with Client(server.address) as client:
        sick = client.queue_health()
        mend()
        server.wait_health(SERVING, timeout=15)
        assert (sick.healthy, sick.error.startswith("the store takes no writes (")) == (False, True), sick.error
        assert sick.message.HasField("counts")
        until(lambda: client.queue_health().healthy, within=5)
    assert server.stop() == 0


def test_a_store_without_room_says_so_of_whatever_was_asked(
    redis: RedisBackend, serve: StartServer, tmp_path: Path
) -> None:
    server = serve(redis.url, "--no-dispatch")
    with Client(server.address, retries=False) as client:
        client.schedule("t", job_id="stands", delay=3600)
        full_disk(redis, tmp_path)
        calls: list[Callable[[], object]] = [
            lambda: client.schedule("t", delay=3600),
            lambda: client.cancel("stands"),
            lambda: client.update("stands", delay=7200),
            lambda: client.pause("default"),
        ]
        for call in calls:
            with pytest.raises(ResourceExhausted) as refused:
                call()
            assert refused.value.reason == "STORE_FULL"
            assert str(refused.value).startswith("the store has no room for this; nothing was changed")
            assert "cannot write to its disk" in str(refused.value)
        assert client.get("stands").state == "SCHEDULED"


def test_a_store_that_keeps_less_than_it_did_is_told_of(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url)
    with Client(server.address) as client:
        assert client.server_info().durability is Durability.EVERY_SECOND
        before = client.queue_health().warnings  # of mail and SMS
        redis.client.config_set("appendonly", "no")
        redis.client.config_set("maxmemory-policy", "allkeys-lru")
        until(lambda: client.server_info().durability is Durability.NONE, within=30)
        warnings = "\n".join(client.queue_health().warnings)
        assert "appendonly yes" in warnings
        assert "may evict jobs" in warnings
        redis.client.config_set("appendonly", "yes")
        redis.client.config_set("maxmemory-policy", "noeviction")
        until(lambda: client.server_info().durability is Durability.EVERY_SECOND, within=30)
        assert client.queue_health().warnings == before
    assert server.said(1_000_000).count('"store_durability_changed"') == 2
    assert server.stop() == 0


def test_a_store_that_is_busy_with_a_script_of_others_is_away(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, "--no-dispatch")

    def spin() -> None:
        with Redis(port=redis.port) as other:
            try:
                other.eval("while true do end", 0)
            except RedisError:
                return  # killed

    spinning = threading.Thread(target=spin)
    with Client(server.address) as client:
        spinning.start()
        try:
            with pytest.raises(Unavailable) as refused:
                until(lambda: client.pause("never.seen", deadline=0.6), within=5)
            assert refused.value.reason == "STORE_AWAY"
            assert "busy" in str(refused.value)
        finally:
            with Redis(port=redis.port) as other:
                until(lambda: other.script_kill(), within=5)
            spinning.join(10)
    assert server.stop() == 0


def test_callers_are_not_told_what_the_log_is(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, "--no-dispatch")
    redis.client.shutdown(nosave=True)
    with Client(server.address) as client, pytest.raises(Unavailable) as refused:
        until(lambda: client.schedule("any", deadline=0.6), within=5)
    assert "no connection to it can be made" in str(refused.value)
    assert "127.0.0.1" not in str(refused.value)
    assert str(redis.port) in server.said(1_000_000)
