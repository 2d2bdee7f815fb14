"""Any sequence of calls on jobs of a few keys leaves each where a small model says.

Time goes on in steps of ten minutes, and all that hangs on it lies five minutes beside them.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from tocsin_server.domain.commands import HoldJob, ReleaseJob, RetryJob
from tocsin_server.domain.conditions import CollapseMode
from tocsin_server.domain.job import Added, Kept, New, Replaced
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.states import ENDED, State
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, MINUTE, NOW, a_request, completed, failed, finished, good, read, released, wish
from contract.keyed_jobs import DEBOUNCE, KEEP, RUN_AGAIN_AFTER, THROTTLE, did, keyed, passed

STEPS = 400 if os.environ.get("TESTS_FULL") else 80
WINDOW, MAX_WAIT, LATER, STEP = 25, 45, 15, 10  # minutes
WAITS = (State.SCHEDULED, State.WAITING)


@dataclass
class Modelled:
    """One job as it should be; times are minutes."""

    job_id: str
    key: str
    order: int  # of making
    create: int
    due: int
    state: State
    attempt: int = 0
    held: bool = False
    lease: Claimed | None = None


@dataclass
class Model:
    """All jobs, by id."""

    now: int = 0
    made: int = 0
    jobs: dict[str, Modelled] = field(default_factory=dict)

    def newest(self, key: str, *states: State) -> Modelled | None:
        """The job of a key that was made last, in these states."""
        found = [job for job in self.jobs.values() if job.key == key and job.state in states]
        return max(found, key=lambda job: job.order, default=None)

    def add(self, job_id: str, key: str, mode: CollapseMode, delay: int, *, windowed: bool) -> tuple[type[Added], str]:
        """What adding does, and to which job."""
        pending, blocked = self.newest(key, *WAITS), self.newest(key, State.BLOCKED)
        active, latest = self.newest(key, State.ACTIVE), self.newest(key, *State)
        waits, due, blocks = pending or blocked, self.now + delay, False
        if mode is KEEP and (stands := waits or active):
            return Kept, stands.job_id
        within = windowed or mode is THROTTLE
        if mode in (KEEP, THROTTLE) and within and latest is not None and latest.create + WINDOW > self.now:
            return Kept, latest.job_id
        if mode in (KEEP, THROTTLE):
            waits = None
        if mode is DEBOUNCE:
            due = self.now + WINDOW
            if waits is not None:
                due = max(self.now, min(due, waits.create + MAX_WAIT))
        if mode is RUN_AGAIN_AFTER:
            waits = blocked or (pending if pending is not None and not pending.attempt else None)
            blocks = waits is None and (pending or active) is not None
        if waits is not None:
            waits.due = due
            if waits.state is not State.BLOCKED:
                self.make_due(waits)
            return Replaced, waits.job_id
        self.made += 1
        job = self.jobs[job_id] = Modelled(job_id, key, self.made, self.now, due, State.BLOCKED)
        if not blocks:
            self.make_due(job)
        return New, job_id

    def make_due(self, job: Modelled) -> None:
        """By its due time."""
        job.state = State.SCHEDULED if job.due > self.now else State.WAITING

    def end(self, job: Modelled, state: State) -> None:
        """It ends."""
        job.state, job.held, job.lease = state, False, None

    def settle(self) -> None:
        """What waits for nothing any more goes, and what is due waits for a worker."""
        for job in self.jobs.values():
            if job.state is State.BLOCKED and self.newest(job.key, *WAITS, State.ACTIVE) is None:
                self.make_due(job)
            if job.state is State.SCHEDULED and job.due <= self.now and not job.held:
                job.state = State.WAITING


async def _claim(store: JobStore, model: Model) -> None:
    claim = await store.claim("q", {"t": 1}, 1, lease=100 * HOUR, request=a_request())
    open_ = {job.job_id for job in model.jobs.values() if job.state is State.WAITING and not job.held}
    assert bool(claim.claimed) == bool(open_)
    for one in claim.claimed:
        assert one.job.job_id in open_
        job = model.jobs[one.job.job_id]
        job.state, job.attempt, job.lease = State.ACTIVE, job.attempt + 1, one


async def _finish(store: JobStore, model: Model, chance: random.Random) -> None:
    running = [job for job in model.jobs.values() if job.lease is not None]
    if not running:
        return
    job = chance.choice(running)
    assert job.lease is not None
    how = chance.choice(["complete", "fail", "retry", "retry now", "release"])
    lease, job.lease = job.lease, None
    if how == "complete":
        await finished(store, completed(lease))
        model.end(job, State.COMPLETED)
    elif how == "fail":
        await finished(store, failed(lease))
        model.end(job, State.FAILED)
    elif how == "release":
        await finished(store, released(lease))
        job.state = State.WAITING
    else:
        job.due = model.now + (LATER if how == "retry" else 0)
        await finished(store, failed(lease, retry_in=LATER * MINUTE if how == "retry" else NOW))
        model.make_due(job)


async def _change(store: JobStore, model: Model, chance: random.Random) -> None:
    """Cancel, delete, retry, hold or let go some job that does not run."""
    idle = [job for job in model.jobs.values() if job.state is not State.ACTIVE]
    if not idle:
        return
    job = chance.choice(idle)
    if job.state in ENDED and chance.random() < 0.3:
        if job.state is not State.COMPLETED:
            [answer] = await store.update("q", [RetryJob(job.job_id)])
            good(answer)
            job.due, job.state = model.now, State.WAITING
    elif chance.random() < 0.4:
        assert await store.delete("q", [job.job_id], ended_only=False) == [None]
        del model.jobs[job.job_id]
    elif job.state in ENDED:
        return
    elif chance.random() < 0.5:
        [answer] = await store.cancel("q", [wish(job.job_id)])
        good(answer)
        model.end(job, State.CANCELLED)
    else:
        [answer] = await store.update("q", [ReleaseJob(job.job_id) if job.held else HoldJob(job.job_id)])
        good(answer)
        job.held = not job.held
        if not job.held and job.state is not State.BLOCKED:
            model.make_due(job)


@pytest.mark.parametrize("seed", range(4))
async def test_jobs_of_a_few_keys_stand_as_the_model_says(movable: JobStore, seed: int) -> None:
    chance, model = random.Random(seed), Model()
    for step in range(STEPS):
        act = chance.choices(["add", "claim", "finish", "change", "time"], [6, 4, 4, 3, 2])[0]
        if act == "add":
            mode, windowed = chance.choice(list(CollapseMode)), chance.random() < 0.5
            key, delay = chance.choice("kl"), 0 if mode is DEBOUNCE else chance.choice([0, LATER])
            windowed = windowed and mode is KEEP
            draft = keyed(
                mode,
                f"{step}",
                key=key,
                window=WINDOW * MINUTE if windowed or mode in (THROTTLE, DEBOUNCE) else NOW,
                max_wait=MAX_WAIT * MINUTE if mode is DEBOUNCE else None,
                when=delay * MINUTE,
            )
            assert await did(movable, draft) == model.add(f"{step}", key, mode, delay, windowed=windowed), (step, mode)
        elif act == "claim":
            await _claim(movable, model)
        elif act == "finish":
            await _finish(movable, model, chance)
        elif act == "change":
            await _change(movable, model, chance)
        else:
            await passed(movable, timedelta(minutes=STEP))
            model.now += STEP
        await movable.promote("q")
        model.settle()
        stand = {job_id: await read(movable, job_id) for job_id in model.jobs}
        assert {job_id: (job.state, job.held) for job_id, job in stand.items()} == {
            job_id: (job.state, job.held) for job_id, job in model.jobs.items()
        }, (step, act)
    while not (checked := await movable.check()).done:
        assert checked.mended == {}
