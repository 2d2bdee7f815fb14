"""Moves a store's clock by hand: from due time to due time, so that what happens has the same order in each run.

At each time it waits until what became due has run and is recorded, by whichever server or worker: for jobs that
somebody is there to take, or runs (expecting.py), and for what servers do by themselves. Where none of that is left it
goes on at once. What gets on no more, though it should, is waited for once, and then left behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from tocsin_server.domain.clock import Advance, Advanced, ClockReading, EndedRun
from tocsin_server.domain.errors import ClockNotManual, InvalidFields, Violation
from tocsin_server.domain.filters import JobFilter, ListQuery
from tocsin_server.domain.job import View
from tocsin_server.domain.limits import LAST_CLOCK, RETELL
from tocsin_server.domain.queues import Tick
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.states import ENDED, State
from tocsin_server.operations.ended_runs import EndedRuns
from tocsin_server.operations.expecting import Expecting
from tocsin_server.store.interface import JobStore

#: Of an answer: each has up to 2 KiB, with its id and its error, and an answer 3.5 MiB.
_MOST_RUNS = 1_500
_MOST_SECONDS = 10.0  # of a call
#: What servers do themselves, making jobs WAITING and taking leases back, is waited for longer.
_FOR_SERVERS = 5.0
#: Jobs that wait for others are told of an end within milliseconds, which nothing but the time of the errand says: that
#: may also be one that comes by itself, so it is not waited for any longer.
_FOR_TELLING = 1.0
#: Between two looks, in seconds, where no change of a job comes before: at what only servers' own work changes, and at
#: who is there to run jobs.
_LOOK_EVERY = 0.05
#: A server that has not done its part after so many seconds may have looked a moment too early: all look once more.
_ASK_AGAIN = 0.02
_UNSETTLED = JobFilter(states=frozenset({State.WAITING, State.ACTIVE}))
_BLOCKED = JobFilter(states=frozenset({State.BLOCKED}))
_PAGE = 1_000

#: Something that is waited for: a job as it stood, or a time of a queue that has come.
_Awaited: TypeAlias = tuple[str, str, State, int] | tuple[str, str, datetime]


class Advancing:
    """One move at a time; a second one waits for the first."""

    def __init__(self, store: JobStore, expecting: Expecting) -> None:
        self._store = store
        self._expecting = expecting
        self._one_at_a_time = asyncio.Lock()
        self._untold: list[EndedRun] = []  # what ended in moves before, and had no room in their answers

    async def read(self) -> ClockReading:
        """What time it is."""
        now = await self._store.ping()
        ticks = await read_ticks(self._store, await self._store.queues())
        times = [when for tick in ticks.values() for when in _times(tick)]
        for queue, tick in ticks.items():
            times += await _block_timeouts(self._store, queue, tick)
        next_due = min(times, default=None)
        return ClockReading(now, self._store.manual_clock, next_due)

    async def advance(self, asked: Advance) -> Advanced:
        """Move the clock. ClockNotManual, InvalidFields."""
        if not self._store.manual_clock:
            raise ClockNotManual
        async with self._one_at_a_time:
            if self._untold:
                done = Advanced(await self._store.ping(), (), more=True)
            else:
                done = await _Move(self._store, self._expecting, asked).run()
            ran = [*self._untold, *done.ran]
            self._untold = ran[_MOST_RUNS:]
            return Advanced(done.now, tuple(ran[:_MOST_RUNS]), more=done.more or bool(self._untold))


async def read_ticks(store: JobStore, queues: Sequence[str]) -> dict[str, Tick]:
    """The ticks of these queues, as many a command as the store takes."""
    found: dict[str, Tick] = {}
    for start in range(0, len(queues), store.ticks_at_once):
        found |= await store.ticks(queues[start : start + store.ticks_at_once])
    return found


class _Move:
    """One call."""

    def __init__(self, store: JobStore, expecting: Expecting, asked: Advance) -> None:
        self._store = store
        self._expecting = expecting
        self._asked = asked
        self._runs = EndedRuns(store)
        self._left_behind: set[_Awaited] = set()
        self._seen: dict[str, int] = {}  # by queue, which changes were read
        self._calm: dict[str, Tick] = {}  # queues of which nobody took anything, when their ticks were these
        self._timeouts: dict[str, tuple[int, Sequence[datetime]]] = {}  # by queue, and after which changes
        self._until = time.monotonic() + _MOST_SECONDS

    async def run(self) -> Advanced:
        asked, now = self._asked, await self._store.ping()
        to = asked.to if asked.by is None else now + asked.by
        _check(to, "by" if asked.to is None else "to")
        await self._runs.begin(await self._store.queues())
        ran: list[EndedRun] = []
        while True:
            ticks = await self._settle()
            ran += self._runs.take()
            if len(ran) >= _MOST_RUNS or time.monotonic() > self._until:
                return Advanced(await self._store.ping(), tuple(ran), more=True)
            now = await self._store.ping()
            due = await self._next_due(ticks, now)
            if to is None:  # to what is due next, and no further
                if due is None:
                    return Advanced(now, tuple(ran), more=False)
                to = due
                _check(to, "to_next_due")
            if now >= to:
                return Advanced(now, tuple(ran), more=False)
            await self._store.move_clock(to if due is None else min(due, to))

    async def _next_due(self, ticks: Mapping[str, Tick], now: datetime) -> datetime | None:
        """When something happens next by itself. A schedule of which a run waits is to be looked at until that goes: in
        its queue's tick it hides when it, and others, come next."""
        times = [when for tick in ticks.values() for when in _times(tick) if when > now]
        for queue, tick in ticks.items():
            if tick.next_schedule is not None and tick.next_schedule <= now:
                due = await self._store.schedules.due_schedules(queue)
                looks = [await self._store.schedules.next_look(queue), *(one.next_time for one in due.schedules)]
                times += [when for when in looks if when is not None and when > now]
            if tick.next_errand is not None:
                if self._timeouts.get(queue, (None,))[0] != tick.changes:
                    self._timeouts[queue] = tick.changes, await _block_timeouts(self._store, queue, tick)
                times += [when for when in self._timeouts[queue][1] if when > now]
        return min(times, default=None)

    async def _settle(self) -> Mapping[str, Tick]:
        """Wait until nothing that is due gets on any more; the ticks then."""
        heard, asked_again = time.monotonic(), set[_Awaited]()
        while True:
            queues = await self._store.queues()
            ticks, now = await read_ticks(self._store, queues), await self._store.ping()
            if await self._read_changes(ticks):
                heard = time.monotonic()
            jobs = await self._jobs(ticks) - self._left_behind
            overdue = await self._overdue(ticks, now) - self._left_behind
            telling = _telling(ticks, now) - self._left_behind
            if not jobs and not overdue and not telling:
                ticks = await read_ticks(self._store, queues)
                # What ended between the two readings is of this step.
                if not self._changed(ticks):
                    return ticks
                continue
            quiet, patience = time.monotonic() - heard, self._asked.settle.total_seconds()
            if overdue:
                patience = max(patience, _FOR_SERVERS)
            elif not jobs:
                patience = _FOR_TELLING
            if quiet >= patience or time.monotonic() > self._until:
                self._left_behind |= jobs | overdue | telling
                return ticks
            if quiet >= _ASK_AGAIN and not overdue <= asked_again:
                asked_again |= overdue
                await self._store.move_clock(now)
            busy = [queue for queue, tick in ticks.items() if _is_busy(tick)]
            await self._runs.wait(
                busy, min(_LOOK_EVERY, patience - quiet, _ASK_AGAIN if overdue or telling else _LOOK_EVERY)
            )

    def _changed(self, ticks: Mapping[str, Tick]) -> Sequence[str]:
        """Queues with changes that were not read yet."""
        return [queue for queue, tick in ticks.items() if self._seen.get(queue) != tick.changes]

    async def _read_changes(self, ticks: Mapping[str, Tick]) -> bool:
        """Whether there were any."""
        changed = self._changed(ticks)
        self._seen |= {queue: ticks[queue].changes for queue in changed}
        return await self._runs.read(changed)

    async def _jobs(self, ticks: Mapping[str, Tick]) -> set[_Awaited]:
        """Jobs that somebody is going to take, or to end."""
        found: set[_Awaited] = set()
        for queue, tick in ticks.items():
            if not _is_busy(tick) or self._calm.get(queue) == tick:
                continue
            page = await self._store.page(ListQuery(queue, _UNSETTLED, limit=_PAGE, with_total=False))
            jobs = [job for job in page.jobs if (queue, job.job_id, job.state, job.attempt) not in self._left_behind]
            if jobs and (expected := await self._expecting.among(queue, jobs)):
                found |= {(queue, job.job_id, job.state, job.attempt) for job in expected}
            else:
                self._calm[queue] = tick
        return found

    async def _overdue(self, ticks: Mapping[str, Tick], now: datetime) -> set[_Awaited]:
        """Times that have come, and after which servers have yet to look: to make a job WAITING, to take a lease back,
        to tell jobs of the end of those that they wait for, to fire a schedule."""
        found: set[_Awaited] = set()
        for queue, tick in ticks.items():
            for what, when in (("due", tick.next_due), ("lease", tick.next_lease_end), ("errand", tick.next_errand)):
                if when is not None and when <= now:
                    found.add((queue, what, when))
            if tick.next_schedule is not None and tick.next_schedule <= now:
                found |= {(queue, one.spec.schedule_id, look) for one, look in await self._owing(queue, now)}
        return found

    async def _owing(self, queue: str, now: datetime) -> Sequence[tuple[Schedule, datetime]]:
        """Schedules with something to do now. One of which a run waits has not, until the job before it has ended."""
        due = await self._store.schedules.due_schedules(queue)
        held = [one.last_job_id for one in due.schedules if one.held_time is not None and one.last_job_id is not None]
        jobs = await self._store.get(queue, held, View.BASIC) if held else []
        going = {job.job_id for job in jobs if job is not None and job.state not in ENDED}
        return [
            (one, look)
            for one in due.schedules
            if (look := one.look_time) is not None
            and (one.last_job_id not in going or (one.next_time is not None and one.next_time <= now))
        ]


