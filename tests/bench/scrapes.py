"""Scrapes of metrics: what one costs where a million jobs of 200 types stand in 10,000 queues, four types in each."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.scraping import metrics_address, scraped, text_of
from support.servers import Server
from support.stubs import request
from tocsin.v1 import job_service_pb2

from bench.bed import Bed, RedisBed, bed
from bench.figures import processor_seconds
from bench.herd import Check

_TYPES, _IN_A_QUEUE = 200, 4
_SCRAPES = 30
_AT_A_TIME = 50_000  # jobs, of which the requests are in memory together


async def scrapes(folder: Path, *, queues: int, jobs: int) -> list[Check]:
    """Run it; every promise with what was found: where a tenth of the queues are told apart, and where all are."""
    with bed(folder, dispatch=False, env={"TOCSIN_QUOTAS__QUEUES": str(2 * queues)}) as here:
        await _fill(here, queues, jobs)
        here.server.kill()
        found: list[Check] = []
        for apart in (queues // 10, queues):
            with _server(folder / f"of{apart}", here, apart) as server:
                found += await asyncio.to_thread(_scraped, server, apart, jobs)
    return found


async def _fill(here: Bed, queues: int, jobs: int) -> None:
    each = jobs // queues
    requests: list[job_service_pb2.ScheduleJobRequest] = []
    for number in range(jobs):
        queue = number // each
        kind = (queue * _IN_A_QUEUE + number % _IN_A_QUEUE) % _TYPES
        requests.append(request(f"q{queue:05}", f"t{kind:03}", delay=365 * 86_400))
        if len(requests) == _AT_A_TIME or number == jobs - 1:
            await here.batches(requests)
            requests = []


@contextmanager
def _server(folder: Path, here: RedisBed, apart: int) -> Iterator[Server]:
    folder.mkdir(parents=True)
    env = {
        "REDIS_URL": here.redis.url,
        "TOCSIN_METRICS__LISTEN": "127.0.0.1:0",
        "TOCSIN_METRICS__EVERY": "1s",
        "TOCSIN_METRICS__QUEUES": str(apart),
    }
    server = Server(folder, ["--no-dispatch"], env)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _scraped(server: Server, apart: int, jobs: int) -> list[Check]:
    address = metrics_address(server)
    end = time.monotonic() + 300
    while sum(value for (name, *_), value in scraped(address).items() if name == "tocsin_jobs") < jobs:
        if time.monotonic() > end:
            raise TimeoutError("the figures of all queues were not read in 300 s")
    took, size = [], len(text_of(address))
    before = processor_seconds(server.pid)
    for _ in range(_SCRAPES):
        begun = time.perf_counter()
        text_of(address)
        took.append(1_000 * (time.perf_counter() - begun))
    cost = 1_000 * (processor_seconds(server.pid) - before) / _SCRAPES
    what = f"a scrape, {apart:,} queues told apart"
    return [
        Check(f"{what}, median", statistics.median(took), 50, "ms"),
        Check(f"{what}, processor time of the server, with what it does besides", cost, 50, "ms"),
        Check(f"{what}, bytes", size / 1e6, 4, "MB"),
    ]
