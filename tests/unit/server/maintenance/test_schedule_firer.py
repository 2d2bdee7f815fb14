"""Schedules whose time has come make their jobs, once, whoever looks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from contract.builders import HOUR, MINUTE, SECOND, a_spec
from support.spied_store import SpiedStore
from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.nominal_times import job_id_of
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Missed, Overlap, Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Calendar, CalendarUse, Cron, Every, Timing
from tocsin_server.domain.states import State
from tocsin_server.maintenance.runner import ChoreRunner
from tocsin_server.maintenance.schedule_firer import ScheduleFirer
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.store.interface import JobStore
from tocsin_server.store.schedule_store import ScheduleWrite


async def put(
    store: JobStore,
    schedule_id: str = "s",
    *,
    ago: timedelta,
    every: timedelta = HOUR,
    overlap: Overlap = Overlap.SKIP,
    missed: Missed = Missed.ONCE,
    **more: object,
) -> datetime:
    """A schedule whose first time was so long ago, and has not been looked at since; that time."""
    first = (await store.ping()).replace(microsecond=0) - ago
    spec = ScheduleSpec("q", schedule_id, Timing(Every(every, first)), a_spec(), overlap, missed)
    schedule = Schedule(spec, first - every, first)
    assert await store.schedules.put_schedule(replace(schedule, **more))
    return first


async def fire(store: JobStore, firer: ScheduleFirer | None = None) -> ScheduleFirer:
    """One tick, and all that follows from it."""
    firer = firer or ScheduleFirer(store, StoreClock())
    firer.hear(await store.ticks(["q"]))
    while await firer.step():
        pass
    return firer


async def standing(store: JobStore, schedule_id: str = "s") -> Schedule:
    [schedule] = await store.schedules.read_schedules("q", [schedule_id])
    assert schedule is not None
    return schedule


async def jobs(store: JobStore, times: Sequence[datetime], schedule_id: str = "s") -> list[Job | None]:
    return await store.get("q", [job_id_of(schedule_id, time) for time in times], View.BASIC)


async def states(store: JobStore, times: Sequence[datetime]) -> list[State | None]:
    return [None if job is None else job.state for job in await jobs(store, times)]


async def test_a_time_that_has_come_makes_its_job_once(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=SECOND)
    await fire(store)
    assert await states(store, [first]) == [State.WAITING]
    assert (await standing(store)).next_time == first + HOUR
    assert (await store.figures("q")).total(State.WAITING) == 1
    await fire(store)
    assert (await store.figures("q")).total(State.WAITING) == 1
    assert (await standing(store)).fired == 1


async def test_what_is_not_due_costs_no_call(spied: SpiedStore) -> None:
    store = spied.as_store
    await put(store, ago=-HOUR)
    calls = dict(spied.calls)
    firer = ScheduleFirer(store, StoreClock())
    firer.hear(await store.ticks(["q"]))
    assert await firer.step() is False
    assert {**calls, "ticks": calls.get("ticks", 0) + 1} == dict(spied.calls)


async def test_several_servers_fire_each_time_once(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=9 * MINUTE, every=MINUTE, overlap=Overlap.ALLOW, missed=Missed.ALL)
    firers = [ScheduleFirer(store, StoreClock()) for _ in range(4)]
    await asyncio.gather(*(fire(store, firer) for firer in firers))
    schedule = await standing(store)
    assert (schedule.fired, schedule.missed) == (10, 0)
    assert None not in await jobs(store, [first + number * MINUTE for number in range(10)])


async def test_what_was_missed_is_made_up_for_once(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=10 * HOUR + 30 * MINUTE)
    await fire(store)
    schedule = await standing(store)
    assert (schedule.fired, schedule.missed, schedule.last_time) == (1, 10, first + 10 * HOUR)


async def test_one_waits_until_the_one_before_has_ended(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=20 * SECOND, every=15 * SECOND, overlap=Overlap.QUEUE_ONE)
    second = first + 15 * SECOND
    firer = await fire(store)
    assert await states(store, [first, second]) == [State.WAITING, None]
    await fire(store, firer)  # it is looked at each tick, and stays
    assert await states(store, [first, second]) == [State.WAITING, None]
    await store.cancel("q", [CancelJob(job_id_of("s", first), "", "", SECOND)])
    await fire(store, firer)
    assert await states(store, [first, second]) == [State.CANCELLED, State.WAITING]
    assert (await standing(store)).fired == 2


async def test_the_job_before_is_cancelled_as_a_user_would(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=SECOND, overlap=Overlap.CANCEL_OTHER)
    await fire(store)
    await put_back(store, first)
    await fire(store)
    [job] = await jobs(store, [first])
    assert job is not None
    assert job.state is State.CANCELLED
    assert job.cancel is not None
    assert "schedule 's'" in job.cancel.reason


async def put_back(store: JobStore, first: datetime) -> None:
    """Let its next time have come just now."""
    now = await standing(store)
    spec = replace(now.spec, timing=Timing(Every(HOUR, first + SECOND / 2)))
    assert await store.schedules.put_schedule(replace(now, spec=spec, next_time=first + SECOND / 2))


async def test_skipped_where_the_one_before_is_going_on(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=20 * SECOND, every=15 * SECOND)
    await fire(store)
    assert await states(store, [first, first + 15 * SECOND]) == [State.WAITING, None]
    assert (await standing(store)).overlap_skipped == 1


async def test_many_are_fired_page_by_page_and_those_that_stay_are_passed_over(spied: SpiedStore) -> None:
    store = spied.as_store
    for number in range(120):
        await put(store, f"a{number}", ago=2 * SECOND, held_time=(await store.ping()) - HOUR, last_time=None)
    await asyncio.gather(*(put(store, f"b{number}", ago=SECOND) for number in range(120)))
    await fire(store)
    found = [await standing(store, f"b{number}") for number in range(120)]
    assert {one.fired for one in found} == {1}


async def test_a_thousand_that_are_due_at_once_cost_few_calls(spied: SpiedStore) -> None:
    store = spied.as_store
    first = (await store.ping()).replace(microsecond=0) - SECOND
    timing = Timing(Cron((f"{first.second} * * * * *",), "Europe/Berlin"))
    specs = [ScheduleSpec("q", f"s{number}", timing, a_spec()) for number in range(1_000)]
    writes = [ScheduleWrite(Schedule(spec, first - HOUR, first, last_time=first - MINUTE)) for spec in specs]
    assert await store.schedules.put_schedules("q", writes) == [True] * 1_000
    before = Counter(spied.calls)
    await fire(store)
    assert (await store.figures("q")).total(State.WAITING) == 1_000
    # Pages of 500, parts of 50; of each part its last jobs are looked at, for they may still be going on.
    assert spied.calls - before == Counter(due_schedules=3, put_schedules=20, get=20, ticks=1, figures=1)


async def test_it_looks_when_the_time_has_come_and_waits_for_no_tick(spied: SpiedStore) -> None:
    store, clock = spied.as_store, StoreClock()
    first = await put(store, ago=-2 * SECOND)
    firer = ScheduleFirer(store, clock)
    firer.hear(await store.ticks(["q"]))
    assert firer.next_time() == first
    assert await firer.step() is False
    assert await states(store, [first]) == [None]
    runner = ChoreRunner(Ticker(store, clock, HOUR), clock, [firer])
    runner.start()
    try:
        await spied.until_called("put_schedules", 1)
    finally:
        await runner.close()
    assert await states(store, [first]) == [State.WAITING]
    assert firer.next_time() is None  # the next tick tells


async def test_one_that_cannot_be_reckoned_stops_no_other(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=SECOND)
    broken = await standing(store)
    timing = Timing(Every(HOUR, first), calendars=(CalendarUse("gone"),))
    spec = replace(broken.spec, schedule_id="a", timing=timing)
    assert await store.schedules.put_schedule(Schedule(spec, first, first))
    await fire(store)
    assert await states(store, [first]) == [State.WAITING]
    assert (await standing(store, "a")).fired == 0


async def test_a_change_of_a_calendar_that_is_still_on_its_way_is_obeyed(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=SECOND)
    assert await store.calendars.put_calendar(KeptCalendar("office", Calendar()))
    plain = await standing(store)
    timing = replace(plain.spec.timing, calendars=(CalendarUse("office"),))
    by_first = replace(plain, spec=replace(plain.spec, timing=timing), calendar_revisions=(1,))
    assert await store.schedules.put_schedule(by_first)
    # That day, and the next ones: none of its times comes within the year.
    off = frozenset((first + timedelta(days=day)).date() for day in range(3))
    assert await store.calendars.put_calendar(KeptCalendar("office", Calendar(off), revision=2))
    firers = [await fire(store), await fire(store)]
    assert await states(store, [first]) == [None]
    after = await standing(store)
    assert after.next_time is not None
    assert after.next_time.date() not in off
    assert (after.next_time > first, after.fired, after.missed, after.calendar_revisions) == (True, 0, 0, (2,))
    # Days that are free again, and have passed, are not made up for.
    assert await store.calendars.put_calendar(KeptCalendar("office", Calendar(), revision=3))
    await asyncio.gather(*(fire(store, firer) for firer in firers))
    assert await states(store, [first]) == [None]


async def test_the_run_that_waits_goes_though_its_day_was_taken_out_since(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=20 * SECOND, every=15 * SECOND, overlap=Overlap.QUEUE_ONE)
    second = first + 15 * SECOND
    await fire(store)
    waiting = await standing(store)
    timing = replace(waiting.spec.timing, calendars=(CalendarUse("office"),))
    assert await store.calendars.put_calendar(KeptCalendar("office", Calendar(frozenset({second.date()}))))
    assert await store.schedules.put_schedule(replace(waiting, spec=replace(waiting.spec, timing=timing)))
    await store.cancel("q", [CancelJob(job_id_of("s", first), "", "", SECOND)])
    await fire(store)
    assert await states(store, [first, second]) == [State.CANCELLED, State.WAITING]
    after = await standing(store)
    assert (after.fired, after.held_time, after.calendar_revisions) == (2, None, (1,))


@pytest.mark.parametrize("paused", [True, False])
async def test_a_paused_one_is_left_alone(spied: SpiedStore, paused: bool) -> None:
    store = spied.as_store
    first = await put(store, ago=SECOND)
    schedule = await standing(store)
    spec = replace(schedule.spec, paused=paused)
    changed = replace(schedule, spec=spec).from_now_on(schedule.reckoning(), await store.ping())
    assert await store.schedules.put_schedule(changed)
    await fire(store)
    assert await states(store, [first]) == [None]
    assert (await standing(store)).missed == 0


async def test_in_a_queue_that_drains_schedules_go_on_without_a_job(spied: SpiedStore) -> None:
    store = spied.as_store
    await put(store, ago=90 * MINUTE)
    await put(store, "held", ago=2 * HOUR, held_time=await store.ping() - HOUR)
    [settings] = await store.settings(["q"])
    await store.put_settings("q", replace(settings, draining=True), paused=False)

    async def settings_of(queue: str) -> QueueSettings:
        [found] = await store.settings([queue])
        return found

    await fire(store, ScheduleFirer(store, StoreClock(), settings_of=settings_of))
    now = await store.ping()
    for schedule_id in ("s", "held"):
        schedule = await standing(store, schedule_id)
        assert (schedule.fired, schedule.missed, schedule.held_time) == (0, 0, None)
        assert schedule.next_time is not None
        assert now < schedule.next_time <= now + HOUR
    await store.put_settings("q", settings, paused=False)
    await fire(store)
    assert (await standing(store)).fired == 0  # what it passed over is not made up for
