"""Two servers share a queue's limits, and are killed -9 at random: never more run than may, each key keeps its order,
and no place is lost."""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import pytest
from support.eventually import until
from support.journal import Journal, Line
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client, JobRequest, Limit, LimitScope, Retention

QUEUE, KEYS, AT_ONCE = "work", "abcdef", 4
LIMITS = [Limit("all", LimitScope.QUEUE, max_active=AT_ONCE), Limit("one", LimitScope.KEY, max_active=1)]
LEASE = {"TOCSIN_LEASE__DURATION": "2s"}


def key_of(job_id: str) -> str:
    return job_id[0]


def fill(client: Client, each: int, first: int = 0) -> int:
    """So many jobs of each key, in the order of their numbers, which go on from `first`."""
    if not first:
        client.update_queue(QUEUE, limits=LIMITS)
    jobs = [
        JobRequest(
            "steady", queue=QUEUE, job_id=f"{key}{n:05}", limit_key=key, retention=Retention(completed_for=86_400)
        )
        for n in range(first, first + each)
        for key in KEYS
    ]
    for start in range(0, len(jobs), 1000):
        client.schedule_many(jobs[start : start + 1000])
    return len(jobs)


def spans(lines: Sequence[Line], deaths: Mapping[int, float]) -> list[tuple[float, float, str]]:
    """Begin and end of each attempt; one whose process was killed ended then."""
    ends = {(line.job_id, line.attempt): line.at for line in lines if line.event == "end"}
    found = []
    for line in lines:
        if line.event == "start":
            end = ends.get((line.job_id, line.attempt), deaths.get(line.pid))
            assert end is not None, line
            found.append((line.at, end, line.job_id))
    return sorted(found)


def most_at_once(found: Iterable[tuple[float, float, str]]) -> int:
    steps = sorted(step for begin, end, _ in found for step in ((begin, 1), (end, -1)))
    most = running = 0
    for _, by in steps:
        running += by
        most = max(most, running)
    return most


def more_lines(journal: Journal, than: int) -> bool:
    return len(journal.lines()) > than


def check(journal: Journal, deaths: Mapping[int, float]) -> None:
    found = spans(journal.lines(), deaths)
    assert most_at_once(found) <= AT_ONCE
    by_key = defaultdict(list)
    for span in found:
        by_key[key_of(span[2])].append(span)
    for key, of_key in by_key.items():
        assert most_at_once(of_key) == 1, key
        assert [job_id for *_, job_id in of_key] == sorted(job_id for *_, job_id in of_key), key


def test_a_place_that_is_free_is_taken_at_once_by_whichever_server(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    one, _ = (serve(store.url, handlers="support.jobs.steady", **journal.env) for _ in range(2))
    with Client(one.address) as client:
        total = fill(client, 15 if store.provider == "redis" else 5)
        until(lambda: client.queue_health(QUEUE).counts.completed == total, within=90, what="all done")
    check(journal, {})
    assert len({line.pid for line in journal.lines("start")}) == 2
    found = spans(journal.lines(), {})
    gaps = [later[0] - sooner[1] for key in KEYS for sooner, later in pairwise(s for s in found if key_of(s[2]) == key)]
    assert statistics.median(gaps) < 0.5, "places are found by ticks, once a second, and not by a ring"


@pytest.mark.timeout(300)  # seconds: of kills, of a start that takes long, and of the wait at the end
@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.full)])
def test_servers_that_are_killed_at_random_exceed_no_limit_and_lose_no_place(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal, seconds: int
) -> None:
    chance, deaths = random.Random(seconds), dict[int, float]()
    servers = [serve(store.url, handlers="support.jobs.steady", **LEASE, **journal.env) for _ in range(2)]
    each = 70 if store.provider == "redis" else 10
    with Client(servers[0].address) as client:
        total = fill(client, each)
    until_time = time.monotonic() + seconds
    while time.monotonic() < until_time:
        # As many as are run before the next look, however fast the store is: who has to wait for all of them in the end
        # can tell a slow store from a place that was lost.
        with Client(servers[0].address) as client:
            if total - client.queue_health(QUEUE).counts.completed < len(KEYS) * each:
                total += fill(client, each, total // len(KEYS))
        server = chance.choice(servers)
        seen = len(journal.lines())
        until(partial(more_lines, journal, seen + 5), within=30, what="some jobs run")
        pid = server.pid
        server.kill()
        deaths[pid] = time.time()
        server.start()
    with Client(servers[0].address) as client:
        until(lambda: client.queue_health(QUEUE).counts.completed == total, within=200, what="all done")
    check(journal, deaths)
