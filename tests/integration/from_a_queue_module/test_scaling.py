"""More servers, and stores of more than one node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.eventually import until
from support.mongo_servers import MongoServer
from support.redis_backend import RedisBackend
from support.redis_topologies import MISSING, ClusterPart
from support.stores import StoreBackend
from tocsin import Client, JobRequest

from integration.from_a_queue_module.conftest import StartServer
from integration.from_a_queue_module.lines import Lines

IMAGE, HOURS = {"path": "a.png"}, {"pages": 3600}


def run_one(address: str) -> None:
    """See one job scheduled, run and read."""
    with Client(address) as client:
        assert client.wait(client.schedule("resize_image", IMAGE), timeout=20).result == {"bytes": 5}


def handlers_busy(client: Client) -> list[int]:
    """Of each server what its handlers run; requests that it makes over HTTP are told of apart."""
    return [one.busy for one in client.queue_health().workers if not one.worker.endswith("/http")]


def test_several_servers(lines: Lines, store: StoreBackend, start: StartServer) -> None:
    one, _ = start(store, *lines.flags()), start(store, *lines.again().flags())
    with Client(one.address) as client:
        client.schedule_many(JobRequest("export_orders", HOURS) for _ in range(12))
        until(lambda: client.count(states=["ACTIVE"]) == 10, within=20, what="five run in each of the two")
        until(lambda: handlers_busy(client) == [5, 5], within=10)


def test_api_apart(lines: Lines, store: StoreBackend, start: StartServer) -> None:
    front = start(store, *lines.flags())
    with Client(front.address) as client:
        job = client.schedule("resize_image", IMAGE)
        assert client.server_info().handled_types == ()
        assert "no process runs jobs" in client.queue_health().error
        start(store, "--handlers", "myapp.jobs")
        assert client.wait(job, timeout=20).state == "COMPLETED"


def test_no_limit_over_all_yet(lines: Lines, redis: RedisBackend, start: StartServer) -> None:
    limited = start(redis, *lines.flags())
    start(redis, "--handlers", "myapp.jobs", "--queues", "default")
    with Client(limited.address) as client:
        client.schedule_many(JobRequest("export_orders", HOURS, queue="images") for _ in range(4))
        until(lambda: client.count(queue="images", states=["ACTIVE"]) == 2, within=20)
        # The other server has had its turn, and runs what is its own.
        assert client.wait(client.schedule("resize_image", IMAGE), timeout=20).state == "COMPLETED"
        assert client.count(queue="images", states=["ACTIVE"]) == 2


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterPart]:
    """Three nodes."""
    if MISSING:
        pytest.skip(MISSING)
    cluster = ClusterPart(tmp_path / "cluster")
    yield cluster
    cluster.stop()


def test_redis_cluster(lines: Lines, cluster: ClusterPart, start: StartServer) -> None:
    nodes = {f"redis-{n}:6379": f"127.0.0.1:{port}" for n, port in enumerate(cluster.ports, start=1)}
    env = lines.variables(nodes)
    run_one(start(env["REDIS_URL"], "--handlers", "myapp.jobs").address)
    assert any(key.startswith("tocsin:") for port in cluster.ports for key in cluster.keys(port))


def test_replica_set(lines: Lines, mongo_server: MongoServer, start: StartServer) -> None:
    # The only member of a set by this name.
    member = {"mongo-1:27017,mongo-2:27017,mongo-3:27017": f"127.0.0.1:{mongo_server.port}", "=rs0": "=secantus"}
    env = lines.variables(member)
    server = start(env["MONGODB_URL"], "--handlers", "myapp.jobs")
    run_one(server.address)
    assert "standalone" not in server.said()


def test_deploy(lines: Lines, store: StoreBackend, start: StartServer) -> None:
    env = lines.variables()
    server = start(store, "--handlers", "myapp.jobs", **env)
    with Client(server.address) as client:
        client.schedule("export_orders", {"pages": 5}, job_id="under-way")
        # A job is ACTIVE a little before its handler begins; until that it is given back.
        until(lambda: client.get("under-way").progress is not None, within=20, what="it runs")
        assert server.stop() == 0
    next_one = start(store, "--no-dispatch")
    with Client(next_one.address) as client:
        ended = client.get("under-way")
        assert (ended.state, ended.attempt) == ("COMPLETED", 1)
