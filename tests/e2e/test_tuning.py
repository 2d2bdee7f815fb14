"""How many run at once, how failures are tried again and what is kept: for a server, a queue, a type, while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from contract.backdating import RedisBackdate
from support.eventually import until
from support.journal import Journal, Line
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Backoff, Client, InvalidArgument, JobDefaults, JobRequest, Retention, RetryPolicy
from tocsin_server.domain.job import Job, View
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.store import RedisStore

TICK = 1.0
StartServer = Callable[..., Server]


@pytest.fixture
def served(redis: RedisBackend, serve: StartServer, journal: Journal) -> Iterator[Client]:
    """A client of a server that is set as it comes."""
    with Client(serve(redis.url, handlers="support.jobs.tuned", **journal.env).address) as client:
        yield client


def schedule(client: Client, type_: str, count: int, queue: str = "default", **options: object) -> list[str]:
    wanted = [JobRequest(type_, queue=queue, **options) for _ in range(count)]  # type: ignore[arg-type]  # the test's own
    return [job.job_id for job in client.schedule_many(wanted) if not isinstance(job, Exception)]


def running(lines: list[Line]) -> Counter[str]:
    """How many of each type are under way after these lines."""
    now: Counter[str] = Counter()
    for line in lines:
        now[line.detail] += 1 if line.event == "start" else -1
    return now


def most_at_once(journal: Journal, type_: str) -> int:
    lines = [line for line in journal.lines() if line.detail == type_]
    return max(running(lines[: n + 1])[type_] for n in range(len(lines)))


def until_running(journal: Journal, within: float, **wanted: int) -> None:
    until(lambda: +running(journal.lines()) == Counter(wanted), within=within, what=f"{wanted} run")


def test_no_more_than_five_jobs_of_a_type_run_at_once_and_other_types_run_beside_them(
    served: Client, journal: Journal
) -> None:
    held = schedule(served, "held", 12)
    ids = schedule(served, "short", 12, queue="other")
    for job_id in ids:
        assert served.wait(job_id, queue="other", timeout=20).state == "COMPLETED"
    until_running(journal, 5, held=5)
    assert (most_at_once(journal, "short"), most_at_once(journal, "held")) == (5, 5)
    # What ends makes room at once.
    served.cancel_many(line.job_id for line in journal.lines("start")[:2] if line.job_id in held)
    schedule(served, "held_three", 4)
    until_running(journal, 5, held=5, held_three=3)
    assert most_at_once(journal, "held") == 5


def test_a_number_is_raised_and_lowered_while_jobs_run(served: Client, journal: Journal) -> None:
    jobs = schedule(served, "held", 20)
    until_running(journal, 5, held=5)
    served.update_queue(types={"held": JobDefaults(concurrency=8)})
    until_running(journal, TICK + 0.5, held=8)
    served.update_queue(types={"held": JobDefaults(concurrency=2)})
    served.wait(schedule(served, "noop", 1)[0], timeout=5)
    assert running(journal.lines()) == {"held": 8}  # what runs goes on
    started = [line.job_id for line in journal.lines("start")]
    for left in range(7, 2, -1):
        served.cancel(started.pop())
        until_running(journal, 5, held=left)
    assert len(journal.lines("start")) == 8
    served.cancel_many([started.pop(), started.pop()])
    until(lambda: len(journal.lines("start")) == 9, within=5, what="one takes the place of two")
    until_running(journal, 5, held=2)
    served.update_queue(types={"held": None})
    until_running(journal, TICK + 0.5, held=5)
    assert len(jobs) == 20


def test_the_nearest_word_on_concurrency_counts(redis: RedisBackend, serve: StartServer, journal: Journal) -> None:
    flags = ("--type-concurrency", "2", "--concurrency", "9")
    server = serve(redis.url, *flags, handlers="support.jobs.tuned", **journal.env)
    with Client(server.address) as client:
        schedule(client, "held", 9)  # the server's word
        schedule(client, "held_three", 9)  # the handler's
        until_running(journal, 5, held=2, held_three=3)
        client.update_queue(defaults=JobDefaults(concurrency=4), types={"held": JobDefaults(concurrency=3)})
        until_running(journal, TICK + 0.5, held=3, held_three=4)
        client.update_queue(type_defaults=None)
        until_running(journal, TICK + 0.5, held=4, held_three=4)
        client.update_queue(defaults=JobDefaults(concurrency=10_000))
        until(lambda: running(journal.lines()).total() == 9, within=TICK + 0.5, what="all slots are taken")


def test_bad_numbers_are_refused_by_the_path_of_their_field(served: Client) -> None:
    with pytest.raises(InvalidArgument) as caught:
        served.update_queue(
            defaults=JobDefaults(concurrency=10_001),
            type_defaults={"resize_image": JobDefaults(concurrency=0), "no type": JobDefaults(concurrency=1)},
        )
    assert {violation.field for violation in caught.value.violations} == {
        "queue.defaults.concurrency",
        "queue.type_defaults[resize_image].concurrency",
        "queue.type_defaults['no type']",
    }
    assert served.queue().defaults is None


def test_a_servers_own_settings_hold_where_job_type_and_queue_say_nothing(
    redis: RedisBackend, serve: StartServer, journal: Journal
) -> None:
    env = {
        "TOCSIN_RETRY__MAX_ATTEMPTS": "2",
        "TOCSIN_RETRY__BACKOFF": "fixed",
        "TOCSIN_RETRY__INITIAL_DELAY": "100ms",
        "TOCSIN_RETRY__MAX_DELAY": "1m",
        "TOCSIN_RETRY__JITTER": "0",
        "TOCSIN_RETENTION__COMPLETED_FOR": "1s",
        "TOCSIN_RETENTION__FAILED_FOR": "2h",
    }
    with Client(serve(redis.url, handlers="support.jobs.tuned", **env, **journal.env).address) as client:
        failed = client.wait(client.schedule("fails"), timeout=10)
        assert (failed.state, failed.attempt, failed.failures) == ("FAILED", 2, 2)
        first, second = journal.lines("start")
        assert 0.1 <= second.at - first.at < 0.1 + TICK
        policy = RetryPolicy(2, Backoff.FIXED, timedelta(milliseconds=100), timedelta(minutes=1), 0.0)
        assert RetryPolicy.read(failed.message.spec.retry) == policy
        kept = Retention(timedelta(seconds=1), timedelta(hours=2))
        assert Retention.read(failed.message.spec.retention) == kept
        client.wait(client.schedule("noop", job_id="gone"), timeout=10)
        until(lambda: client.count(states=["COMPLETED"]) == 0, within=1 + TICK + 1, what="trimmed by age")

        client.update_queue(
            defaults=JobDefaults(retry=RetryPolicy(max_attempts=4), retention=Retention(failed_for=60)),
            type_defaults={"fails": JobDefaults(retry=RetryPolicy(max_attempts=3))},
        )
        after = client.schedule("fails", delay=60, retry=RetryPolicy(initial_delay=5)).message.spec
        assert (after.retry.max_attempts, after.retry.initial_delay.seconds, after.retry.jitter) == (3, 5, 0.0)
        assert (after.retention.failed_for.seconds, after.retention.completed_for.seconds) == (60, 1)
        assert client.schedule("noop", delay=60).message.spec.retry.max_attempts == 4


async def test_the_last_50_completed_and_25_failed_jobs_of_a_queue_are_kept(
    served: Client, redis: RedisBackend
) -> None:
    served.update_queue(completed_max=50, failed_max=25)
    done = schedule(served, "noop", 60)
    failed = schedule(served, "fails", 30, retry=RetryPolicy(max_attempts=1))
    for job_id in (*done, *failed):
        served.wait(job_id, timeout=20)
    store = RedisStore(RedisConnection(redis.url), "tocsin")
    backdate = RedisBackdate(redis.client, Keys("tocsin"))
    try:
        for n, job_id in enumerate((*done, *failed)):
            [job] = await store.get("default", [job_id], View.BASIC)
            assert isinstance(job, Job)
            # Out of the five minutes in which whoever waits for a job still finds it; the first are the oldest.
            backdate.end(job, by=timedelta(minutes=10) - n * timedelta(seconds=1))
    finally:
        await store.close()
    marker = served.wait(served.schedule("noop"), timeout=10).job_id  # a tick that tells of a change
    until(lambda: served.count(states=["COMPLETED"]) == 50, within=3 * TICK, what="trimmed by count")
    until(lambda: served.count(states=["FAILED"]) == 25, within=3 * TICK, what="trimmed by count")
    left = {job.job_id for job in served.list(states=["COMPLETED", "FAILED"])}
    assert left == {*done[11:], marker, *failed[5:]}
