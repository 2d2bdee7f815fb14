"""A server sleeps until there is work, wakes when another one schedules some, and idles at next to no cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from support.eventually import until
from support.redis_parts import RedisPart
from support.servers import Server
from support.stubs import State, Stubs, request
from support.tcp_proxy import TcpProxy
from tocsin.v1 import job_pb2, job_service_pb2


def delays(stubs: Stubs, queue: str, count: int) -> list[float]:
    """Seconds from creation to start, by the store's clock, of jobs scheduled one after the other."""
    found = []
    for number in range(count):
        stubs.schedule(queue, "noop", job_id=str(number))
        job = stubs.wait_for(queue, str(number))
        assert job.state == State.COMPLETED
        found.append((job.start_time.ToNanoseconds() - job.create_time.ToNanoseconds()) / 1e9)
    return found


def test_a_job_scheduled_through_one_server_is_run_by_another_at_once(
    redis: RedisPart, serve: Callable[..., Server]
) -> None:
    serve(redis.url, handlers="support.jobs.everyday")
    front = serve(redis.url, "--no-dispatch")
    with Stubs(front.address) as stubs:
        delays(stubs, "elsewhere", 3)
        assert statistics.median(delays(stubs, "elsewhere.2", 30)) < 0.05


def test_a_lost_wake_up_costs_at_most_one_tick(redis: RedisPart, serve: Callable[..., Server]) -> None:
    with TcpProxy("127.0.0.1", redis.port) as proxy:
        serve(f"redis://127.0.0.1:{proxy.port}", handlers="support.jobs.everyday")
        front = serve(redis.url, "--no-dispatch")
        with Stubs(front.address) as stubs:
            delays(stubs, "lost", 1)
            proxy.drop_replies(lambda data: b"message" in data and b":wake" in data)
            found = delays(stubs, "lost.2", 4)
        assert proxy.dropped >= 4, "no wake-up was lost, so nothing was tried"
        assert max(found) < 1.3
        assert max(found) > 0.1, "it was woken after all"


@pytest.mark.parametrize("seconds", [6, pytest.param(30, marks=pytest.mark.full)])
def test_an_idle_server_with_jobs_an_hour_ahead_asks_the_store_less_than_5_times_a_second(
    redis: RedisPart, serve: Callable[..., Server], seconds: int
) -> None:
    server = serve(redis.url, handlers="support.jobs.everyday")
    with Stubs(server.address) as stubs:
        batch = [request("idle", "noop", delay=3600)] * 1000
        stubs.jobs.BatchScheduleJobs(job_service_pb2.BatchScheduleJobsRequest(requests=batch))
        delays(stubs, "idle", 1)
    quiet_since, walks = time.monotonic(), -1

    def settled() -> bool:
        """The chores that follow a job's end have walked the queue and gone to sleep."""
        nonlocal quiet_since, walks
        if (now := redis.calls().get("zrange", 0)) != walks:
            quiet_since, walks = time.monotonic(), now
        return time.monotonic() - quiet_since > 2

    if seconds < 30:  # in a long look they count for little
        until(settled, within=20)
    before, begun = redis.calls(), time.monotonic()
    until(lambda: time.monotonic() - begun > seconds, within=seconds + 5)
    after, took = redis.calls(), time.monotonic() - begun
    ours = {"info", "ping"}
    commands = {name: count - before.get(name, 0) for name, count in after.items() if name not in ours}
    used = {name: count for name, count in commands.items() if count}
    assert sum(used.values()) / took < 5, used


def test_jobs_due_ahead_start_on_time_and_never_early(stubs: Stubs, queue: str) -> None:
    batch = [request(queue, "noop", job_id=str(n), delay=1) for n in range(100)]
    stubs.jobs.BatchScheduleJobs(job_service_pb2.BatchScheduleJobsRequest(requests=batch))
    for number in range(100):
        stubs.wait_for(queue, str(number))
    late = [job.start_time.ToNanoseconds() - job.schedule_time.ToNanoseconds() for job in stubs.list(queue)]
    assert min(late) >= 0
    assert max(late) < timedelta(seconds=1.5).total_seconds() * 1e9


def test_a_server_serves_only_the_queues_it_is_given(redis: RedisPart, serve: Callable[..., Server]) -> None:
    server = serve(redis.url, "--queues", "mine", handlers="support.jobs.everyday")
    with Stubs(server.address) as stubs:
        stubs.schedule("other", "noop", job_id="one")
        delays(stubs, "mine", 2)
        assert stubs.get("other", "one").state == job_pb2.Job.WAITING
