"""A server that stalls between writing a schedule and adding the jobs that it owes adds none that has run meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contract.builders import a_spec
from support.mongo_servers import MongoServer
from support.mongo_stores import opened
from tocsin_server.domain.job import Draft, View
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Every, Timing
from tocsin_server.store.mongo.store import MongoStore
from tocsin_server.store.schedule_store import ScheduleWrite

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIMES = [FIRST, FIRST + HOUR]
IDS = ["s@2026-01-01T00:00:00Z", "s@2026-01-01T01:00:00Z"]


def stall(store: MongoStore) -> tuple[asyncio.Event, asyncio.Event]:
    """It is about to add jobs once the first is set, and goes on once the second is."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    add_to = store._schedules._add_to

    async def add_later(queue: str, drafts: Sequence[Draft], debt: Any) -> Any:
        reached.set()
        await go_on.wait()
        return await add_to(queue, drafts, debt)

    store._schedules._add_to = add_later
    return reached, go_on


def fired(after: Schedule) -> tuple[Schedule, list[Draft]]:
    reckoning = after.reckoning()
    drafts = [after.draft(reckoning.run_at(time)) for time in TIMES]
    return replace(after, next_time=FIRST + 9 * HOUR, fired=2), drafts


async def made(store: MongoStore) -> Schedule:
    spec = ScheduleSpec("q", "s", Timing(Every(HOUR, FIRST)), a_spec())
    assert await store.schedules.put_schedule(Schedule(spec, FIRST, FIRST))
    [schedule] = await store.schedules.read_schedules("q", ["s"])
    assert schedule is not None
    return schedule


async def test_jobs_that_have_run_and_gone_are_not_added_again(store: MongoStore, server: MongoServer) -> None:
    schedule = await made(store)
    reached, go_on = stall(store)
    firing = asyncio.create_task(store.schedules.put_schedule(*fired(schedule)))
    await reached.wait()
    async with opened(server.url) as other:
        [seen] = await other.schedules.read_schedules("q", ["s"])  # whoever reads it adds what it owes
        assert seen is not None
        assert None not in await other.get("q", IDS, View.BASIC)
        assert await other.delete("q", IDS, ended_only=False) == [None, None]
        go_on.set()
        assert await firing
        assert await other.get("q", IDS, View.BASIC) == [None, None]
        [after] = await other.schedules.read_schedules("q", ["s"])
        assert after is not None
        assert (after.fired, after.next_time) == (2, FIRST + 9 * HOUR)
        assert await other.schedules.put_schedule(replace(after, missed=1))  # it owes nothing any more


async def test_both_at_once_add_each_once(store: MongoStore, server: MongoServer) -> None:
    schedule = await made(store)
    reached, go_on = stall(store)
    firing = asyncio.create_task(store.schedules.put_schedule(*fired(schedule)))
    await reached.wait()
    async with opened(server.url) as other:
        go_on.set()
        readings = [other.schedules.read_schedules("q", ["s"]) for _ in range(4)]
        assert (await asyncio.gather(firing, *readings))[0]
        assert [job is not None and job.fired for job in await other.get("q", IDS, View.BASIC)] == [True, True]
        figures = await other.figures("q")
        assert sum(sum(by_type.values()) for by_type in figures.counts.values()) == 2


async def test_what_stands_already_is_kept_and_the_rest_is_added(store: MongoStore) -> None:
    schedule = await made(store)
    after, drafts = fired(schedule)
    await store.add([replace(drafts[0], fired=False)])
    assert await store.schedules.put_schedule(after, drafts)
    assert [job is not None and job.fired for job in await store.get("q", IDS, View.BASIC)] == [False, True]
    [seen] = await store.schedules.read_schedules("q", ["s"])
    assert seen is not None
    assert await store.schedules.put_schedule(replace(seen, missed=1))


async def test_of_several_in_one_write_those_that_others_have_not_paid_are_added(
    store: MongoStore, server: MongoServer
) -> None:
    schedules = []
    for schedule_id in "abc":
        spec = ScheduleSpec("q", schedule_id, Timing(Every(HOUR, FIRST)), a_spec())
        assert await store.schedules.put_schedule(Schedule(spec, FIRST, FIRST))
    for schedule in await store.schedules.read_schedules("q", ["a", "b", "c"]):
        assert schedule is not None
        schedules.append(schedule)
    reached, go_on = stall(store)
    writes = [ScheduleWrite(*fired(schedule)) for schedule in schedules]
    firing = asyncio.create_task(store.schedules.put_schedules("q", writes))
    await reached.wait()
    async with opened(server.url) as other:
        await other.schedules.read_schedules("q", ["b"])
        paid = [str(draft.job_id) for draft in writes[1].drafts]
        assert await other.delete("q", paid, ended_only=False) == [None, None]
        go_on.set()
        assert await firing == [True, True, True]
        assert await other.get("q", paid, View.BASIC) == [None, None]
        others = [str(draft.job_id) for at in (0, 2) for draft in writes[at].drafts]
        assert None not in await other.get("q", others, View.BASIC)
