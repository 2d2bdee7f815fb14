"""Random lives of a queue with limits, held against a small model: never more run than may, and nobody is left idle who
has work and room."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from tocsin_server.domain.commands import RunJob
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.job import JobSpec, View
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import HOUR, NOW, a_draft, added, claimed, completed, crashed, failed, finished, released, wish

TYPES, KEYS = ("t", "u"), ("", "a", "b", "c")


def places(limit: Limit, spec: JobSpec) -> tuple[str, ...] | None:
    """Under which name a limit counts a job; None: not at all."""
    key = spec.conditions.limit_key
    if not limit.covers(spec.type, key):
        return None
    return (limit.name, key) if limit.scope is LimitScope.KEY else (limit.name,)


class Model:
    """What runs, what waits, and what is allowed."""

    def __init__(self, store: JobStore, seed: int) -> None:
        self.store, self.chance = store, random.Random(seed)
        self.limits: tuple[Limit, ...] = ()
        self.active: dict[str, Claimed] = {}
        self.keeping: set[str] = set()  # wait for a retry, and keep the one place of their key
        self.number = 0

    def some_limits(self) -> tuple[Limit, ...]:
        kinds = (
            Limit("all", LimitScope.QUEUE, max_active=self.chance.randint(1, 6)),
            Limit("of type", LimitScope.TYPE, "t", max_active=self.chance.randint(1, 4)),
            Limit("of key", LimitScope.KEY, max_active=self.chance.randint(1, 3)),
            Limit("of key and type", LimitScope.KEY, "u", max_active=self.chance.randint(1, 2)),
        )
        return tuple(self.chance.sample(kinds, self.chance.randint(0, len(kinds))))

    async def change(self) -> None:
        self.limits = self.some_limits()
        settings = QueueSettings(limits=self.limits, fair_turns=self.chance.random() < 0.3)
        await self.store.put_settings("q", settings, paused=False)

    async def add(self) -> None:
        drafts = []
        for _ in range(self.chance.randint(1, 6)):
            key = self.chance.choice(KEYS)
            drafts.append(
                a_draft(
                    f"{self.number}",
                    type=self.chance.choice(TYPES),
                    priority=self.chance.choice((0, 0, 1)),
                    conditions=Conditions(key) if key else NO_CONDITIONS,
                    when=self.chance.choice((NOW, NOW, HOUR)),
                )
            )
            self.number += 1
        await added(self.store, *drafts)

    async def jobs(self, *states: State) -> Sequence[str]:
        every = await self.store.get("q", [f"{i}" for i in range(self.number)], View.BASIC)
        return [job.job_id for job in every if job is not None and job.state in states]

    async def touch_one(self) -> None:
        pending = await self.jobs(State.SCHEDULED, State.WAITING)
        if pending:
            job_id = self.chance.choice(pending)
            act = self.chance.randrange(3)
            if act == 0:
                await self.store.update("q", [RunJob(job_id)])
            elif act == 1:
                await self.store.cancel("q", [wish(job_id)])
            else:
                await self.store.delete("q", [job_id], ended_only=False)

    async def end_some(self, backdate: Backdate) -> None:
        for job_id in self.chance.sample(sorted(self.active), self.chance.randint(0, len(self.active))):
            one = self.active.pop(job_id)
            how = self.chance.randrange(6)
            if how == 5:
                backdate.lease(one.job, by=HOUR)
                await self.store.reap("q")
            else:
                ends = (completed(one), failed(one), failed(one, HOUR), released(one), crashed(one))
                await finished(self.store, ends[how])

    async def claim(self) -> None:
        limit = self.chance.randint(1, 8)
        for one in await claimed(self.store, limit, types=self.chance.choice((("t",), ("u",), TYPES))):
            assert one.job.job_id not in self.active
            self.active[one.job.job_id] = one

    def held(self) -> Counter[tuple[str, ...]]:
        return Counter(
            where
            for one in self.active.values()
            for limit in self.limits
            if (where := places(limit, one.job.spec)) is not None
        )

    async def keepers(self) -> set[str]:
        """Keys whose one place may be kept by a job that waits for its retry."""
        every = await self.store.get("q", [f"{i}" for i in range(self.number)], View.BASIC)
        return {
            job.spec.conditions.limit_key
            for job in every
            if job is not None and job.failures and job.state in (State.SCHEDULED, State.WAITING)
        }

    async def check_nothing_idles(self) -> None:
        """After claims that took all they could: each job that waits lacks room."""
        for one in await claimed(self.store, types=TYPES):
            self.active[one.job.job_id] = one
        held, keepers = self.held(), await self.keepers()
        every = await self.store.get("q", [f"{i}" for i in range(self.number)], View.BASIC)
        for job in every:
            if job is None or job.state is not State.WAITING or job.spec.conditions.limit_key in keepers - {""}:
                continue
            full = [
                limit
                for limit in self.limits
                if (where := places(limit, job.spec)) is not None and held[where] >= (limit.max_active or 0)
            ]
            assert full, f"{job.job_id} of {job.spec.type}, {job.spec.conditions} waits for nothing: {held}"


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(3, 8))])
async def test_a_random_life_keeps_to_its_limits(store: JobStore, backdate: Backdate, seed: int) -> None:
    model = Model(store, seed)
    await model.change()
    for step in range(80):
        act = model.chance.randrange(10)
        if act < 3:
            await model.add()
        elif act < 6:
            before = model.held()
            await model.claim()
            for where, number in model.held().items():
                [allowed] = [limit.max_active for limit in model.limits if limit.name == where[0]]
                assert number <= max(allowed or 0, before[where]), (step, where, number)
        elif act < 8:
            await model.end_some(backdate)
        elif act < 9:
            await model.touch_one()
        else:
            await model.change()
        if step % 5 == 4:
            await model.check_nothing_idles()
    await store.put_settings("q", QueueSettings(), paused=False)
    for _ in range(50):
        for one in await claimed(store, types=TYPES):
            await finished(store, completed(one))
    assert await model.jobs(State.WAITING) == []
