"""Schedules and calendars in exports: what comes back of them from either store, and what stands already."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from contract.builders import EARLIER, HOUR, LATER, a_spec
from support.eventually import until
from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client
from tocsin_server.domain.job import Draft, Job, OnConflict, Payload, Put
from tocsin_server.domain.nominal_times import job_id_of
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Missed, Overlap, Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Calendar, CalendarUse, Cron, OnExcluded, Timing
from tocsin_server.migrate.stores import opened, settings_of
from tocsin_server.operations.transfer.draining import Drain
from tocsin_server.operations.transfer.exporting import Exporting
from tocsin_server.operations.transfer.recurring import place_calendars, place_schedules
from tocsin_server.store.interface import JobStore

from integration.transfer.conftest import Tocsin

Serve = Callable[..., Server]
DAYS = Calendar(weekdays=frozenset({5, 6}), time_zone="Europe/Berlin")


@pytest.fixture
async def kept(store: StoreBackend) -> AsyncIterator[JobStore]:
    """An empty store, of each provider in turn."""
    async with AsyncExitStack() as stack:
        yield (await stack.enter_async_context(opened(settings_of("--to", store.url)))).store


def a_schedule(schedule_id: str = "s", *calendars: CalendarUse, **progress: Any) -> Schedule:
    timing = Timing(Cron(("0 9 * * *", "@daily"), "Europe/Berlin"), EARLIER, None, 99, timedelta(0), calendars)
    spec = ScheduleSpec(
        "q",
        schedule_id,
        timing,
        a_spec(payload=Payload(11, b"\n\x01x"), tags={"k": "v"}),
        Overlap.QUEUE_ONE,
        Missed.ALL,
        HOUR,
        7,
        note="n",
    )
    plain = {"next_time": LATER, "revision": 4, "last_time": EARLIER, "fired": 5, "missed": 6, "overlap_skipped": 7}
    return Schedule(spec, EARLIER, **{**plain, **progress})


async def exported(store: JobStore, *queues: str) -> list[Any]:
    return [record async for some in Exporting(store, Drain()).records(queues) for record in some]


async def read(store: JobStore, schedule_id: str = "s") -> Schedule | None:
    [found] = await store.schedules.read_schedules("q", [schedule_id])
    return found


async def test_what_is_exported_is_put_in_place_just_so(kept: JobStore) -> None:
    uses = (CalendarUse("b", OnExcluded.NEXT_DAY), CalendarUse("a"))
    calendars = [KeptCalendar(name, DAYS, note="n") for name in ("a", "b", "c")]
    assert await place_calendars(kept, calendars, over=False) == [Put.CREATED] * 3
    schedules = [a_schedule("s1", *uses), a_schedule("s2", next_time=None), a_schedule("s3", held_time=EARLIER)]
    assert await place_schedules(kept, schedules, over=False) == [Put.CREATED] * 3
    found = await exported(kept)
    assert [one.name for one in found if isinstance(one, KeptCalendar)] == ["a", "b", "c"]
    at_last = [one for one in found if isinstance(one, Schedule)]
    assert at_last == found[-3:]
    assert [replace(one, calendar_revisions=()) for one in at_last] == schedules
    assert await place_schedules(kept, at_last, over=False) == [Put.SAME] * 3
    assert await place_calendars(kept, calendars, over=True) == [Put.SAME] * 3
    of_queue = await exported(kept, "q", "nobody-used-it")
    assert [one.name for one in of_queue if isinstance(one, KeptCalendar)] == ["b", "a"]


async def test_a_schedule_whose_calendar_is_not_there_is_refused(kept: JobStore) -> None:
    [answer] = await place_schedules(kept, [a_schedule("s", CalendarUse("gone"))], over=True)
    assert "names no calendar that is there" in str(answer)
    assert await read(kept) is None


async def test_what_stands_is_kept_or_written_over_and_never_set_back(kept: JobStore) -> None:
    further = a_schedule(next_time=LATER + HOUR, fired=9)
    await place_schedules(kept, [further], over=False)
    assert await place_schedules(kept, [a_schedule()], over=False) == [Put.KEPT]
    noted = a_schedule()
    noted = replace(noted, spec=replace(noted.spec, note="another"))
    assert await place_schedules(kept, [noted], over=True) == [Put.REPLACED]
    found = await read(kept)
    assert found is not None
    assert (found.spec.note, found.next_time, found.fired) == ("another", LATER + HOUR, 9)
    other = replace(a_schedule(fired=0), create_time=EARLIER + HOUR)
    assert await place_schedules(kept, [other], over=True) == [Put.REPLACED]
    assert await read(kept) == other
    other_days = KeptCalendar("a", Calendar(weekdays=frozenset({0})))
    assert await place_calendars(kept, [KeptCalendar("a", DAYS)], over=False) == [Put.CREATED]
    assert await place_calendars(kept, [other_days], over=False) == [Put.KEPT]
    assert await place_calendars(kept, [other_days], over=True) == [Put.REPLACED]
    [now] = await kept.calendars.calendars()
    assert (now.days, now.revision) == (other_days.days, 2)


async def test_what_it_makes_while_jobs_are_read_is_not_made_again(kept: JobStore) -> None:
    """The schedule stands in the export as it was before, and the job among those that come before it."""
    await place_schedules(kept, [a_schedule(next_time=EARLIER + HOUR)], over=False)
    await kept.add([Draft(a_spec(), "first", EARLIER)])
    found: list[Any] = []
    async for some in Exporting(kept, Drain()).records(["q"]):
        if not found:
            before = await read(kept)
            assert before is not None
            job_id = job_id_of("s", EARLIER + HOUR)
            draft = Draft(before.spec.job, job_id, EARLIER, OnConflict.KEEP, fired=True)
        found += some
        if any(isinstance(one, Job) for one in some) and before.fired == 5:
            assert await kept.schedules.put_schedule(replace(before, next_time=LATER, fired=6), [draft])
            before = replace(before, fired=6)
    [schedule] = [one for one in found if isinstance(one, Schedule)]
    assert (schedule.next_time, schedule.fired) == (EARLIER + HOUR, 5)
    assert schedule.spec.job.payload == Payload(11, b"\n\x01x")


@pytest.mark.parametrize("way", ["redis to mongo", "mongo to redis"])
def test_by_file_it_goes_on_at_its_next_time_and_no_time_comes_twice(
    way: str, redis: RedisBackend, mongo_database: MongoBackend, serve: Serve, tocsin: Tocsin, tmp_path: Path
) -> None:
    stores: Sequence[StoreBackend] = (redis, mongo_database)[:: 1 if way == "redis to mongo" else -1]
    here = serve(stores[0].url, handlers="support.jobs.everyday")
    with Client(here.address) as client:
        rule = {"every": 1, "type": "echo", "payload": {"n": 1}, "overlap": "ALLOW", "queue": "q", "note": "ask Ada"}
        client.schedules.create("tick", **rule)
        client.schedules.create("rests", **rule, paused=True)
        until(lambda: client.schedules.get("tick", queue="q").fired >= 2, within=60)
        done = tocsin("export", "a.jsonl", server=here)
        assert done.stdout.endswith(b" and 0 reminder sets, 2 schedules\n"), done
        here.kill()
    there = serve(stores[1].url, handlers="support.jobs.everyday")
    assert tocsin("import", "a.jsonl", server=there).returncode == 0
    with Client(there.address) as client:
        before = client.schedules.get("tick", queue="q")
        assert (before.message.note, before.paused) == ("ask Ada", False)
        until(lambda: client.schedules.get("tick", queue="q").fired >= before.fired + 3, within=60)
        times = sorted(_time(job.job_id) for job in client.list(queue="q", page_size=1_000))
        assert {later - sooner for sooner, later in pairwise(times)} == {timedelta(seconds=1)}
        for flag in ((), ("--replace",)):
            assert tocsin("import", *flag, "a.jsonl", server=there).returncode == 0
            assert client.schedules.get("tick", queue="q").fired >= before.fired + 3
        assert client.schedules.get("rests", queue="q").paused
        assert client.wait(job_id_of("tick", times[-1]), queue="q").data == {"n": 1}


def _time(job_id: str) -> datetime:
    return datetime.fromisoformat(job_id.partition("@")[2])
