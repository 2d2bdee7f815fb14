"""A store is emptied under running servers: by FLUSHALL, or a restart that brings nothing back; MongoDB's database is
dropped. What is acknowledged from then on is run, taken back, trimmed and listed as ever, by servers to come, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration
from support.eventually import until
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import State, Stubs
from tocsin.v1 import job_pb2, queue_service_pb2

Serve = Callable[..., Server]
TICK = {"TOCSIN_TICK": "200ms", "TOCSIN_LEASE__DURATION": "2s"}


def queues(stubs: Stubs) -> list[str]:
    """Names, as ListQueues has them."""
    listed = stubs.queues.ListQueues(queue_service_pb2.ListQueuesRequest())
    return [entry.queue.queue for entry in listed.queues]


def test_jobs_scheduled_after_a_store_was_emptied_are_run_by_servers_to_come(
    store: StoreBackend, serve: Serve, journal: Journal
) -> None:
    server = serve(store.url, handlers="support.jobs.everyday", **TICK, **journal.env)
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "half_a_second", job_id="before")
        stubs.wait_for("q", "before", State.COMPLETED)
        store.empty()
        stubs.schedule("q", "half_a_second", job_id="after", delay=5)
        assert queues(stubs) == ["q"]
        assert stubs.health("q").counts.scheduled == 1
        assert [job.job_id for job in stubs.list("q", State.SCHEDULED)] == ["after"]
    server.stop()
    server.restart()
    with Stubs(server.address) as stubs:
        stubs.wait_for("q", "after", State.COMPLETED)
        assert queues(stubs) == ["q"]


def test_leases_are_taken_back_and_ended_jobs_trimmed_in_a_store_that_was_emptied(
    store: StoreBackend, serve: Serve, journal: Journal
) -> None:
    keeper = serve(store.url, "--no-dispatch", **TICK)
    doomed = serve(store.url, handlers="support.jobs.everyday", **TICK, **journal.env)
    with Stubs(keeper.address) as stubs:
        stubs.schedule("q", "half_a_second", job_id="before")
        stubs.wait_for("q", "before", State.COMPLETED)
        store.empty()
        kept = job_pb2.Retention(completed_for=Duration(seconds=3))
        stubs.schedule("q", "noop", job_id="short", retention=kept)
        stubs.wait_for("q", "short", State.COMPLETED)
        stubs.schedule("q", "until_cancelled", job_id="long")
        stubs.wait_for("q", "long", State.ACTIVE)
        doomed.kill()
        stubs.wait_for("q", "long", State.WAITING)
        until(lambda: [job.job_id for job in stubs.list("q")] == ["long"], within=10, what="what ended is trimmed")


def test_a_redis_that_lost_everything_in_a_restart_is_used_as_a_new_one(
    tmp_path: Path, serve: Serve, journal: Journal
) -> None:
    with RedisBackend(tmp_path / "redis", "--appendonly", "no") as redis:
        server = serve(redis.url, handlers="support.jobs.everyday", **TICK, **journal.env)
        with Stubs(server.address) as stubs:
            stubs.schedule("q", "noop", job_id="before")
            stubs.wait_for("q", "before", State.COMPLETED)
            redis.restart()
            until(lambda: _schedules(stubs), within=20, what="the store is back")
        server.stop()
        server.restart()
        with Stubs(server.address) as stubs:
            stubs.wait_for("q", "after", State.COMPLETED)
            assert queues(stubs) == ["q"]
        assert redis.client.get("tocsin:format") == b"2"


def _schedules(stubs: Stubs) -> bool:
    try:
        stubs.schedule("q", "half_a_second", job_id="after", delay=3)
    except grpc.RpcError:
        return False
    return True
