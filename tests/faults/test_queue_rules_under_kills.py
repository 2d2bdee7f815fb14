"""Two servers on one store, killed -9 one after the other: keys have their turns, no job begins too late or while it is
held, and a queue that drains ends what it has and takes nothing more."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial

import pytest
from support.eventually import until
from support.journal import Journal, Line
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client, FailedPrecondition, Job, JobRequest, Limit, LimitScope, TocsinError

from faults.test_limits_under_kills import more_lines

QUEUE, KILLS = "work", 3
ONE_AT_ONCE = [Limit("all", LimitScope.QUEUE, max_active=1)]
LEASE = {"TOCSIN_LEASE__DURATION": "2s", "handlers": "support.jobs.steady"}

pytestmark = pytest.mark.timeout(240)  # seconds: three starts, three leases that end, and a store that takes its time


def scheduled(client: Client, requests: Iterable[JobRequest]) -> list[Job]:
    jobs = client.schedule_many(list(requests))
    assert not [one for one in jobs if isinstance(one, TocsinError)]
    return [one for one in jobs if isinstance(one, Job)]


def kill_one_after_the_other(servers: Sequence[Server], journal: Journal, jobs: int) -> None:
    """Each once some more jobs have begun, while there are more than a few of these: it starts again."""
    chance = random.Random(len(servers))
    for _ in range(KILLS):
        seen = len(journal.lines())
        if seen > 2 * jobs - 20:  # a line as each begins, and one at its end
            return
        until(partial(more_lines, journal, seen + 5), within=30, what="some jobs run")
        server = chance.choice(servers)
        server.kill()
        server.start()


def all_ended(client: Client, number: int) -> bool:
    counts = client.queue_health(QUEUE).counts
    return sum((counts.completed, counts.cancelled, counts.failed)) == number


def test_each_key_has_its_turn(store: StoreBackend, serve: Callable[..., Server], journal: Journal) -> None:
    servers = [serve(store.url, "--no-dispatch", **LEASE, **journal.env) for _ in range(2)]
    sizes = {"much": 120, "some": 40, "few": 12} if store.provider == "redis" else {"much": 30, "some": 12, "few": 6}
    with Client(servers[0].address) as client:
        client.update_queue(QUEUE, fair_turns=True, limits=ONE_AT_ONCE)
        for key, size in sizes.items():  # who has most comes first
            scheduled(
                client, (JobRequest("steady", queue=QUEUE, job_id=f"{key}-{n}", limit_key=key) for n in range(size))
            )
    dispatching = [serve(store.url, **LEASE, **journal.env) for _ in range(2)]
    kill_one_after_the_other(dispatching, journal, sum(sizes.values()))
    with Client(servers[0].address) as client:
        until(lambda: all_ended(client, sum(sizes.values())), within=120, what="all done")
    starts = journal.lines("start")
    for key in sizes:
        check_turns(key, starts)


def check_turns(key: str, starts: Sequence[Line]) -> None:
    """Between two turns of a key each other one has had one. An attempt that died before it could say that it began
    was a turn that is not seen here."""
    last = max(at for at, line in enumerate(starts) if line.job_id.startswith(key))
    waited, excess = Counter[str](), 0
    for line in starts[:last]:
        other = line.job_id.partition("-")[0]
        if other == key:
            waited.clear()
            continue
        waited[other] += 1
        excess += waited[other] > 1
    assert excess <= KILLS, f"{key} waited for {excess} turns too many"


def test_no_job_begins_when_it_has_expired(store: StoreBackend, serve: Callable[..., Server], journal: Journal) -> None:
    servers = [serve(store.url, **LEASE, **journal.env) for _ in range(2)]
    size = 300 if store.provider == "redis" else 60
    with Client(servers[0].address) as client:
        client.update_queue(QUEUE, limits=ONE_AT_ONCE)
        # Every other one has time, so that some run however long the rest takes.
        wanted = (JobRequest("steady", queue=QUEUE, expire=600 if n % 2 else 3 + n % 7) for n in range(size))
        expires = {job.job_id: job.expire_time for job in scheduled(client, wanted)}
    kill_one_after_the_other(servers, journal, size // 2)
    with Client(servers[0].address) as client:
        until(lambda: all_ended(client, size), within=120, what="all done")
        ended = list(client.list(queue=QUEUE, page_size=1000))
    ran = {line.job_id for line in journal.lines("start")}
    assert {job.state for job in ended} == {"COMPLETED", "CANCELLED"}
    for job in ended:
        assert (job.state == "COMPLETED") >= (job.job_id in ran), job
    for line in journal.lines("start"):
        expire = expires[line.job_id]
        assert expire is not None
        if line.attempt == 1:  # by the store's clock; it says so here a moment later
            assert datetime.fromtimestamp(line.at - 0.5, UTC) < expire, line


def test_what_is_held_waits_and_a_queue_that_drains_ends_what_it_has(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    servers = [serve(store.url, **LEASE, **journal.env) for _ in range(2)]
    size = 120 if store.provider == "redis" else 60
    with Client(servers[0].address) as client:
        client.update_queue(QUEUE, limits=ONE_AT_ONCE)
        held = scheduled(client, (JobRequest("steady", queue=QUEUE, job_id=f"held-{n}", delay=3600) for n in range(5)))
        for job in held:
            client.hold(job)
            client.run(job)  # it would be due
        scheduled(client, (JobRequest("steady", queue=QUEUE) for _ in range(size)))
        client.drain(QUEUE)
    kill_one_after_the_other(servers, journal, size)
    with Client(servers[1].address) as client:
        with pytest.raises(FailedPrecondition, match="drain"):
            client.schedule("steady", queue=QUEUE)
        until(lambda: all_ended(client, size), within=120, what="all but the held ones are done")
        assert not [line for line in journal.lines("start") if line.job_id.startswith("held")]
        for job in held:
            client.release(job)
        until(lambda: all_ended(client, size + len(held)), within=60, what="all done")
        assert client.queue_health(QUEUE).counts.completed == size + len(held)
