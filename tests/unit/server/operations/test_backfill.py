"""Times that have passed become jobs, each once, whoever asks for them beside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from contract.builders import HOUR, MINUTE, a_spec
from support.spied_store import SpiedStore
from tocsin_server.domain.job import Payload, View
from tocsin_server.domain.nominal_times import job_id_of
from tocsin_server.domain.schedules.backfill import BackfilledTime
from tocsin_server.domain.schedules.errors import CalendarNotFound, ScheduleNotFound
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import CalendarUse, Every, Timing
from tocsin_server.domain.states import State
from tocsin_server.maintenance.schedule_firer import ScheduleFirer
from tocsin_server.operations.backfill import backfill
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore


async def put(
    store: JobStore, *, ago: timedelta, payload: Payload | None = None, names: Sequence[str] = ()
) -> datetime:
    """A schedule of each minute, whose first time was so long ago and whose next one is in an hour."""
    first = (await store.ping()).replace(microsecond=0) - ago
    timing = Timing(Every(MINUTE, first), calendars=tuple(map(CalendarUse, names)))
    spec = ScheduleSpec("q", "s", timing, a_spec(payload=payload))
    assert await store.schedules.put_schedule(Schedule(spec, first, await store.ping() + HOUR))
    return first


async def standing(store: JobStore) -> Schedule:
    [schedule] = await store.schedules.read_schedules("q", ["s"])
    assert schedule is not None
    return schedule


def outcome(times: Sequence[BackfilledTime]) -> tuple[int, int]:
    """How many were made, and kept."""
    kept = sum(one.kept for one in times)
    return len(times) - kept, kept


async def test_each_time_becomes_a_job_once(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=2 * HOUR)
    end = first + 120 * MINUTE
    dry = await backfill(store, "q", "s", first, end, dry_run=True)
    assert outcome(dry) == (120, 0)
    assert (await store.figures("q")).total(State.WAITING) == 0
    done = await backfill(store, "q", "s", first, end)
    assert done == dry
    assert [one.job_id for one in done] == [job_id_of("s", first + number * MINUTE) for number in range(120)]
    assert None not in await store.get("q", [str(one.job_id) for one in done], View.BASIC)
    again = await backfill(store, "q", "s", first - HOUR, end)
    assert outcome(again) == (0, 120)
    schedule = await standing(store)
    assert (schedule.backfilled, schedule.fired, schedule.last_time, schedule.revision) == (120, 0, None, 1)


async def test_those_that_stand_are_kept(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=HOUR)
    await backfill(store, "q", "s", first + MINUTE, first + 2 * MINUTE)
    done = await backfill(store, "q", "s", first, first + 3 * MINUTE)
    assert [one.kept for one in done] == [False, True, False]
    assert (await standing(store)).backfilled == 3


async def test_several_at_once_make_each_once_and_count_right(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=2 * HOUR)
    done = await asyncio.gather(*(backfill(store, "q", "s", first, first + 70 * MINUTE) for _ in range(4)))
    assert sum(outcome(times)[0] for times in done) == 70
    assert (await standing(store)).backfilled == 70
    assert (await store.figures("q")).total(State.WAITING) == 70


async def test_beside_the_firer_no_time_is_made_twice(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=30 * MINUTE)
    before = await standing(store)
    assert await store.schedules.put_schedule(replace(before, next_time=first + 25 * MINUTE))
    firer = ScheduleFirer(store, StoreClock())

    async def fire() -> None:
        firer.hear(await store.ticks(["q"]))
        while await firer.step():
            pass

    done, _ = await asyncio.gather(backfill(store, "q", "s", first, first + HOUR), fire())
    assert outcome(done)[0] >= 25
    schedule = await standing(store)
    waiting = (await store.figures("q")).total(State.WAITING)
    assert (schedule.backfilled, schedule.backfilled + schedule.fired) == (outcome(done)[0], waiting)


async def test_large_payloads_go_in_smaller_steps(spied: SpiedStore) -> None:
    store = spied.as_store
    first = await put(store, ago=HOUR, payload=Payload(11, bytes(400_000)))
    assert outcome(await backfill(store, "q", "s", first, first + 5 * MINUTE)) == (5, 0)


async def test_what_is_not_there_is_not_found(spied: SpiedStore) -> None:
    store = spied.as_store
    with pytest.raises(ScheduleNotFound):
        await backfill(store, "q", "s", await store.ping() - HOUR, await store.ping())
    first = await put(store, ago=HOUR, names=["gone"])
    with pytest.raises(CalendarNotFound):
        await backfill(store, "q", "s", first, first + HOUR)
