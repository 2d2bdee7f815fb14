"""ClockService through real servers, on both stores: three days of an application in a second, the same each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import grpc
import pytest
from support.commands import typed
from support.eventually import until
from support.lost_worker import lose_worker
from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import STORES, StoreBackend, store_settings
from support.worker_messages import completed, poll, report, span
from tocsin import Client, DependsOn, FailedPrecondition, InvalidArgument, JobRequest, RetryPolicy, State
from tocsin.clock import ClockMove
from tocsin.testing import job_server
from tocsin.v1 import worker_service_pb2_grpc

HANDLERS = "support.jobs.clockwork"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
Serve = Callable[..., Server]


@pytest.fixture(scope="module", params=STORES)
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a store whose clock is moved by hand, for all tests that move it on."""
    folder = tmp_path_factory.mktemp("by_hand")
    mail = ("--mail", f"file:{folder / 'outbox'}", "--mail-from", "a@example.com")
    store: RedisBackend | MongoBackend = (
        RedisBackend(folder / "redis")
        if request.param == "redis"
        else MongoBackend(request.getfixturevalue("mongo_server"), "moved_by_hand")
    )
    with store:
        flags = ["--clock", "manual", *mail, "--handlers", HANDLERS]
        server = Server(folder, flags, store_settings(store.url)).start()
        yield server
        server.kill()


@pytest.fixture
def by_hand(moved: Server) -> Iterator[Server]:
    """That server. What a test leaves goes after it: its schedules would fire as others move the clock."""
    yield moved
    with Client(moved.address) as client:
        for queue in [one.name for one in client.queues()]:
            for schedule in list(client.schedules.list(queue)):
                client.schedules.delete(schedule.schedule_id, queue)
            client.purge(queue, states=[state for state in State if state != "ACTIVE"])
            client.delete_queue(queue)


@pytest.fixture
def own_by_hand(store: StoreBackend, serve: Serve) -> Server:
    """One of a test's own."""
    return serve(store.url, "--clock", "manual", handlers=HANDLERS)


def three_days(client: Client, queue: str) -> ClockMove:
    """Of an application: reminders of a booking, a clean-up that fails twice, a worker that dies with its job."""
    now = client.clock.get().now
    client.schedule_booking_reminders("42", now + timedelta(days=3), queue=queue, email_to=["ada@example.com"])
    ladder = RetryPolicy(max_attempts=5, backoff="EXPONENTIAL", initial_delay=HOUR, max_delay=6 * HOUR, jitter=0)
    client.schedule("nightly_clean_up", queue=queue, delay=10 * HOUR, job_id="clean-up", retry=ladder)
    client.schedule("greet", queue=queue, delay=30 * HOUR, job_id="greeting")
    client.schedule("orphan", queue=queue, job_id="orphan")
    assert lose_worker(client.address, queue, "orphan") == "orphan"
    # Nobody takes the orphan again, and its worker is known to be gone: nothing is waited for, however long one would.
    return client.clock.advance(days=3, settle=60)


def told(done: ClockMove) -> list[tuple[str, int, str, timedelta]]:
    first = done.ran[0].due_time
    return [(run.type, run.attempt, run.state.value, round_to_minutes(run.due_time - first)) for run in done.ran]


def round_to_minutes(span_: timedelta) -> timedelta:
    return round(span_ / MINUTE) * MINUTE


ORDER = [
    ("orphan", 1, "WAITING", 0 * HOUR),
    ("nightly_clean_up", 1, "SCHEDULED", 10 * HOUR),
    ("nightly_clean_up", 2, "SCHEDULED", 11 * HOUR),
    ("nightly_clean_up", 3, "COMPLETED", 13 * HOUR),
    ("greet", 1, "COMPLETED", 30 * HOUR),
    ("booking_reminder", 1, "COMPLETED", 48 * HOUR),
    ("booking_reminder", 1, "COMPLETED", 71 * HOUR),
    ("booking_reminder", 1, "COMPLETED", 72 * HOUR - 15 * MINUTE),
]


