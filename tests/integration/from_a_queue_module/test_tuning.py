"""Settings of a server, each seen to hold on one that has all of the table's variables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from support.eventually import until
from support.mongo_backend import MongoBackend
from support.mongo_servers import MongoServer
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import STORES
from tocsin import Client, Job, JobRequest, RetryPolicy

from integration.from_a_queue_module.conftest import empty, launch
from integration.from_a_queue_module.lines import Lines, variables_of
from integration.from_a_queue_module.moved_times import backdated, made_due
from integration.from_a_queue_module.page import sections

ONCE = RetryPolicy(max_attempts=1)
TICK = 2.0  # seconds, on the page
HOURS = {"pages": 3600}


@pytest.fixture(scope="module", params=STORES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, python_path: str
) -> Iterator[Server]:
    """A server on each store in turn, set as all rows of the table say."""
    [lines] = [[line for row in one.rows for line in row.lines] for one in sections() if one.title == "Tuning"]
    env = {name: value for line in lines for name, value in variables_of(line).items()}
    part: RedisBackend | MongoBackend
    if request.param == "redis":
        part = RedisBackend(tmp_path_factory.mktemp("redis"))
    else:
        mongo = request.getfixturevalue("mongo_server")
        assert isinstance(mongo, MongoServer)
        part = MongoBackend(mongo, "tuned")
    with part:
        folder = tmp_path_factory.mktemp("tuned")
        server = launch(folder, part.url, python_path, ["myapp.jobs", "support.jobs.everyday"], **env)
        yield server
        assert server.stop() == 0


@pytest.fixture
def client(server: Server, lines: Lines) -> Iterator[Client]:
    """A client of that server, at which the lines are aimed; the queue "default" is empty."""
    lines.at(server.address)
    with Client(server.address) as client:
        yield client
        empty(client)


def active(client: Client, count: int) -> bool:
    """Whether so many run, of those that may."""
    return client.count(states=["ACTIVE"]) == count


def until_active(client: Client, count: int) -> None:
    until(lambda: active(client, count), within=TICK + 8, what=f"{count} jobs run")


def test_concurrency_in_all(lines: Lines, server: Server, client: Client) -> None:
    assert lines.variables().items() <= server.env.items()
    client.schedule_many(JobRequest("until_cancelled") for _ in range(12))  # its handler would have 50
    until_active(client, 8)
    [running, *_] = client.list(states=["ACTIVE"])
    client.cancel(running)
    until(lambda: client.count(states=["WAITING"]) == 3, within=10, what="one takes the place of one")
    until_active(client, 8)


def test_concurrency_of_a_type(lines: Lines, server: Server, client: Client) -> None:
    assert lines.variables().items() <= server.env.items()
    client.schedule_many(JobRequest("export_orders", HOURS) for _ in range(6))
    until_active(client, 3)
    client.wait(client.schedule("noop"), timeout=20)  # there is room for other types
    assert active(client, 3)


def test_concurrency_of_one_type(lines: Lines, client: Client) -> None:
    lines.python()
    # Held before any runs: a lower number stops nothing that does.
    until(lambda: client.queue().type_defaults["export_orders"].concurrency == 2, within=5)
    client.wait(client.schedule("export_orders", {"pages": 0}, delay=TICK), timeout=20)  # a tick later it is known
    client.schedule_many(JobRequest("export_orders", HOURS) for _ in range(6))
    until_active(client, 2)
    client.wait(client.schedule("noop"), timeout=20)
    assert active(client, 2)


@pytest.fixture
def unlimited(client: Client) -> Iterator[None]:
    """The queue has no limits for the tests that come."""
    yield
    client.update_queue(limits=[])


@pytest.mark.usefixtures("unlimited")
def test_rate_of_a_queue(lines: Lines, client: Client) -> None:
    lines.python()
    jobs = [client.schedule("noop") for _ in range(3)]
    for job in jobs[:2]:
        client.wait(job, timeout=20)
    assert client.explain(jobs[2]).reason == "LIMIT"


@pytest.mark.usefixtures("unlimited")
def test_one_at_a_time_for_each_key(lines: Lines, client: Client) -> None:
    lines.python()
    lines.python()
    until_active(client, 2)
    assert sorted(job.limit_key for job in client.list(states=["ACTIVE"])) == ["a", "b"]
    [waiting] = client.list(states=["WAITING"])
    assert client.explain(waiting).name == "each"


def test_process_every(lines: Lines, server: Server, client: Client) -> None:
    assert lines.variables().items() <= server.env.items()

    def start_of(number: int) -> datetime:
        job = client.schedule("noop", delay=3600, job_id=f"later-{number}")
        made_due(server, client, job.job_id)  # and nobody is woken
        started = client.wait(job, timeout=TICK + 20).start_time
        assert started is not None
        return started

    # Found at one tick, the next one at the next; unless a busy server still looked around after the one before.
    starts = [start_of(number) for number in range(2)]
    while starts[-1] - starts[-2] < timedelta(seconds=0.75 * TICK):
        assert len(starts) < 6, starts
        starts.append(start_of(len(starts)))


def test_attempts_and_backoff_of_all_jobs(lines: Lines, server: Server, client: Client) -> None:
    assert lines.variables().items() <= server.env.items()
    job = client.schedule("charge_card", {"amount": 4200})
    failed = until(lambda: now if (now := client.get(job)).failures == 1 else None, within=20)
    assert isinstance(failed, Job)
    assert failed.schedule_time is not None
    assert failed.schedule_time - failed.errors[-1].time == timedelta(seconds=5)
    client.run(job)
    assert client.wait(job, timeout=20).failures == 2


def test_counts_of_all_queues(lines: Lines, server: Server, client: Client) -> None:
    assert lines.variables().items() <= server.env.items()
    done, lost = [f"done-{n}" for n in range(7)], [f"lost-{n}" for n in range(4)]
    client.schedule_many(JobRequest("noop", job_id=job_id) for job_id in done)
    client.schedule_many(JobRequest("fails", retry=ONCE, job_id=job_id) for job_id in lost)
    for job_id in (*done, *lost):
        client.wait(job_id, timeout=20)
    backdated(server, client, [*lost, *done], minutes=6)
    kept = {*done[2:], *lost[2:]}
    until(lambda: {job.job_id for job in client.list()} == kept, within=TICK + 8, what="trimmed by count")


def test_lock_duration(lines: Lines, server: Server, client: Client) -> None:
    [(name, lease)] = lines.variables().items()
    assert server.env[name] == lease
    long = client.wait(client.schedule("export_orders", {"pages": 4}), timeout=20)
    assert (long.state, long.attempt, long.crashes) == ("COMPLETED", 1, 0)
    assert long.start_time is not None
    assert long.end_time is not None
    assert long.end_time - long.start_time > timedelta(seconds=float(lease.removesuffix("s")))


def test_no_lock_limit(lines: Lines, client: Client) -> None:
    client.schedule_many(JobRequest("export_orders", HOURS) for _ in range(6))
    until_active(client, 3)
    client.wait(client.schedule("noop"), timeout=20)
    assert lines.python() == 3
    assert client.count(states=["WAITING"]) == 3
