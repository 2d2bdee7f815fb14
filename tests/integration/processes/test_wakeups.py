"""A server sleeps until there is work, wakes when another one schedules some, and idles at next to no cost."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from support.eventually import until
from support.mongo_backend import MongoBackend
from support.mongo_servers import MongoServer
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
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


#: Seconds within which half of the jobs start. Who was not told waits for a tick, half a second in the mean. The test's
#: MongoDB server needs some 15 ms for the commands between a job's creation and its start, and many times that when the
#: machine has other work.
AT_ONCE = {"redis": 0.05, "mongo": 0.1}


@pytest.fixture
def own_mongo(tmp_path: Path) -> Iterator[Callable[..., MongoBackend]]:
    """`own_mongo(standalone=...)`: a database on a server that nobody else uses."""
    with ExitStack() as stack:

        def start(*, standalone: bool = False) -> MongoBackend:
            server = MongoServer(tmp_path / "mongo", standalone=standalone)
            stack.callback(server.stop)
            return stack.enter_context(MongoBackend(server, "own"))

        yield start


def test_a_job_scheduled_through_one_server_is_run_by_another_at_once(
    store: StoreBackend, serve: Callable[..., Server]
) -> None:
    serve(store.url, handlers="support.jobs.everyday")
    front = serve(store.url, "--no-dispatch")
    with Stubs(front.address) as stubs:
        delays(stubs, "elsewhere", 3)
        assert statistics.median(delays(stubs, "elsewhere.2", 20)) < AT_ONCE[store.provider]


def test_so_it_is_where_mongodb_has_no_change_streams(
    own_mongo: Callable[..., MongoBackend], serve: Callable[..., Server]
) -> None:
    store = own_mongo(standalone=True)
    back = serve(store.url, handlers="support.jobs.everyday")
    assert "standalone" in back.said()
    front = serve(store.url, "--no-dispatch")
    with Stubs(front.address) as stubs:
        delays(stubs, "elsewhere", 3)
        assert statistics.median(delays(stubs, "elsewhere.2", 20)) < AT_ONCE["mongo"]


#: What the piece of a reply has in it that brings a wake-up.
WAKE_UPS = {"redis": (b"message", b":wake"), "mongo": (b"Batch", b"fullDocument", b"claimable")}


def test_a_lost_wake_up_costs_at_most_one_tick(store: StoreBackend, serve: Callable[..., Server]) -> None:
    with TcpProxy("127.0.0.1", store.port) as proxy:
        serve(store.url_at(proxy.port), handlers="support.jobs.everyday")
        front = serve(store.url, "--no-dispatch")
        with Stubs(front.address) as stubs:
            delays(stubs, "lost", 1)
            proxy.drop_replies(lambda data: all(part in data for part in WAKE_UPS[store.provider]))
            found = delays(stubs, "lost.2", 4)
        assert proxy.dropped >= {"redis": 4, "mongo": 1}[store.provider], "no wake-up was lost, so nothing was tried"
        assert max(found) < 1.3
        assert max(found) > 0.1, "it was woken after all"


@pytest.mark.parametrize("seconds", [6, pytest.param(30, marks=pytest.mark.full)])
def test_an_idle_server_with_jobs_an_hour_ahead_asks_the_store_less_than_5_times_a_second(
    redis: RedisBackend, serve: Callable[..., Server], seconds: int
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
        until(settled, within=30)
    used = redis.asked(seconds)
    assert used.total() / seconds < 5, used


@pytest.mark.full
@pytest.mark.parametrize("standalone", [False, True], ids=["replica set", "standalone"])
def test_an_idle_server_on_mongodb_asks_it_as_seldom(
    own_mongo: Callable[..., MongoBackend], serve: Callable[..., Server], standalone: bool
) -> None:
    store = own_mongo(standalone=standalone)
    server = serve(store.url, handlers="support.jobs.everyday")
    with Stubs(server.address) as stubs:
        batch = [request("idle", "noop", delay=3600)] * 1000
        stubs.jobs.BatchScheduleJobs(job_service_pb2.BatchScheduleJobsRequest(requests=batch))
        delays(stubs, "idle", 1)

    def used_in(seconds: float) -> Counter[str]:
        before, begun = store.calls(), time.monotonic()
        until(lambda: time.monotonic() - begun > seconds, within=seconds + 5)
        return store.calls() - before

    until(lambda: used_in(2).total() < 10, within=20, what="the chores that follow a job's end are done")
    used = used_in(30)
    assert used.total() / 30 < 5, used


@pytest.mark.parametrize(("shared_server", "jobs"), [("redis", 100), ("mongo", 20)], indirect=["shared_server"])
def test_jobs_due_ahead_start_on_time_and_never_early(stubs: Stubs, queue: str, jobs: int) -> None:
    batch = [request(queue, "noop", job_id=str(n), delay=1) for n in range(jobs)]
    stubs.jobs.BatchScheduleJobs(job_service_pb2.BatchScheduleJobsRequest(requests=batch))
    for number in range(jobs):
        stubs.wait_for(queue, str(number))
    late = [job.start_time.ToNanoseconds() - job.schedule_time.ToNanoseconds() for job in stubs.list(queue)]
    assert min(late) >= 0
    assert max(late) < timedelta(seconds=1.5).total_seconds() * 1e9


def test_a_server_serves_only_the_queues_it_is_given(store: StoreBackend, serve: Callable[..., Server]) -> None:
    server = serve(store.url, "--queues", "mine", handlers="support.jobs.everyday")
    with Stubs(server.address) as stubs:
        stubs.schedule("other", "noop", job_id="one")
        delays(stubs, "mine", 2)
        assert stubs.get("other", "one").state == job_pb2.Job.WAITING
