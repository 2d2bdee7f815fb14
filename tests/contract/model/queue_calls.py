"""Calls about a queue as a whole, and what goes by itself as time passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.explaining import Turn
from tocsin_server.domain.job import Draft, OnConflict, View
from tocsin_server.domain.lease import AttemptOutcome, Ending, Finished
from tocsin_server.domain.queue_limits import Limit, LimitScope, OnFull, Rate
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Every, Timing
from tocsin_server.domain.states import State
from tocsin_server.store.schedule_store import ScheduleWrite

from contract.builders import EARLIER, MINUTE, NOW
from contract.model.calls import Both, Call, Wanted
from contract.model.limits import Limited, claimable
from contract.model.whole import compare_lists, near, same

MANY = 1_000_000


@dataclass(frozen=True, repr=False)
class Promote(Call):
    """JobStore.promote."""

    async def on(self, both: Both) -> None:
        assert not await both.store.promote(both.queue)
        both.model.promote()


@dataclass(frozen=True, repr=False)
class Trim(Call):
    """JobStore.trim."""

    completed_max: int = MANY
    failed_max: int = MANY

    async def on(self, both: Both) -> None:
        said = await both.store.trim(both.queue, completed_max=self.completed_max, failed_max=self.failed_max)
        same("trim", said, both.model.trim(self.completed_max, self.failed_max))


@dataclass(frozen=True, repr=False)
class Pass(Call):
    """Hours go by."""

    hours: int = 1
    HOUR: ClassVar[timedelta] = 60 * MINUTE

    async def on(self, both: Both) -> None:
        now = await both.store.ping()
        both.model.now = await both.store.move_clock(now + self.hours * self.HOUR)


#: Limits by name; a name always means the same one. Rates are such that none comes free just as an hour is over.
LIMITS: Mapping[str, Limit] = {
    one.name: one
    for one in (
        Limit("three", LimitScope.QUEUE, max_active=3),
        Limit("two of t", LimitScope.TYPE, "t", max_active=2),
        Limit("one a key", LimitScope.KEY, max_active=1),
        Limit("two a key", LimitScope.KEY, max_active=2),
        Limit("one u a key", LimitScope.KEY, "u", max_active=1),
        Limit("slow", LimitScope.QUEUE, rate=Rate(1, 97 * MINUTE, burst=2)),
        Limit("slow key", LimitScope.KEY, rate=Rate(1, 131 * MINUTE)),
        Limit("new go", LimitScope.TYPE, "u", max_active=2, on_full=OnFull.CANCEL_NEW),
        Limit("new go a key", LimitScope.KEY, max_active=2, on_full=OnFull.CANCEL_NEW),
        Limit("old go", LimitScope.QUEUE, max_active=3, on_full=OnFull.CANCEL_RUNNING),
    )
}


@dataclass(frozen=True, repr=False)
class Set(Call):
    """JobStore.put_settings."""

    limits: Sequence[str] = ()
    fair: bool = False
    ageing: int | None = None  # minutes
    pause: int | None = None  # minutes; 0: until it is resumed
    drain: bool = False
    completed_max: int | None = None
    failed_max: int | None = None

    async def on(self, both: Both) -> None:
        limits = tuple(LIMITS[name] for name in self.limits)
        ageing = self.ageing * MINUTE if self.ageing else None
        until = both.model.now + self.pause * MINUTE if self.pause else None
        settings = QueueSettings(
            completed_max=self.completed_max,
            failed_max=self.failed_max,
            draining=self.drain,
            limits=limits,
            fair_turns=self.fair,
            priority_ageing=ageing,
            pause_until=until,
        )
        said = await both.store.put_settings(both.queue, settings, paused=self.pause is not None)
        paused = self.pause is not None
        both.model.set(limits, fair=self.fair, ageing=ageing, paused=paused, pause_until=until, draining=self.drain)
        both.model.completed_max, both.model.failed_max = self.completed_max, self.failed_max
        [read] = await both.store.settings([both.queue])
        same("settings", read, said)
        same("paused", read.paused, both.model.is_paused)


@dataclass(frozen=True, repr=False)
class Look(Call):
    """JobStore.page, by states, types and tag."""

    states: Sequence[str] = ()
    types: str = ""
    tag: str = ""

    async def on(self, both: Both) -> None:
        await compare_lists(both.store, both.queue, both.model, both.called, self.states, self.types, self.tag)


@dataclass(frozen=True, repr=False)
class Copy(Call):
    """JobStore.put, of a job as it stands, under its own name or another. ahead: so far behind all others it arrives,
    0: its arrival is not said."""

    name: str
    into: str
    over: bool = False
    ahead: int = 0

    async def on(self, both: Both) -> None:
        [job] = await both.store.get(both.queue, [both.id_of(self.name)], View.FULL)
        same("read", job is None, self.name not in both.model.jobs)
        if job is None or job.state is State.ACTIVE:  # its lease is elsewhere
            return
        arrival = both.model.last + self.ahead if self.ahead else 0
        placed = replace(job, job_id=both.id_of(self.into), arrival=arrival)
        [answer] = await both.store.put([placed], over=self.over)
        said = both.word(answer) if isinstance(answer, TocsinError) else answer.name
        same("put", said, both.model.put(self.name, self.into, over=self.over, arrival=arrival))


@dataclass(frozen=True, repr=False)
class Explain(Call):
    """JobStore.explain."""

    name: str

    async def on(self, both: Both) -> None:
        [said], model = await both.store.explain(both.queue, [both.id_of(self.name)]), both.model
        job = model.jobs.get(self.name)
        same("explained", said is not None, job is not None)
        if said is None or job is None:
            return
        both.answers[said.job.job_id] = said.job
        same("paused", said.paused_since is not None, model.is_paused)
        near("the lease's end", said.lease_end, job.lease_end)
        others = [one for one in model.jobs.values() if job.state is State.BLOCKED and one.row == job.row]
        waits_for = [one.name for one in others if one.state in (State.SCHEDULED, State.WAITING, State.ACTIVE)]
        same("waits for", sorted(both.name_of(job_id) for job_id in said.waits_for), sorted(waits_for))
        if not claimable(job, model.now):
            same("ahead", said.ahead, None)
            same("hindrance", said.hindrance, None)
            return
        if not model.had_keys:
            before = [
                one
                for one in model.jobs.values()
                if claimable(one, model.now)
                and one.spec.type == job.spec.type
                and model.best_first(one) < model.best_first(job)
            ]
            same("ahead", said.ahead, len(before))
        if not any(one.unsure for one in model.jobs.values()):
            full = model.hindrance(job)
            if full is not None:
                same("hindrance", getattr(said.hindrance, "limit", said.hindrance), full.name)
            elif said.hindrance is not None:
                same("hindrance", (type(said.hindrance), model.fair), (Turn, True))


@dataclass(frozen=True, repr=False)
class Plan(Call):
    """ScheduleStore.put_schedules, of a schedule that fires some times. outrun: it was read before another wrote it."""

    name: str
    hours: int = 2
    fires: Sequence[str] = ()
    outrun: bool = False

    async def on(self, both: Both) -> None:
        model, schedules = both.model, both.store.schedules
        fires = () if model.draining else self.fires
        [stands] = await schedules.read_schedules(both.queue, [self.name])
        next_time = model.now.replace(microsecond=0) + (self.hours * 60 + 53) * MINUTE
        job = Wanted("").spec(both.queue, model.now)
        spec = ScheduleSpec(both.queue, self.name, Timing(Every(60 * MINUTE, EARLIER)), job)
        stamp = "" if stands is None else stands.stamp
        if self.outrun:
            stamp = "" if stands is not None else "none"
        due = model.now - MINUTE
        drafts = [Draft(job, both.id_of(one), due, OnConflict.KEEP, fired=True) for one in fires]
        schedule = Schedule(spec, EARLIER, next_time, stamp=stamp)
        [written] = await schedules.put_schedules(both.queue, [ScheduleWrite(schedule, drafts)])
        same("a schedule's write", written, not self.outrun)
        if not self.outrun:
            model.schedules[self.name] = next_time
            for one in fires:
                model.add(one, job, NOW, "KEEP", fired=True)


@dataclass(frozen=True, repr=False)
class Unplan(Call):
    """ScheduleStore.delete_schedule."""

    name: str

    async def on(self, both: Both) -> None:
        said = await both.store.schedules.delete_schedule(both.queue, self.name)
        same("a schedule's end", said, both.model.schedules.pop(self.name, None) is not None)


@dataclass(frozen=True, repr=False)
class Check(Call):
    """JobStore.check, once over all that stands: nothing is wrong."""

    async def on(self, both: Both) -> None:
        while not (step := await both.store.check()).done:
            same("mended", dict(step.mended), {})
        same("mended", dict(step.mended), {})


@dataclass(frozen=True, repr=False)
class Forget(Call):
    """JobStore.forget. all: all its jobs and schedules end and go before, and nothing of it is left."""

    all: bool = False

    async def on(self, both: Both) -> None:
        model = both.model
        if self.all:
            await self._empty(both)
        stays = bool(model.jobs or model.schedules)
        same("forgotten", await both.store.forget(both.queue), not stays)
        if stays:
            return
        both.model, both.stand = Limited(model.now), {}
        both.cursor = await both.store.cursor(both.queue)
        same("queues", both.queue in await both.store.queues(), False)
        # What rates have let begin ends by itself.
        left = [key for key in both.contents() if both.queue.encode() in key and b"}:R" not in key]
        same("left", left, [])
        last = max((max(one.full, one.halted) for one in model.buckets.values()), default=model.now)
        await Pass(1 + (last - model.now) // Pass.HOUR).on(both)

    async def _empty(self, both: Both) -> None:
        model = both.model
        for job in model.jobs.values():
            if job.state is State.ACTIVE:
                assert job.lease is not None
                outcome = AttemptOutcome(both.leases[job.lease].lease, Ending.COMPLETED)
                [answer] = await both.store.finish([outcome])
                assert isinstance(answer, Finished), answer
                model.end(job, State.COMPLETED)
        names = list(model.jobs)
        answers = await both.store.delete(both.queue, [both.id_of(name) for name in names], ended_only=False)
        same("deleted", [both.word(answer) for answer in answers], ["gone"] * len(names))
        for schedule_id in model.schedules:
            assert await both.store.schedules.delete_schedule(both.queue, schedule_id)
        model.jobs, model.schedules = {}, {}
