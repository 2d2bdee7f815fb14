"""A year of schedules whatever happens: each time fired, missed or given way as the policy says, counted, never twice.

The clock is moved by hand. Between two looks no server is there, for minutes or for weeks; two look at the same time,
and either may die at any call to the store, or between two commands of one.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.spied_store import SpiedStore
from tocsin_server.domain.commands import CancelJob
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.filters import ListQuery
from tocsin_server.domain.lease import AttemptOutcome, Ending
from tocsin_server.domain.schedules.standing import Missed, Overlap, Schedule, ScheduleSpec, job_id_of
from tocsin_server.domain.schedules.timing import Cron, Every, Timing
from tocsin_server.maintenance.schedule_firer import ScheduleFirer
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.operations.schedules import KeptSchedules
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, MINUTE, SECOND, a_request, a_spec
from contract.properties import bounded
from contract.providers import Provider
from contract.schedule_model import DAY, Modelled, Times, cron, every

#: Schedules of an example, actions of one, and how many real seconds it may take: a slow store does fewer.
SCHEDULES, ACTIONS, BUDGET = (4, 80, 6.0) if os.environ.get("TESTS_FULL") else (3, 30, 2.0)
#: Moves end so long after a full minute, and times come at full ones: what a look takes moves none across a limit.
AFTER_THE_MINUTE = 20 * SECOND

minutes = st.integers(1, 180)
weeks = st.integers(60, 21 * 24 * 60)
lines = st.sampled_from(["*/15 * * * *", "30 2 * * *", "0 3 * * MON", "0 0 1 * *", "15,45 1-3 * * *", "0 9 L * *"])
zones = st.sampled_from(["Europe/Berlin", "America/New_York"])
rules = st.one_of(st.tuples(lines, zones), st.sampled_from([5, 15, 60, 90, 1440, 10_080]))
which = st.integers(0, SCHEDULES - 1)
#: How a server dies: at which call to the store, before or after that acted; or after so many turns of its loop. One
#: that stalls makes its call when others have long done its work.
MORTAL = ("before", "after", "stalls")
fates = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(MORTAL), st.integers(1, 6)),
    st.tuples(st.just("cut"), st.integers(1, 60)),
)
actions = st.one_of(
    *[st.tuples(st.just("look"), minutes, fates, fates)] * 4,
    st.tuples(st.just("outage"), weeks),
    st.tuples(st.just("go_on")),
    st.tuples(st.sampled_from(["pause", "resume", "resume", "trigger"]), which),
    st.tuples(st.just("end"), which, st.sampled_from(["cancel", "delete", "complete"])),
    st.tuples(st.just("change"), which, rules),
)
plans = st.fixed_dictionaries(
    {
        "rule": rules,
        "overlap": st.sampled_from(Overlap),
        "missed": st.sampled_from(Missed),
        "window": st.none() | st.integers(2, 20_000),
        "most": st.integers(1, 40),
        "max_runs": st.none() | st.integers(1, 30),
        "start": st.none() | st.integers(0, 30),
        "end": st.none() | st.integers(20, 300),
        "jitter": st.sampled_from([0, 0, 10]),
    }
)


class Died(Exception):
    """The server is no more."""


class Mortal(SpiedStore):
    """A server's store, with which it dies at one of its calls; or stalls, makes that call late, and dies then."""

    def __init__(self, store: JobStore, how: str, calls: int) -> None:
        super().__init__(store)
        self._how = how
        self._left = calls
        self.stalled, self.goes_on = asyncio.Event(), asyncio.Event()

    def spied(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and self._how == "stalls":
                self.stalled.set()
                await self.goes_on.wait()
            if self._how in MORTAL and (self._left < 0 or (self._left == 0 and self._how == "before")):
                raise Died
            answer = await method(*args, **kwargs)
            if self._left == 0 and self._how == "after":
                raise Died
            return answer

        return call


class Year:
    """Schedules, the servers that look after them, and what becomes of them by the model."""

    def __init__(self, store: JobStore, other: JobStore, begin: datetime) -> None:
        self._stores = (store, other)
        self._store = store
        self._kept = KeptSchedules(store, ScheduleJobs(store, QueueSettingsCache(store).get))
        self._begin = begin  # a full minute
        self._models: dict[str, Modelled] = {}
        self._deleted: set[str] = set()
        self._stalled: list[tuple[Mortal, asyncio.Task[None]]] = []

    async def make(self, plans: list[dict[str, Any]]) -> None:
        for at, plan in enumerate(plans):
            start = None if plan["start"] is None else self._begin + plan["start"] * DAY
            end = None if plan["end"] is None else self._begin + plan["end"] * DAY
            rule, times = self._rule(plan["rule"])
            window = None if plan["window"] is None else plan["window"] * MINUTE
            timing = Timing(rule, start, end, plan["max_runs"], plan["jitter"] * MINUTE)
            spec = ScheduleSpec("q", f"s{at}", timing, a_spec(), plan["overlap"], plan["missed"], window, plan["most"])
            made = await self._kept.create(spec, JobRequest("q", f"t{at}"))
            policies = plan["overlap"].name, plan["missed"].name
            model = Modelled(times, *policies, window, plan["most"], plan["max_runs"], start, end, made.create_time)
            model.begin(made.create_time)
            self._models[f"s{at}"] = model

    def _rule(self, rule: tuple[str, str] | int) -> tuple[Cron | Every, Times]:
        if isinstance(rule, int):
            return Every(rule * MINUTE, self._begin), every(rule * MINUTE, self._begin)
        return Cron((rule[0],), rule[1]), cron(*rule)

    async def look(self, span: int, *ways: tuple[str, int] | None) -> None:
        """Time passes, and servers look."""
        now = await self._pass(span)
        await asyncio.gather(*(self._serve(store, way) for store, way in zip(self._stores, ways, strict=True)))
        for store in self._stores:  # whoever died, another one comes
            await self._serve(store, None)
        for schedule_id, model in self._models.items():
            model.look(now)
            await self._check(schedule_id)

    async def go_on(self) -> None:
        """Servers that stalled do what they were about to do."""
        for mine, task in self._stalled:
            mine.goes_on.set()
            await asyncio.wait({task})
            assert isinstance(task.exception(), (Died, type(None))), task.exception()
        self._stalled.clear()
        for schedule_id in self._models:
            await self._check(schedule_id)

    async def _serve(self, store: JobStore, way: tuple[str, int] | None) -> None:
        """A server that looks until nothing is left to do, or dies on the way, or stalls."""
        how, when = way or ("lives", 0)
        mine, clock = Mortal(store, how, when), StoreClock()
        clock.heard(await store.ping(), time.monotonic())
        firer = ScheduleFirer(mine.as_store, clock)
        firer.hear(await store.ticks(["q"]))

        async def steps() -> None:
            while await firer.step():
                pass

        task = asyncio.create_task(steps())
        if how == "cut":
            for _ in range(when):
                await asyncio.sleep(0)
            task.cancel()
        stalled = asyncio.create_task(mine.stalled.wait())
        await asyncio.wait({task, stalled}, return_when=asyncio.FIRST_COMPLETED)
        stalled.cancel()
        if not task.done():
            self._stalled.append((mine, task))
        elif not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Died):
            raise error

    async def outage(self, span: int) -> None:
        await self._pass(span)

    async def pause(self, at: int) -> None:
        await self._kept.pause("q", f"s{at}", "")
        model = self._models[f"s{at}"]
        if not model.paused:
            model.paused = True
            model.begin(await self._store.ping())
        await self._check(f"s{at}")

    async def resume(self, at: int) -> None:
        await self._kept.resume("q", f"s{at}")
        model = self._models[f"s{at}"]
        if model.paused:
            model.paused = False
            model.begin(await self._store.ping())
        await self._check(f"s{at}")

    async def change(self, at: int, to: tuple[str, str] | int) -> None:
        rule, times = self._rule(to)

        def changed(before: Schedule) -> tuple[ScheduleSpec, JobRequest]:
            timing = replace(before.spec.timing, rule=rule)
            return replace(before.spec, timing=timing), JobRequest("q", f"t{at}")

        before = await self._kept.get("q", f"s{at}")
        await self._kept.update("q", f"s{at}", changed)
        if rule != before.spec.timing.rule:
            model = self._models[f"s{at}"]
            model.begin(await self._store.ping())
            model.times = times
        await self._check(f"s{at}")

    async def trigger(self, at: int) -> None:
        job_id = await self._kept.trigger("q", f"s{at}")
        standing = await self._kept.get("q", f"s{at}")
        assert standing.last_time is not None
        assert job_id == job_id_of(f"s{at}", standing.last_time)
        self._models[f"s{at}"].trigger(standing.last_time)
        await self._check(f"s{at}")

    async def end(self, at: int, how: str) -> None:
        """The job that it made last ends, or is deleted."""
        model = self._models[f"s{at}"]
        if model.last is None or not model.going:
            return
        job_id = job_id_of(f"s{at}", model.last)
        if how == "delete":
            assert await self._store.delete("q", [job_id], ended_only=False) == [None]
            self._deleted.add(job_id)
        elif how == "complete":
            claim = await self._store.claim("q", {f"t{at}": 1_000}, 1_000, lease=HOUR, request=a_request())
            done = [AttemptOutcome(one.lease, Ending.COMPLETED) for one in claim.claimed]
            await self._store.finish(done)
        await self._store.cancel("q", [CancelJob(job_id, "", "", SECOND)])  # one that is not due yet, too
        model.going = False

    async def check_jobs(self) -> None:
        """There is a job of each time that was fired, and no other."""
        expected = {job_id_of(one, time) for one, model in self._models.items() for time in model.jobs} - self._deleted
        stand, position = dict[str, datetime](), None
        while True:
            page = await self._store.page(ListQuery("q", limit=1_000, after=position, with_total=False))
            stand |= {job.job_id: job.schedule_time for job in page.jobs}
            if (position := page.next) is None:
                break
        assert stand.keys() == expected
        early = [
            job_id_of(one, time)
            for one, model in self._models.items()
            for time in model.jobs
            if (due := stand.get(job_id_of(one, time))) is not None and due < time
        ]
        assert early == []

    async def _pass(self, span: int) -> datetime:
        now = await self._store.ping()
        minute = now.replace(second=0, microsecond=0)
        return await self._store.move_clock(minute + span * MINUTE + AFTER_THE_MINUTE)

    async def _check(self, schedule_id: str) -> None:
        [found] = await self._store.schedules.read_schedules("q", [schedule_id])
        assert found is not None
        model = self._models[schedule_id]
        assert (found.fired, found.missed, found.overlap_skipped, found.last_time, found.held_time) == (
            model.fired,
            model.missed,
            model.gave_way,
            model.last,
            model.held,
        ), (schedule_id, model)


@pytest.fixture
def unmade(provider: Provider) -> Iterator[Provider]:
    """One that nobody has made a store on, before the test and after it."""
    provider.unmake()
    yield provider
    provider.unmake()


@bounded(15)
@given(
    made=st.lists(plans, min_size=SCHEDULES, max_size=SCHEDULES),
    happens=st.lists(actions, min_size=ACTIONS // 2, max_size=ACTIONS),
)
async def test_each_time_is_fired_missed_or_gives_way_as_the_policy_says(
    unmade: Provider, made: list[dict[str, Any]], happens: list[tuple[Any, ...]]
) -> None:
    unmade.unmake()
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(unmade.store(manual_clock=True)) for _ in range(2)]
        begin = (await stores[0].ping()).replace(second=0, microsecond=0) + MINUTE
        await stores[0].move_clock(begin + AFTER_THE_MINUTE)
        year = Year(stores[0], stores[1], begin)
        await year.make(made)
        until = time.monotonic() + BUDGET
        for name, *arguments in itertools.cycle(happens):
            await getattr(year, name)(*arguments)
            if time.monotonic() > until or await stores[0].ping() > begin + 365 * DAY:
                break
        await year.go_on()
        await year.look(1, None, None)
        await year.check_jobs()
