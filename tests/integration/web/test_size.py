"""How long pages take where much stands in the store, and what many open ones cost."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.dashboard import WEB, Visitor, dashboard_of
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client, JobRequest

StartServer = Callable[..., Server]

#: The figures of the project: a page opens within it, by the server's own clock.
SECONDS = 0.3
TYPES = 200
OPEN = 200  # dashboards
SHARE = 0.1  # of a core, and so of the throughput of a server that uses one, that they may take together

MUCH = (
    "/", "/queues", "/queue?queue=big", "/jobs?queue=big", "/jobs?queue=big&state=WAITING&type=type-17",
    "/jobs?queue=big&tag=city=7", "/jobs?queue=big&state=SCHEDULED&type=type-3,type-4", "/failed?queue=big",
    "/jobs?queue=big&time=create_time&from=1h",
)  # fmt: skip


@pytest.mark.parametrize("jobs", [20_000, pytest.param(1_000_000, marks=pytest.mark.full)])
@pytest.mark.timeout(1500)
def test_pages_open_fast_where_many_jobs_stand(redis: RedisBackend, serve: StartServer, jobs: int) -> None:
    server = serve(redis.url, "--no-dispatch", **WEB)
    with Client(server.address, deadline=120) as client:
        fill(client, jobs)
        assert client.count(queue="big") == jobs
    with Visitor(dashboard_of(server)) as visitor:
        for page in MUCH:
            took = []
            for _ in range(5):
                answer = visitor.get(page)
                assert answer.status_code == 200
                took.append(seconds_of(answer.headers["server-timing"]))
            assert sorted(took)[2] < SECONDS, (page, took)
        found = re.search(r"waiting<span>([0-9,]+)", visitor.text("/jobs?queue=big"))
        assert found
        assert int(found[1].replace(",", "")) > jobs * 0.4
        assert f"{jobs // TYPES // 2:,} jobs" in visitor.text("/jobs?queue=big&state=WAITING&type=type-2")


def fill(client: Client, jobs: int) -> None:
    """Jobs of 200 types, half of them due."""
    step = 10_000
    for begin in range(0, jobs, step):
        made = client.schedule_many(
            JobRequest(
                f"type-{number % TYPES}",
                {"n": number},
                queue="big",
                tags={"city": str(number % 50)},
                delay=0 if number // TYPES % 2 else 86_400,
            )
            for number in range(begin, min(begin + step, jobs))
        )
        assert not [one for one in made if isinstance(one, Exception)]


def seconds_of(timing: str) -> float:
    """What the server says that a page took it."""
    found = re.search(r"dur=([0-9.]+)", timing)
    assert found, timing
    return float(found[1]) / 1000


def cpu_seconds(pid: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(300)
def test_many_open_pages_cost_little(redis: RedisBackend, serve: StartServer) -> None:
    server = serve(redis.url, handlers="support.jobs.everyday", **WEB)
    with Client(server.address) as client:
        for number in range(50):
            client.schedule("echo", {}, queue=f"queue-{number}", delay=3600)
        idle = used(server, 10.0)
        with opened(dashboard_of(server), OPEN) as seen:
            until(lambda: sum(seen) >= OPEN, within=60, what="a picture for each")
            before = sum(seen)
            changing = threading.Event()

            def change() -> None:  # so that there is something to send each time
                number = 0
                while not changing.wait(0.5):
                    client.schedule("noop", {}, queue=f"queue-{number % 50}")
                    number += 1

            thread = threading.Thread(target=change)
            thread.start()
            busy = used(server, 10.0)
            changing.set()
            thread.join()
            assert sum(seen) >= before + OPEN * 3, "they were kept up to date"
    assert busy - idle < SHARE, (idle, busy)


def used(server: Server, seconds: float) -> float:
    """The share of a core that it uses for so long."""
    begun, since = cpu_seconds(server.pid), time.monotonic()
    threading.Event().wait(seconds)
    return (cpu_seconds(server.pid) - begun) / (time.monotonic() - since)


class opened:
    """So many open dashboards; how many pictures each has had."""

    def __init__(self, at: str, number: int) -> None:
        self._at, self._seen = at, [0] * number
        self._visitors = [Visitor(at) for _ in range(number)]
        self._threads = [threading.Thread(target=self._watch, args=(number,), daemon=True) for number in range(number)]

    def __enter__(self) -> list[int]:
        for thread in self._threads:
            thread.start()
        return self._seen

    def __exit__(self, *_: object) -> None:
        for visitor in self._visitors:
            visitor.http.close()

    def _watch(self, number: int) -> None:
        try:
            with self._visitors[number].stream("/live/overview") as events:
                for event, _ in events:
                    self._seen[number] += event == "picture"
        except Exception:  # closed at the end
            return
