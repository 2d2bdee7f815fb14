"""Queues that nothing happens in cost a server next to nothing, however many there are, and delay no job of others."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import grpc
import pytest
from contract.builders import YEAR, a_draft, added
from support.eventually import until
from support.redis_backend import RedisBackend
from support.scraping import METRICS, metrics_address, text_of, until_told
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import State, Stubs, refusal
from tocsin.v1 import job_service_pb2, queue_service_pb2
from tocsin_server.domain.quotas import Quotas
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.store import RedisStore

Serve = Callable[..., Server]


def processor_seconds(pid: int) -> float:
    """What a process has used."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


async def fill(url: str, queues: int) -> None:
    """So many queues with a job each that is due in a year."""
    store = RedisStore(RedisConnection(url), quotas=Quotas(queues=1_000_000))
    await store.open()
    for start in range(0, queues, 1000):
        names = [f"tenant-{number}" for number in range(start, min(start + 1000, queues))]
        await added(store, *(a_draft(queue=name, when=YEAR) for name in names))
    await store.close()


@pytest.mark.parametrize("queues", [5_000, pytest.param(50_000, marks=pytest.mark.full)])
def test_idle_queues_cost_a_server_little_and_a_due_job_starts_soon_after_a_restart(
    redis: RedisBackend, serve: Serve, queues: int
) -> None:
    asyncio.run(fill(redis.url, queues))
    server = serve(redis.url, handlers="support.jobs.everyday", TOCSIN_QUOTAS__QUEUES="1000000")
    last = f"tenant-{queues - 1}"
    with Stubs(server.address) as stubs:
        stubs.schedule(last, "noop", job_id="first")
        stubs.wait_for(last, "first", State.COMPLETED)
        stubs.schedule(last, "noop", job_id="due meanwhile", delay=1)
    server.stop()
    due = time.monotonic() + 1
    until(lambda: time.monotonic() > due, within=5, what="the job is due while no server runs")
    server.restart()
    begun = processor_seconds(server.pid)
    with Stubs(server.address) as stubs:
        stubs.wait_for(last, "due meanwhile", State.COMPLETED)
    # Processor time, for a busy machine's own delays are none of the server's.
    assert processor_seconds(server.pid) - begun < 2

    # What comes rarely, or follows the start, may fall into one such time, not into all.
    idle = [of_five_seconds(server, redis)]
    while idle[-1][0] >= 0.05 and len(idle) < 4:
        idle.append(of_five_seconds(server, redis))
    used, calls = idle[-1]
    assert used < 0.05, f"an idle server uses {[one[0] for one in idle]} of a core"
    assert calls["mget"] < 3
    assert calls["evalsha"] < 15, f"chores call the store too often: {calls}"


def of_five_seconds(server: Server, redis: RedisBackend) -> tuple[float, dict[str, float]]:
    """The share of a core that a server uses, and how often a second it asks Redis, by command."""
    begun, asked, at = processor_seconds(server.pid), redis.calls(), time.monotonic()
    until(lambda: time.monotonic() > at + 5, within=10, what="five seconds have passed")
    seconds = time.monotonic() - at
    calls = {name: (count - asked.get(name, 0)) / seconds for name, count in redis.calls().items()}
    return (processor_seconds(server.pid) - begun) / seconds, calls


@pytest.mark.parametrize("queues", [2_000, pytest.param(10_000, marks=pytest.mark.full)])
def test_a_scrape_of_very_many_queues_is_answered_at_once(redis: RedisBackend, serve: Serve, queues: int) -> None:
    asyncio.run(fill(redis.url, queues))
    words = {"TOCSIN_QUOTAS__QUEUES": "1000000", "TOCSIN_METRICS__QUEUES": "10000"}
    server = serve(redis.url, "--no-dispatch", **METRICS, **words)
    address = metrics_address(server)
    until_told(
        address,
        "all queues are told of",
        lambda told: told["tocsin_queues",] == queues and told["tocsin_queues_to_read",] == 0,
        within=100,
    )
    begun, times = processor_seconds(server.pid), 20
    for _ in range(times):
        assert text_of(address).count('state="SCHEDULED"') == queues
    # Processor time, for a busy machine's own delays are none of the server's.
    assert (processor_seconds(server.pid) - begun) / times < 0.05


def test_a_queue_beyond_the_quota_is_refused_and_says_what_to_do(store: StoreBackend, serve: Serve) -> None:
    server = serve(store.url, "--no-dispatch", TOCSIN_QUOTAS__QUEUES="2")
    with Stubs(server.address) as stubs:
        stubs.schedule("a", "noop")
        stubs.schedule("b", "noop")
        stubs.schedule("a", "noop")
        with pytest.raises(grpc.RpcError) as raised:
            stubs.schedule("c", "noop")
        refused = refusal(raised.value)
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert "quotas.queues" in refused.message
        assert refused.metadata == {"quota": "queues", "limit": "2"}


def test_quotas_of_some_queues_and_of_payloads_are_those_of_the_settings(store: StoreBackend, serve: Serve) -> None:
    words = {"TOCSIN_QUOTAS__JOBS_IN_QUEUES": "small=1, mail.*=2", "TOCSIN_QUOTAS__PAYLOAD_BYTES": "2KiB"}
    server = serve(store.url, "--no-dispatch", **words)
    with Stubs(server.address) as stubs:
        for queue, most in (("small", 1), ("mail.de", 2), ("other", 3)):
            for number in range(3):
                if number < most:
                    stubs.schedule(queue, "noop", delay=60)
                    continue
                with pytest.raises(grpc.RpcError) as raised:
                    stubs.schedule(queue, "noop", delay=60)
                assert refusal(raised.value).metadata == {"quota": f"jobs in queue '{queue}'", "limit": str(most)}
        with pytest.raises(grpc.RpcError) as raised:
            stubs.schedule("other", "noop", {"x": "y" * 2_048}, delay=60)
        assert refusal(raised.value).reason == "TOO_LARGE"


@pytest.mark.full
@pytest.mark.timeout(240)
def test_a_queue_unused_for_its_time_is_forgotten_by_itself(store: StoreBackend, serve: Serve) -> None:
    words = {"TOCSIN_TICK": "200ms", "TOCSIN_QUOTAS__FORGET_UNUSED_FOR": "60s"}
    server = serve(store.url, "--no-dispatch", **words)
    with Stubs(server.address) as stubs:
        stubs.schedule("used", "noop", job_id="a", delay=3600)
        stubs.schedule("unused", "noop", job_id="a", delay=3600)
        stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue="unused", job_id="a"))
        stubs.jobs.DeleteJob(job_service_pb2.DeleteJobRequest(queue="unused", job_id="a"))

        def names() -> list[str]:
            listed = stubs.queues.ListQueues(queue_service_pb2.ListQueuesRequest())
            return [entry.queue.queue for entry in listed.queues]

        assert names() == ["unused", "used"]
        # Redis knows the minute of the last change, so it may take one more; then it has to be looked at.
        until(lambda: names() == ["used"], within=180, what="it is forgotten")
