"""Schedules that are to be looked at and have nothing to do: of each one run waits for the end of the job before it.

A queue's tick has the earliest time at which one is to be looked at. Where a run waits that has passed, and hides when
the next time of any of the queue's schedules comes. Who moves a clock by hand has to know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tocsin_server.domain.job import View
from tocsin_server.domain.queues import Tick
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.states import ENDED
from tocsin_server.store.interface import JobStore

_PAGE = 100


async def seen_through(store: JobStore, ticks: Mapping[str, Tick], now: datetime) -> dict[str, Tick]:
    """The ticks with the next time of schedules where those that are due only wait. Reads all schedules of a queue in
    which one is due."""
    found = dict(ticks)
    for queue, tick in ticks.items():
        if tick.next_schedule is not None and tick.next_schedule <= now:
            found[queue] = await _seen_through(store, queue, tick, now)
    return found


async def _seen_through(store: JobStore, queue: str, tick: Tick, now: datetime) -> Tick:
    following: datetime | None = None
    after = ""
    while page := await store.schedules.schedules(queue, after=after, limit=_PAGE):
        if any(one.next_time is not None and one.next_time <= now for one in page):
            return tick
        if not await _wait(store, queue, [one for one in page if one.held_time is not None]):
            return tick
        times = [one.next_time for one in page if one.next_time is not None]
        following = min([*times, *([] if following is None else [following])], default=None)
        after = page[-1].spec.schedule_id
    return replace(tick, next_schedule=following)


async def _wait(store: JobStore, queue: str, holding: Sequence[Schedule]) -> bool:
    """Whether each of them waits for a job that has not ended."""
    ids = [job_id for one in holding if (job_id := one.last_job_id) is not None]
    jobs = await store.get(queue, ids, View.BASIC) if ids else []
    going = {job.job_id for job in jobs if job is not None and job.state not in ENDED}
    return all(one.last_job_id in going for one in holding)
