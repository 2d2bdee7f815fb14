"""Handlers that take what the server needs: it goes on once it has that again, and says so where it cannot."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import State, Stubs
from tocsin.v1 import job_pb2


def ended(stubs: Stubs, job_id: str) -> job_pb2.Job | None:
    """The job, once it has ended; a store that is away for want of a descriptor is no answer."""
    with contextlib.suppress(grpc.RpcError):
        job = stubs.get("q", job_id)
        return job if job.HasField("end_time") else None
    return None


def test_jobs_that_cannot_begin_for_want_of_descriptors_are_given_back_uncounted(
    redis: RedisBackend, serve: Callable[..., Server], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    server = serve(redis.url, handlers="support.jobs.starving", GATE=str(gate))
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "hungry", job_id="hungry")
        until(lambda: "no descriptor is left" in server.said(50_000), within=20)
        for type in ("loop", "process"):
            stubs.schedule("q", type, job_id=type)
        for word in ("no event loop for", "no process for"):
            until(lambda: word in server.said(50_000), within=30, what=word)  # noqa: B023  # read before it changes
        gate.touch()
        for type in ("loop", "process"):
            job = until(lambda: ended(stubs, type), within=40, what=type)  # noqa: B023
            assert (job.state, job.failures, job.crashes, len(job.errors)) == (State.COMPLETED, 0, 0, 0), job
        assert until(lambda: ended(stubs, "hungry"), within=20).state == State.COMPLETED
    assert server.stop() == 0
    assert "runtime_failed" not in server.said(50_000)


def test_jobs_that_cannot_begin_for_want_of_a_thread_are_given_back_uncounted(
    redis: RedisBackend, serve: Callable[..., Server], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    server = serve(redis.url, handlers="support.jobs.starving", GATE=str(gate))
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "threadless", job_id="threadless")
        until(lambda: "no thread can start" in server.said(50_000), within=20)
        stubs.schedule("q", "plain", job_id="plain")
        until(lambda: "no thread for a job of type 'plain'" in server.said(50_000), within=20)
        assert "can't start new thread" in server.said(50_000)
        gate.touch()
        job = until(lambda: ended(stubs, "plain"), within=40)
        assert (job.state, job.failures, job.crashes, len(job.errors)) == (State.COMPLETED, 0, 0, 0), job
        assert job.attempt > 1, "it was never given back"
        assert until(lambda: ended(stubs, "threadless"), within=20).state == State.COMPLETED
    assert server.stop() == 0
    assert "runtime_failed" not in server.said(50_000)


def test_a_server_that_can_run_no_more_jobs_ends_and_says_so(redis: RedisBackend, serve: Callable[..., Server]) -> None:
    server = serve(redis.url, handlers="support.jobs.starving")
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "breaks", job_id="breaks")
        stubs.wait_for("q", "breaks")
        stubs.schedule("q", "loop", job_id="one")
        assert server.wait(30) == 1
    said = server.said(50_000)
    assert "runtime_failed" in said
    assert "no more jobs could be run" in said


def test_a_server_without_a_log_outlives_its_stores_absence(redis: RedisBackend, serve: Callable[..., Server]) -> None:
    server = serve(redis.url, handlers="support.jobs.starving")
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "closes_log", job_id="one")
        assert stubs.wait_for("q", "one").state == State.COMPLETED
        redis.stop()
        server.wait_health(health_pb2.HealthCheckResponse.NOT_SERVING, timeout=30)
        redis.start()
        server.wait_health(health_pb2.HealthCheckResponse.SERVING, timeout=30)
        stubs.schedule("another", "loop", job_id="two")  # the store came back empty
        assert stubs.wait_for("another", "two").state == State.COMPLETED


def test_a_handler_that_never_stops_leaves_no_traceback_behind(
    redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, handlers="support.jobs.starving", TOCSIN_DRAIN__GRACE="0s")
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "deaf", job_id="one")
        until(lambda: "it is deaf" in server.said(50_000), within=20)
        assert server.stop() == 0
    said = server.said(50_000)
    assert "stopped" in said
    for word in ("Traceback", "Task was destroyed", "Exception ignored"):
        assert word not in said
