"""A run that waits for another's end is nothing to be waited for, and hides no time that comes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from contract.builders import HOUR, MINUTE, SECOND, a_spec
from support.spied_store import SpiedStore
from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.schedules.standing import Overlap, Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Every, Timing
from tocsin_server.operations.schedules_at_rest import seen_through
from tocsin_server.store.interface import JobStore


async def put(store: JobStore, schedule_id: str, next_time: datetime, held_time: datetime | None = None) -> Schedule:
    """With a job of its last time where a run waits."""
    first = next_time - 9 * HOUR
    spec = ScheduleSpec("q", schedule_id, Timing(Every(HOUR, first)), a_spec(), Overlap.QUEUE_ONE)
    last = None if held_time is None else held_time - HOUR
    schedule = Schedule(spec, first, next_time, held_time=held_time, last_time=last)
    drafts = [] if last is None else [schedule.draft(schedule.reckoning().run_at(last))]
    assert await store.schedules.put_schedule(schedule, drafts)
    return schedule


async def next_schedule(store: JobStore, now: datetime) -> datetime | None:
    return (await seen_through(store, await store.ticks(["q"]), now))["q"].next_schedule


async def test_what_waits_is_seen_through_until_its_turn_comes(spied: SpiedStore) -> None:
    store = spied.as_store
    now = (await store.ping()).replace(microsecond=0)
    waiting = await put(store, "waiting", now + HOUR, now - MINUTE)
    assert (await store.ticks(["q"]))["q"].next_schedule == now - MINUTE
    assert await next_schedule(store, now) == now + HOUR
    await put(store, "sooner", now + MINUTE)
    assert await next_schedule(store, now) == now + MINUTE
    await store.cancel("q", [CancelJob(str(waiting.last_job_id), "", "", SECOND)])
    assert await next_schedule(store, now) == now - MINUTE


async def test_what_is_due_is_not(spied: SpiedStore) -> None:
    store = spied.as_store
    now = (await store.ping()).replace(microsecond=0)
    await put(store, "waiting", now + HOUR, now - MINUTE)
    await put(store, "due", now - SECOND)
    assert await next_schedule(store, now) == now - MINUTE
    [due] = await store.schedules.read_schedules("q", ["due"])
    assert due is not None
    assert await store.schedules.put_schedule(replace(due, next_time=None))
    assert await next_schedule(store, now) == now + HOUR
    [waiting] = await store.schedules.read_schedules("q", ["waiting"])
    assert waiting is not None
    assert await store.schedules.put_schedule(replace(waiting, next_time=now))  # it waits, and another time is due
    assert await next_schedule(store, now) == now - MINUTE
