"""Two servers run the jobs of queues that share a limit, and are killed -9 at random: never more run than may, and no
place is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

import pytest
from support.eventually import until
from support.journal import Journal
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client, JobRequest, Retention

from faults.test_limits_under_kills import LEASE, more_lines, most_at_once, spans

QUEUES, AT_ONCE = ("one", "two", "three"), 3


def fill(client: Client, each: int, first: int = 0) -> int:
    jobs = [
        JobRequest("steady", queue=queue, job_id=f"{queue}{n:05}", retention=Retention(completed_for=86_400))
        for n in range(first, first + each)
        for queue in QUEUES
    ]
    client.schedule_many(jobs)
    return len(jobs)


def completed(client: Client) -> int:
    return sum(client.queue_health(queue).counts.completed for queue in QUEUES)


@pytest.mark.timeout(300)  # seconds: of kills, of a start that takes long, and of the wait at the end
@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.full)])
def test_servers_that_are_killed_at_random_exceed_no_shared_limit_and_lose_no_place(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal, seconds: int
) -> None:
    chance, deaths = random.Random(seconds), dict[int, float]()
    servers = [serve(store.url, handlers="support.jobs.steady", **LEASE, **journal.env) for _ in range(2)]
    each = 60 if store.provider == "redis" else 10
    with Client(servers[0].address) as client:
        client.shared_limits.put("all", QUEUES, max_active=AT_ONCE)
        total = fill(client, each)
    until_time = time.monotonic() + seconds
    while time.monotonic() < until_time:
        with Client(servers[0].address) as client:
            if total - completed(client) < len(QUEUES) * each:
                total += fill(client, each, total // len(QUEUES))
        server = chance.choice(servers)
        seen = len(journal.lines())
        until(partial(more_lines, journal, seen + 5), within=30, what="some jobs run")
        pid = server.pid
        server.kill()
        deaths[pid] = time.time()
        server.start()
    with Client(servers[0].address) as client:
        until(lambda: completed(client) == total, within=200, what="all done")
        until(lambda: client.shared_limits.get("all").active == 0, within=5, what="no place is left")
    found = spans(journal.lines(), deaths)
    assert most_at_once(found) <= AT_ONCE
    assert {job_id.rstrip("0123456789") for _, _, job_id in found} == set(QUEUES)
