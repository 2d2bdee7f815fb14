"""SIGTERM: no longer ready first, then running jobs are given their grace, and what is left runs elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2
from support.eventually import until
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import State, Stubs

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_sigterm_with_20_running_gives_them_back_uncounted_and_they_run_elsewhere(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    first = serve(store.url, handlers="support.jobs.long", TOCSIN_DRAIN__GRACE="1s", **journal.env)
    with Stubs(first.address) as stubs:
        for number in range(20):
            stubs.schedule("drain", "gated", job_id=str(number))
        until(lambda: len(journal.lines("start")) == 20, within=20, what="20 running")
        first.terminate()
        first.wait_health(NOT_SERVING, timeout=5)
        assert first.process is not None
        assert first.process.poll() is None, "it said NOT_SERVING before it went"
    assert first.wait(20) == 0

    quiet = serve(store.url, "--no-dispatch")
    with Stubs(quiet.address) as stubs:
        jobs = stubs.list("drain")
        assert [(job.state, job.failures, job.crashes, len(job.errors)) for job in jobs] == [
            (State.WAITING, 0, 0, 0)
        ] * 20
        second = serve(store.url, handlers="support.jobs.long", GATE_OPEN="1", **journal.env)
        for number in range(20):
            job = stubs.wait_for("drain", str(number))
            assert (job.state, job.attempt, job.failures, job.crashes) == (State.COMPLETED, 2, 0, 0)
    assert {line.pid for line in journal.lines("end")} == {second.pid}


def test_a_job_that_ends_within_the_grace_completes(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    server = serve(store.url, handlers="support.jobs.everyday", TOCSIN_DRAIN__GRACE="20s", **journal.env)
    with Stubs(server.address) as stubs:
        stubs.schedule("drain", "half_a_second", job_id="one")
        until(lambda: journal.lines("start"), within=10)
    assert server.stop() == 0
    quiet = serve(store.url, "--no-dispatch")
    with Stubs(quiet.address) as stubs:
        assert stubs.get("drain", "one").state == State.COMPLETED


def test_a_draining_server_takes_no_new_work_and_says_so(
    redis: RedisBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    server = serve(redis.url, handlers="support.jobs.long", TOCSIN_DRAIN__GRACE="2s", **journal.env)
    with Stubs(server.address) as stubs:
        stubs.schedule("drain", "gated", job_id="one")
        until(lambda: journal.lines("start"), within=10)
        server.terminate()
        server.wait_health(NOT_SERVING, timeout=5)
        call = stubs.jobs.ScheduleJob.future(_request(), timeout=5)
        error = call.exception()
        assert isinstance(error, grpc.RpcError)
        assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert server.wait(20) == 0


def _request() -> object:
    from support.stubs import request

    return request("drain", "gated", job_id="late")
