"""Moves a store's clock by hand: from due time to due time, so that what happens has the same order in each run.

At each time it waits until what became due has run and is recorded, by whichever server or worker; nothing here knows
who runs what. What is due and does not get on is waited for once, and then left behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from tocsin_server.domain.clock import Advance, Advanced, ClockReading, EndedRun
from tocsin_server.domain.errors import ClockNotManual
from tocsin_server.domain.filters import JobFilter, ListQuery
from tocsin_server.domain.limits import LAST_TIME
from tocsin_server.domain.queues import Tick
from tocsin_server.domain.states import State
from tocsin_server.operations.ended_runs import EndedRuns
from tocsin_server.operations.schedules_at_rest import seen_through
from tocsin_server.store.interface import JobStore

_MOST_RUNS = 2_000  # of an answer
_MOST_SECONDS = 10.0  # of a call
#: What servers do themselves, making jobs WAITING and taking leases back, is waited for longer.
_FOR_SERVERS = 5.0
_LOOK_EVERY = 0.004  # seconds; only while a clock is moved by hand
_UNSETTLED = JobFilter(states=frozenset({State.WAITING, State.ACTIVE}))
_PAGE = 1_000


class Advancing:
    """One move at a time; a second one waits for the first."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._one_at_a_time = asyncio.Lock()

    async def read(self) -> ClockReading:
        """What time it is."""
        now = await self._store.ping()
        ticks = await self._ticks(await self._store.queues(), now)
        return ClockReading(now, self._store.manual_clock, _next_due(ticks))

    async def advance(self, asked: Advance) -> Advanced:
        """Move the clock. ClockNotManual."""
        if not self._store.manual_clock:
            raise ClockNotManual
        async with self._one_at_a_time:
            return await _Move(self._store, asked).run()

    async def _ticks(self, queues: Sequence[str], now: datetime) -> Mapping[str, Tick]:
        return await seen_through(self._store, await read_ticks(self._store, queues), now)


async def read_ticks(store: JobStore, queues: Sequence[str]) -> dict[str, Tick]:
    """The ticks of these queues, as many a command as the store takes."""
    found: dict[str, Tick] = {}
    for start in range(0, len(queues), store.ticks_at_once):
        found |= await store.ticks(queues[start : start + store.ticks_at_once])
    return found


class _Move:
    """One call."""

    def __init__(self, store: JobStore, asked: Advance) -> None:
        self._store = store
        self._asked = asked
        self._runs = EndedRuns(store)
        self._left_behind: set[tuple[str, str, State, int]] = set()
        self._until = time.monotonic() + _MOST_SECONDS

    async def run(self) -> Advanced:
        asked, now = self._asked, await self._store.ping()
        to = asked.to if asked.by is None else now + min(asked.by, LAST_TIME - now)
        await self._runs.begin(await self._store.queues())
        ran: list[EndedRun] = []
        while True:
            ticks = await self._settle()
            ran += self._runs.take()
            if len(ran) >= _MOST_RUNS or time.monotonic() > self._until:
                return Advanced(await self._store.ping(), tuple(ran), more=True)
            now = await self._store.ping()
            due = _next_due(ticks, after=now)
            if to is None:  # to what is due next, and no further
                if due is None:
                    return Advanced(now, tuple(ran), more=False)
                to = due
            if now >= to:
                return Advanced(now, tuple(ran), more=False)
            await self._store.move_clock(to if due is None else min(due, to))

    async def _settle(self) -> Mapping[str, Tick]:
        """Wait until nothing that is due gets on any more; the ticks then."""
        heard = time.monotonic()
        while True:
            queues = await self._store.queues()
            if await self._runs.read(queues):
                heard = time.monotonic()
            ticks, now = await read_ticks(self._store, queues), await self._store.ping()
            ticks = await seen_through(self._store, ticks, now)
            busy = [queue for queue, tick in ticks.items() if _is_busy(tick, now)]
            behind = await self._not_left_behind(busy)
            overdue = any(_is_overdue(ticks[queue], now) for queue in busy)
            if not behind and not overdue:
                # What ended between the two readings is of this step.
                if not await self._runs.read(queues):
                    return ticks
                heard = time.monotonic()
                continue
            quiet, patience = time.monotonic() - heard, self._asked.settle.total_seconds()
            if quiet >= (max(patience, _FOR_SERVERS) if overdue else patience) or time.monotonic() > self._until:
                self._left_behind |= behind
                return ticks
            await asyncio.sleep(_LOOK_EVERY)

    async def _not_left_behind(self, queues: Sequence[str]) -> set[tuple[str, str, State, int]]:
        found: set[tuple[str, str, State, int]] = set()
        for queue in queues:
            page = await self._store.page(ListQuery(queue, _UNSETTLED, limit=_PAGE, with_total=False))
            found |= {(queue, job.job_id, job.state, job.attempt) for job in page.jobs}
        return found - self._left_behind


def _is_busy(tick: Tick, now: datetime) -> bool:
    return tick.waiting or tick.next_lease_end is not None or _is_overdue(tick, now)


def _is_overdue(tick: Tick, now: datetime) -> bool:
    """Whether somebody has yet to make a job WAITING, to take a lease back, or to look at a schedule."""
    return any(when is not None and when <= now for when in _times(tick))


def _times(tick: Tick) -> Sequence[datetime | None]:
    return tick.next_due, tick.next_lease_end, tick.next_schedule


def _next_due(ticks: Mapping[str, Tick], after: datetime | None = None) -> datetime | None:
    times = [when for tick in ticks.values() for when in _times(tick) if when is not None]
    return min((when for when in times if after is None or when > after), default=None)
