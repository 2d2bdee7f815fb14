"""Handlers that block hold up themselves: not health, not other handlers, not their own leases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.eventually import until
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import State, Stubs


@pytest.fixture
def blocked(redis: RedisBackend, serve: Callable[..., Server], journal: Journal) -> Iterator[Stubs]:
    """A server on which an async handler sits in time.sleep and a sync one in `while True`."""
    server = serve(redis.url, handlers="support.jobs.blocking", TOCSIN_LEASE__DURATION="2s", **journal.env)
    with Stubs(server.address) as stubs:
        stubs.schedule("blocked", "async_asleep", job_id="asleep")
        stubs.schedule("blocked", "sync_spinning", job_id="spinning")
        until(lambda: len(journal.lines("start")) == 2, within=15, what="both blocking handlers started")
        yield stubs


def test_health_answers_others_run_and_no_lease_is_lost_while_handlers_block(blocked: Stubs, journal: Journal) -> None:
    health = health_pb2_grpc.HealthStub(blocked.channel)
    took = []

    def ask() -> None:
        begun = time.perf_counter()
        answer = health.Check(health_pb2.HealthCheckRequest(service="tocsin.v1.JobService"), timeout=5)
        took.append(time.perf_counter() - begun)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    def seconds_to_start(type: str) -> float:
        begun = time.monotonic()
        blocked.schedule("blocked", type, job_id=type)
        until(lambda: any(line.job_id == type for line in journal.lines("start")), within=10, what=type)
        return time.monotonic() - begun

    assert seconds_to_start("sync_quick") < 2
    assert seconds_to_start("async_quick") < 2
    end = time.monotonic() + 5  # two and a half leases
    until(lambda: ask() or time.monotonic() > end, within=10)
    assert max(took) < 0.2

    for job_id in ("asleep", "spinning"):
        job = blocked.get("blocked", job_id)
        assert (job.state, job.attempt, job.crashes) == (State.ACTIVE, 1, 0)
    assert blocked.wait_for("blocked", "sync_quick").state == State.COMPLETED
    assert blocked.wait_for("blocked", "async_quick").state == State.COMPLETED