def test_three_days_take_seconds_and_have_the_same_order_in_each_run(by_hand: Server) -> None:
    with Client(by_hand.address) as client:
        for run in range(3):
            before, began = client.clock.get().now, time.monotonic()
            done = three_days(client, f"app{run}")
            took = time.monotonic() - began
            client.purge(f"app{run}", states=["WAITING"])

            assert told(done) == ORDER
            assert done.now >= before + timedelta(days=3)
            assert not done.more
            assert took < 20  # a second, where the machine has nothing else to do
            assert "LEASE_EXPIRED" in done.ran[0].error
            assert done.ran[1].error == "RuntimeError: attempt 1 found the disk busy"
    assert len(list((by_hand.folder / "outbox").glob("*.eml"))) == 9


def test_two_servers_share_the_clock(by_hand: Server, serve: Serve) -> None:
    url = by_hand.env.get("REDIS_URL") or by_hand.env["MONGODB_URL"]
    beside = serve(url, "--clock", "manual", "--no-dispatch")
    with Client(beside.address) as other, Client(by_hand.address) as client:
        client.schedule("greet", delay=HOUR, job_id="greeting")
        until(lambda: any(other.workers(type="greet")), within=10)  # servers hear of each other's workers a little late
        done = other.clock.advance_to_next()
        assert [run.job_id for run in done.ran] == ["greeting"]
        assert client.clock.get().now >= done.now - MINUTE
        assert client.clock.get().next_due_time is None


def test_who_waits_for_others_runs_when_they_have_ended(by_hand: Server) -> None:
    """At that time, though one move goes far beyond it, and though the next is told of by a message."""
    with Client(by_hand.address) as client:
        for run in range(5):
            start, queue = client.clock.get().now, f"waits{run}"
            jobs = [client.schedule("greet", queue=queue, delay=HOUR, job_id="0", on_end=JobRequest("greet"))]
            for at in range(1, 4):
                after = DependsOn([jobs[-1]], "FAIL")
                jobs.append(client.schedule("greet", queue=f"{queue}.{at}", job_id=str(at), depends_on=after))
            done = client.clock.advance(days=1)
            assert not done.more
            assert [one.state.value for one in done.ran] == ["COMPLETED"] * 5
            assert jobs[0].on_end is not None
            for job in (*jobs, jobs[0].on_end):
                ran = client.get(job)
                assert ran.start_time is not None
                assert ran.start_time - start < HOUR + MINUTE, job


def test_who_has_waited_for_too_long_ends_at_that_time(by_hand: Server) -> None:
    with Client(by_hand.address) as client:
        far = client.schedule("greet", delay=10 * HOUR, job_id="far")
        child = client.schedule("greet", job_id="child", depends_on=DependsOn([far], "FAIL", block_timeout=HOUR))
        assert client.clock.get().next_due_time == child.create_time + HOUR
        client.clock.advance(hours=5)
        ended = client.get(child)
        assert ended.errors[-1].type == "BLOCK_TIMEOUT"
        assert ended.end_time is not None
        assert ended.end_time - child.create_time < HOUR + MINUTE


def test_what_nobody_runs_is_not_waited_for(by_hand: Server) -> None:
    with Client(by_hand.address) as client:
        client.schedule("unknown", job_id="nobody")
        client.schedule("greet", queue="paused", job_id="paused")
        client.pause("paused")
        for hours in range(1, 9):
            client.schedule("greet", delay=hours * HOUR, job_id=f"greeting-{hours}")
        began = time.monotonic()
        done = client.clock.advance(hours=9, settle=60)
        assert [run.job_id for run in done.ran] == [f"greeting-{hours}" for hours in range(1, 9)]
        assert not done.more
        assert time.monotonic() - began < 20


