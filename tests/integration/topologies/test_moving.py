"""Jobs and notes are placed and found by the documented user, behind TLS and on each node of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from contract.builders import LATER, a_job, placed
from support.redis_topologies import MISSING_TLS, ClusterPart, TlsRedis, asked
from tocsin_server.domain.job import Put, View
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore, StoredNote, StoreUnfit
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.store import RedisStore

from integration.topologies.acl import FOR_CLUSTER, documented

PASSWORD = "s3cret-pw"
NOTES = 1_300  # more than one SCAN looks at


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[JobStore]:
    store = RedisStore(RedisConnection(url, answer_within=timedelta(seconds=30)))
    try:
        await store.open()
        yield store
    finally:
        await store.close()


@pytest.fixture(scope="module")
def redis_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    """Locked for all but the documented user."""
    if MISSING_TLS:
        pytest.skip(MISSING_TLS)
    redis = TlsRedis(tmp_path_factory.mktemp("tls"))
    try:
        redis.admin.execute_command(*documented(PASSWORD))
        redis.lock()
        yield redis
    finally:
        redis.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterPart]:
    """Its server comes as the documented user."""
    cluster = ClusterPart(tmp_path_factory.mktemp("cluster"))
    for port in cluster.ports:
        asked(port, *documented(PASSWORD), *FOR_CLUSTER)
    yield cluster
    cluster.stop()


async def move_everything(store: JobStore, queues: list[str]) -> None:
    """Jobs in each state, one id over another, and notes, into and out of each queue."""
    jobs = [
        a_job(state.name, state, queue=queue, arrival=number, tags={"k": "v"}, life={"result": b"r"})
        for number, state in enumerate((State.SCHEDULED, State.WAITING, State.FAILED, State.CANCELLED), start=1)
        for queue in queues
    ]
    assert await placed(store, *jobs) == [Put.CREATED] * len(jobs)
    assert await placed(store, *jobs, over=True) == [Put.SAME] * len(jobs)
    over = [a_job("WAITING", State.COMPLETED, queue=queue, arrival=9) for queue in queues]
    assert await placed(store, *over, over=True) == [Put.REPLACED] * len(over)
    for queue in queues:
        mine = [job for job in jobs if job.queue == queue and job.job_id != "WAITING"]
        assert await store.get(queue, [job.job_id for job in mine], View.FULL) == mine
    for queue in queues:
        for number in range(NOTES // len(queues)):
            assert await store.write_note(queue, f"{number:04}", queue.encode(), revision=0, until=LATER)
    for queue in queues:
        found = await store.notes(queue, limit=10_000)
        assert found == [StoredNote(f"{n:04}", queue.encode(), 1, LATER) for n in range(NOTES // len(queues))]


async def test_the_documented_user_may_do_all_that_moving_needs(redis_tls: TlsRedis) -> None:
    redis_tls.admin.execute_command("ACL", "LOG", "RESET")
    async with opened(redis_tls.url("tocsin", PASSWORD)) as store:
        await move_everything(store, ["q", "other"])
    assert redis_tls.admin.execute_command("ACL", "LOG") == [], "something was denied"


@pytest.mark.parametrize("command", ["scan", "pexpiretime"])
async def test_a_user_who_may_not_is_told_at_the_start(redis_tls: TlsRedis, command: str) -> None:
    user = documented(PASSWORD)
    user[2] = "meek"
    redis_tls.admin.execute_command(*user, f"-{command}")
    with pytest.raises(StoreUnfit, match=command.upper()):
        async with opened(redis_tls.url("meek", PASSWORD)):
            pass


async def test_each_node_of_a_cluster_has_its_queues_jobs_and_notes(cluster: ClusterPart) -> None:
    queues = [cluster.queue_on(port) for port in cluster.ports]
    async with opened(cluster.url.replace("://", f"://tocsin:{PASSWORD}@")) as store:
        await move_everything(store, queues)
    for port, queue in zip(cluster.ports, queues, strict=True):
        others = [f"{{{other}}}" for other in queues if other != queue]
        keys = cluster.keys(port)
        assert any(f"{{{queue}}}" in key for key in keys)
        assert not any(other in key for key in keys for other in others)