def _check(to: datetime | None, field: str) -> None:
    if to is not None and to > LAST_CLOCK:
        last = f"past the year {LAST_CLOCK.year:,}, and no clock is moved there; a store of its own begins anew"
        raise InvalidFields([Violation(field, f"leads to {to:%Y-%m-%d}, {last}")])


def _is_busy(tick: Tick) -> bool:
    """Whether jobs may be WAITING or ACTIVE."""
    return tick.waiting or tick.next_lease_end is not None


def _times(tick: Tick) -> Iterator[datetime]:
    for when in (tick.next_due, tick.next_lease_end, tick.next_schedule):
        if when is not None:
            yield when


def _telling(ticks: Mapping[str, Tick], now: datetime) -> set[_Awaited]:
    """What servers may be about just now: an errand that was taken is there again a little later, until it is done."""
    found: set[_Awaited] = set()
    for queue, tick in ticks.items():
        if tick.next_errand is not None and now < tick.next_errand <= now + RETELL:
            found.add((queue, "errand", tick.next_errand))
    return found


async def _block_timeouts(store: JobStore, queue: str, tick: Tick) -> Sequence[datetime]:
    """When jobs will have waited for others for too long; of the first thousand that wait."""
    if tick.next_errand is None:
        return ()
    page = await store.page(ListQuery(queue, _BLOCKED, limit=_PAGE, with_total=False))
    depends = [(job.create_time, job.spec.conditions.depends) for job in page.jobs]
    return [at + one.block_timeout for at, one in depends if one is not None and one.block_timeout is not None]