def test_a_job_of_low_priority_is_given_out_in_the_end_where_priorities_grow(by_hand: Server) -> None:
    with Client(by_hand.address) as client, grpc.insecure_channel(by_hand.address) as channel:
        worker = worker_service_pb2_grpc.WorkerServiceStub(channel)
        client.update_queue("ages", priority_ageing=10 * MINUTE)
        client.schedule("slow", queue="ages", job_id="low")
        order = []
        for hour in range(3):
            for priority in (7, 12):
                client.schedule("slow", queue="ages", job_id=f"{priority} of {hour} h", priority=priority)
            [leased] = worker.LeaseJobs(poll("ages", "slow", most=1, lease=span(HOUR))).jobs
            worker.ReportOutcomes(report(completed(leased.token)))
            order.append(leased.job.job_id)
            if hour < 2:
                client.clock.advance(hours=1, settle=0)
        # After an hour "7 of 0 h" has gained 6, and has 13; after two "low" has 12.
        assert order == ["12 of 0 h", "7 of 0 h", "12 of 1 h"]
        ahead = [client.explain(name, queue="ages").ahead for name in ("7 of 1 h", "low", "12 of 2 h", "7 of 2 h")]
        assert ahead == [0, 1, 2, 3]
        while found := worker.LeaseJobs(poll("ages", "slow", wait=0, lease=span(HOUR))).jobs:
            order += [one.job.job_id for one in found]
            worker.ReportOutcomes(report(*(completed(one.token) for one in found)))
        assert order[3:] == ["7 of 1 h", "low", "12 of 2 h", "7 of 2 h"]


def test_a_worker_that_has_a_job_is_waited_for_once(by_hand: Server) -> None:
    with Client(by_hand.address) as client, grpc.insecure_channel(by_hand.address) as channel:
        worker = worker_service_pb2_grpc.WorkerServiceStub(channel)
        client.schedule("slow", job_id="slow")
        [leased] = worker.LeaseJobs(poll("default", "slow", lease=span(HOUR))).jobs
        client.schedule("greet", delay=MINUTE, job_id="greeting")
        began = time.monotonic()
        done = client.clock.advance(minutes=2, settle=1)
        assert time.monotonic() - began >= 1
        assert [run.job_id for run in done.ran] == ["greeting"]

        with ThreadPoolExecutor(1) as aside:
            moving = aside.submit(client.clock.advance, hours=2, settle=60)
            [result] = worker.ReportOutcomes(report(completed(leased.token))).results
            assert not result.HasField("error"), "its lease was not left to the moved clock"
            assert not moving.result().more


def test_one_run_that_waits_goes_when_the_one_before_has_ended_and_hides_no_other(by_hand: Server) -> None:
    with Client(by_hand.address) as client, grpc.insecure_channel(by_hand.address) as channel:
        worker = worker_service_pb2_grpc.WorkerServiceStub(channel)
        start = (client.clock.get().now + HOUR).replace(microsecond=500_000)
        client.schedules.create("long", every=HOUR, start_time=start, overlap="QUEUE_ONE", type="long", queue="s")
        client.schedules.create("short", every=HOUR, start_time=start + HOUR / 2, type="greet", queue="s")
        ran = client.clock.advance(hours=4.1, settle=60).ran
        shorts = [start + (half + 0.5) * HOUR for half in range(3)]
        assert [run.job_id for run in ran] == [f"short@{time:%Y-%m-%dT%H:%M:%S}.500Z" for time in shorts]
        [leased] = worker.LeaseJobs(poll("s", "long", lease=span(HOUR))).jobs
        worker.ReportOutcomes(report(completed(leased.token)))
        client.clock.advance(seconds=0, settle=0.5)
        long = client.schedules.get("long", queue="s")
        assert (long.fired, long.overlap_skipped) == (2, 2)
        [waiting] = client.list(queue="s", states=["WAITING"])
        assert waiting.job_id == f"long@{start + HOUR:%Y-%m-%dT%H:%M:%S}.500Z"


def test_wrong_requests_name_the_field(by_hand: Server) -> None:
    with Client(by_hand.address) as client:
        before = client.clock.get().now
        with pytest.raises(InvalidArgument, match="by"):
            client.clock.advance(days=-1)
        with pytest.raises(InvalidArgument, match="settle"):
            client.clock.advance(days=1, settle=61)
        assert client.clock.get().now < before + HOUR


def test_an_answer_has_room_for_what_it_tells() -> None:
    """Thousands of jobs due at once were an answer of megabytes, which no client takes."""
    with job_server(HANDLERS) as server, Client(server.address) as client:
        to = client.clock.get().now + HOUR
        client.schedule_many([JobRequest("greet", at=to, job_id=f"{n}") for n in range(1_600)])
        told: list[str] = []
        cut, more = False, True
        while more:
            began = time.monotonic()
            done = client.clock.advance(to=to, settle=5)
            cut = cut or time.monotonic() - began >= 10
            assert len(done.ran) <= 1_500
            told += [run.job_id for run in done.ran]
            more = done.more
        assert len(set(told)) == len(told)
        assert cut or len(told) == 1_600  # what ends between two calls is in neither


