"""A herd: 50,000 jobs due in one second beside 200,000 that stand. Nothing may notice the size of the queue."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.stubs import request
from tocsin.v1 import job_pb2, job_service_pb2, queue_service_pb2
from tocsin_server.settings import EventSettings
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.script_text import SHORTENED
from tocsin_server.store.redis.script_text import names as script_names
from tocsin_server.store.redis.scripts import Scripts

from bench.bed import DATA, QUEUE, Bed, bed
from bench.measures import Sizes, running

_LIST = job_service_pb2.ListJobsRequest(queue=QUEUE, types=["rare"], page_size=50)
_EVENTS = EventSettings()
_HEALTH = queue_service_pb2.GetQueueHealthRequest(queue=QUEUE)


@dataclass(frozen=True, slots=True)
class Check:
    """One promise: what was found, and what it may be at most (or, where `at_least`, must be)."""

    name: str
    found: float
    bound: float
    unit: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.found >= self.bound if self.at_least else self.found <= self.bound


async def _median_ms(call: Callable[[], Awaitable[Any]], times: int = 60) -> float:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        await call()
        took.append(1000 * (time.perf_counter() - begun))
    return statistics.median(took)


async def _looks(here: Bed) -> dict[str, float]:
    return {
        "list page with a rare type": await _median_ms(lambda: here.jobs.ListJobs(_LIST)),
        "queue health": await _median_ms(lambda: here.queues.GetQueueHealth(_HEALTH)),
    }


async def herd(folder: Path, *, due: int, standing: int, sizes: Sizes) -> list[Check]:
    """Run it; every promise with what was found."""
    with bed(folder / "herd") as here:
        rare = [request(QUEUE, "rare", DATA, delay=86_400) for _ in range(20)]
        await here.batches(rare)
        await here.stand(2_000)
        few = await _looks(here)
        alone = (await running(here, sizes))["no-op jobs run/s"].value

        await here.stand(standing - 2_000)
        many = await _looks(here)
        crowded = (await running(here, sizes))["no-op jobs run/s"].value

        redis = here.redis.client
        with contextlib.suppress(PermissionError):
            # SLOWLOG counts the time a script waits for a core, too; this leaves the time it takes.
            os.setpriority(os.PRIO_PROCESS, here.redis.pid, -19)
        redis.config_set("slowlog-log-slower-than", 1000)
        redis.config_set("slowlog-max-len", 10_000)
        before = await here.completed()
        begin = time.time() + max(4.0, due / 2_500)
        requests = [request(QUEUE, "noop", DATA) for _ in range(due)]
        for number, one in enumerate(requests):
            one.schedule_time.FromNanoseconds(int((begin + number / due) * 1e9))
        redis.slowlog_reset()
        called = here.redis.script_calls()
        await here.batches(requests)
        if time.time() > begin:
            raise RuntimeError("scheduling took longer than the time ahead: the herd was not due at once")
        await here.until_completed(before + due)
        scripts = Scripts(RedisConnection(here.redis.url), events_max=_EVENTS.per_queue, events_age=_EVENTS.kept_for)
        every_script = [*script_names(), *(f"{name} short" for name in SHORTENED)]
        names = {scripts.sha1(name).encode(): name for name in every_script}
        slow = [entry for entry in redis.slowlog_get(10_000) if entry["command"].upper().startswith(b"EVAL")]
        calls = here.redis.script_calls() - called
        late = [
            (job.start_time.ToNanoseconds() - job.schedule_time.ToNanoseconds()) / 1e9
            for job in await here.times((job_pb2.Job.COMPLETED,), "noop")
        ]
    worst = max(slow, key=lambda entry: entry["duration"], default={"duration": 0, "command": b""})
    script = next((name for hash, name in names.items() if hash in worst["command"]), "none")
    checks = [Check(f"longest script call ({script})", worst["duration"] / 1000, 10, "ms")]
    over = sum(entry["duration"] > 10_000 for entry in slow)
    checks.append(Check("script calls above 10 ms", over, 0, f"of {calls:,}"))
    checks += [Check(f"{name}, against 2,000 jobs", many[name] / few[name], 2, "times") for name in few]
    checks.append(Check("throughput, against 2,000 jobs", crowded / alone, 0.8, "times", at_least=True))
    checks.append(Check("earliest start", -min(late), 0, "s before its time"))
    return checks
