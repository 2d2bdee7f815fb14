"""Schedules: ten thousand that are due in one second, and a hundred thousand of which none is."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from google.protobuf import struct_pb2
from tocsin.v1 import schedule_service_pb2, schedule_service_pb2_grpc
from tocsin_server.domain.defaults import SERVER_DEFAULTS, UNSET, terms
from tocsin_server.domain.job import JobSpec, Payload
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Cron, Timing
from tocsin_server.store.interface import JobStore
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.store import RedisStore
from tocsin_server.store.schedule_store import ScheduleWrite

from bench.bed import DATA, QUEUE, RedisBed, bed
from bench.figures import processor_seconds
from bench.herd import Check

_ZONES = ("Europe/Berlin", "UTC", "America/New_York", "Asia/Kolkata", "Australia/Sydney")
#: Twenty rules, all of which come at the moment that their figures are taken from.
_RULES = ("{s} {m} {h} * * *", "{s} {m} * * * *", "{s} * * * * *", "{s} {m} {h} {d} * *")
_STRUCT_FIELD = 11  # JobSpec.data


async def schedules(folder: Path, *, due: int, idle: int, seconds: float) -> list[Check]:
    """Run it; every promise with what was found. `seconds`: how long an idle server is looked at."""
    return [*await _firing(folder / "firing", due), *await _idling(folder / "idling", idle, seconds)]


async def _firing(folder: Path, count: int) -> list[Check]:
    with bed(folder) as here:
        async with _store(here) as store:
            moment = (await store.ping()).replace(microsecond=0) + timedelta(seconds=4 + count / 2_000)
            await _put(store, count, moment)
        if (left := (moment - datetime.now(UTC)).total_seconds()) < 1:
            raise RuntimeError("they were not put in time: all were due at once, but some before they stood")
        await asyncio.sleep(left - 0.5)
        redis = here.redis.client
        redis.config_set("slowlog-log-slower-than", 1000)
        redis.config_set("slowlog-max-len", 10_000)
        redis.slowlog_reset()
        with here.span(count) as span:
            calls = here.redis.script_calls()
            await here.until_completed(count)
            calls = here.redis.script_calls() - calls
        slow = [one["duration"] for one in redis.slowlog_get(10_000) if one["command"].upper().startswith(b"EVAL")]
        jobs = await here.times(type="noop")
    made = [(job.create_time.ToDatetime(UTC) - moment).total_seconds() for job in jobs]
    begun = [(job.start_time.ToDatetime(UTC) - moment).total_seconds() for job in jobs]
    costs = span.rate
    return [
        Check(f"the last of {count:,} schedules fired after", max(made), 2, "s"),
        Check("its job began after", max(begun), 3, "s"),
        Check("the first fired before its time by", -min(made), 0, "s"),
        Check("script calls, of firing and of running", calls, count / 5, "calls"),
        Check("longest script call", max(slow, default=0) / 1000, 10, "ms"),
        Check("processor time of the server, firing and running", costs.server_us or 0, 400, "µs each"),
        Check("processor time of the store", costs.store_us or 0, 150, "µs each"),
    ]


async def _idling(folder: Path, count: int, seconds: float) -> list[Check]:
    far = datetime.now(UTC).replace(microsecond=0) + timedelta(days=200)
    with bed(folder) as here:
        async with _store(here) as store:
            await _put(store, 100, far)
            few, few_page = await _idle_cost(here, seconds), await _page_ms(here)
            memory = here.redis.client.info("memory")["used_memory"]
            await _put(store, count, far, first=100)
            memory = here.redis.client.info("memory")["used_memory"] - memory
        many, many_page = await _idle_cost(here, seconds), await _page_ms(here)
        here.server.kill()
        begun = time.monotonic()
        here.server.restart()
        start = time.monotonic() - begun
    return [
        Check(f"processor time with {count:,} idle schedules, against 100", many / few, 1.3, "times"),
        Check("a page of 100, against 100", many_page / few_page, 2, "times"),
        Check("memory of a schedule", memory / count, 1_200, "bytes"),
        Check("start of a server", start, 30, "s"),
    ]


async def _idle_cost(here: RedisBed, seconds: float) -> float:
    """Processor time of server and store in a second."""
    before = processor_seconds(here.server.pid) + here.store_seconds()
    await asyncio.sleep(seconds)
    return (processor_seconds(here.server.pid) + here.store_seconds() - before) / seconds


async def _page_ms(here: RedisBed) -> float:
    stub = schedule_service_pb2_grpc.ScheduleServiceStub(here.channel)  # type: ignore[no-untyped-call]
    took = []
    for _ in range(30):
        begun = time.perf_counter()
        await stub.ListSchedules(schedule_service_pb2.ListSchedulesRequest(queue=QUEUE, page_size=100))
        took.append(1000 * (time.perf_counter() - begun))
    return statistics.median(took)


@asynccontextmanager
async def _store(here: RedisBed) -> AsyncIterator[JobStore]:
    """A store beside the server's: by calls of a client making them would take longer than all that is measured."""
    store = RedisStore(RedisConnection(here.redis.url))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _put(store: JobStore, count: int, moment: datetime, *, first: int = 0) -> None:
    """So many schedules, of twenty rules, that are due at this moment."""
    data = struct_pb2.Struct()
    data.update(DATA)
    payload = Payload(_STRUCT_FIELD, data.SerializeToString())
    job = JobSpec(QUEUE, "noop", payload, 0, terms(UNSET, SERVER_DEFAULTS))
    made = moment - timedelta(days=1)
    specs = [
        ScheduleSpec(QUEUE, f"s{number:06}", _timing(number, moment), job) for number in range(first, first + count)
    ]
    for start in range(0, count, 1_000):
        writes: Sequence[ScheduleWrite] = [
            ScheduleWrite(Schedule(spec, made, moment)) for spec in specs[start : start + 1_000]
        ]
        if not all(answer is True for answer in await store.schedules.put_schedules(QUEUE, writes)):
            raise RuntimeError("a schedule was not taken")


def _timing(number: int, moment: datetime) -> Timing:
    zone = _ZONES[number % len(_ZONES)]
    wall = moment.astimezone(ZoneInfo(zone))
    rule = _RULES[number // len(_ZONES) % len(_RULES)]
    return Timing(Cron((rule.format(s=wall.second, m=wall.minute, h=wall.hour, d=wall.day),), zone))