def test_it_stops_well_before_the_end_of_the_calendar(own_by_hand: Server) -> None:
    last = datetime(9499, 12, 31, tzinfo=UTC)
    with Client(own_by_hand.address) as client:
        for ask, field in (({"to": last + timedelta(days=1)}, "to"), ({"to": datetime.max.replace(tzinfo=UTC)}, "to")):
            with pytest.raises(InvalidArgument, match=f"^{field}: .*9,499"):
                client.clock.advance(**ask)
        assert client.clock.advance(to=last).now.year == 9499
        with pytest.raises(InvalidArgument, match=r"^by: .*9,499"):
            client.clock.advance(days=36_525)
        assert client.wait(client.schedule("greet"), timeout=20).state == "COMPLETED"
        far = client.schedule("greet", at=datetime(9999, 12, 31, tzinfo=UTC))
        client.schedules.create("centuries", every=timedelta(days=36_525), type="greet")
        with pytest.raises(InvalidArgument, match=r"^to_next_due: .*9,499"):
            client.clock.advance_to_next()
        assert client.clock.get().now.year == 9499
        assert far.job_id in [job.job_id for job in client.list()]


def test_a_store_of_real_time_refuses_and_each_kind_stays_what_it_is(
    store: StoreBackend, serve: Serve, tmp_path: Path
) -> None:
    real = serve(store.url)
    with Client(real.address) as client:
        assert not client.clock.get().manual
        with pytest.raises(FailedPrecondition, match="always will") as refused:
            client.clock.advance(days=3)
        assert refused.value.reason == "CLOCK_NOT_MANUAL"
    assert real.stop() == 0
    refusing = Server(tmp_path, [*real.flags, "--clock", "manual"], real.env).launch()
    assert refusing.wait() == 2
    assert "made with a real clock" in refusing.said()


def test_serve_refuses_a_store_whose_clock_is_moved_by_hand(own_by_hand: Server, tmp_path: Path) -> None:
    assert own_by_hand.stop() == 0
    refusing = Server(tmp_path / "again", env=own_by_hand.env).launch()
    assert refusing.wait() == 2
    assert "--clock manual" in refusing.said()


def test_the_command_line_moves_it(by_hand: Server) -> None:
    def tocsin(*words: str) -> str:
        return typed("clock", *words, "--address", by_hand.address, check=True).stdout

    with Client(by_hand.address) as client:
        client.schedule("greet", delay=2 * HOUR, job_id="greeting")
    assert "moved by hand" in tocsin("get")
    assert "greeting" in tocsin("advance", "to-next")
    assert tocsin("advance", "3d").startswith("It is ")


def test_schedules_fire_at_each_of_their_times(by_hand: Server) -> None:
    with Client(by_hand.address) as client:
        client.schedules.create("hourly", every=HOUR, type="greet", queue="hourly")
        ran = client.clock.advance(hours=5.5).ran
        assert len(ran) >= 5
        gaps = {round_to_minutes(after.due_time - before.due_time) for before, after in pairwise(ran)}
        assert gaps == {HOUR}


def test_a_run_that_waits_holds_no_clock_up(by_hand: Server) -> None:
    with Client(by_hand.address) as client:
        began = time.monotonic()
        client.schedules.create("waits", every=3600, type="nobody", overlap="QUEUE_ONE", queue="waiting")
        client.schedules.create("beside", every=5400, type="nobody", overlap="ALLOW", queue="waiting")
        done = client.clock.advance(hours=6, minutes=1, settle=0.1)
        assert not done.more
        assert time.monotonic() - began < 20  # five seconds a step would be more than fifty
        waits, beside = client.schedules.list("waiting")[::-1]
        assert (waits.fired, waits.overlap_skipped, waits.missed) == (1, 4, 0)
        assert waits.message.HasField("waiting_time")
        assert (beside.fired, beside.missed) == (4, 0)
        first = [job for job in client.list(queue="waiting") if job.schedule_id == "waits"]
        client.cancel(first[0])
        client.clock.advance(seconds=1, settle=0.1)
        assert client.schedules.get("waits", "waiting").fired == 2
