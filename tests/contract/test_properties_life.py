"""Any sequence of calls on one queue leaves each job where a small model says, and the counts with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tocsin_server.domain import limits
from tocsin_server.domain.commands import Change, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.job import Kept, New, OnConflict, Replaced, View
from tocsin_server.domain.job_errors import JobActive, JobExists, JobNotFound, LeaseLost, WrongState
from tocsin_server.domain.lease import AttemptOutcome, Claimed
from tocsin_server.domain.states import ENDED, PENDING, State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    WISHES,
    End,
    a_draft,
    a_request,
    completed,
    crashed,
    failed,
    good,
    refused,
    released,
    wish,
)
from contract.properties import a_queue, bounded
from contract.providers import Provider

T = TypeVar("T")
NAMES = ["a", "b", "c"]
SCHEDULED, WAITING, ACTIVE, CANCELLED = State.SCHEDULED, State.WAITING, State.ACTIVE, State.CANCELLED
ENDS: dict[str, End] = {
    "complete": completed,
    "fail": failed,
    "fail and wait": lambda one: failed(one, HOUR),
    "fail and go on": lambda one: failed(one, NOW),
    "release": released,
    "crash": crashed,
}


@dataclass
class Model:
    """What one job should be."""

    state: State
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    errors: int = 0
    asked: bool = False  # a cancel, of the attempt that runs
    due: bool = False  # SCHEDULED, and its time has come
    lease: bytes | None = None  # of the attempt that runs
    ended_by: bytes | None = None  # the token that ended the last attempt

    def crash(self, most: int) -> None:
        self.crashes, self.errors, self.lease = self.crashes + 1, self.errors + 1, None
        if self.asked:
            self.state = CANCELLED
        elif self.crashes >= most:
            self.state, self.errors = State.FAILED, self.errors + 1
        else:
            self.state = WAITING

    def end(self, how: str) -> None:
        self.ended_by = self.lease
        if how == "crash":
            self.crash(limits.MAX_CRASHES)
            return
        self.lease, self.crashes = None, 0
        if how.startswith("fail"):
            self.failures, self.errors = self.failures + 1, self.errors + 1
        into = {"complete": State.COMPLETED, "fail": State.FAILED, "fail and wait": SCHEDULED}
        self.state = CANCELLED if self.asked and how != "complete" else into.get(how, WAITING)


class Life(RuleBasedStateMachine):
    """One queue's life."""

    loop: asyncio.Runner
    store: JobStore
    provider: Provider
    backdate: Backdate

    def __init__(self) -> None:
        super().__init__()
        self.queue = a_queue(self.provider)
        self.jobs: dict[str, Model] = {}
        self.leases: list[Claimed] = []

    def call(self, what: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(what)

    @rule(name=st.sampled_from(NAMES), mode=st.sampled_from(WISHES), later=st.booleans())
    def add(self, name: str, mode: OnConflict, later: bool) -> None:
        draft = a_draft(name, queue=self.queue, on_conflict=mode, when=HOUR if later else NOW)
        [answer] = self.call(self.store.add([draft]))
        job = self.jobs.get(name)
        if job is not None and mode is OnConflict.KEEP:
            assert type(good(answer)) is Kept
        elif job is not None and mode is OnConflict.FAIL:
            assert refused(answer, JobExists).state is job.state
        elif job is not None and job.state is ACTIVE:
            refused(answer, JobActive)
        else:
            anew = job is None or job.state in ENDED
            assert type(good(answer)) is (New if job is None else Replaced)
            attempt = 0 if job is None or anew else job.attempt
            self.jobs[name] = Model(SCHEDULED if later else WAITING, attempt)

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        claim = self.call(self.store.claim(self.queue, {"t": 9}, limit, lease=MINUTE, request=a_request()))
        for job in self.jobs.values():
            if job.state is SCHEDULED and job.due:
                job.state, job.due = WAITING, False
        waiting = [job for job in self.jobs.values() if job.state is WAITING]
        assert len(claim.claimed) == min(limit, len(waiting))
        for one in claim.claimed:
            job = self.jobs[one.job.job_id]
            assert job.state is WAITING
            job.state, job.attempt, job.lease, job.ended_by = ACTIVE, job.attempt + 1, one.lease.token, None
            assert one.lease.attempt == job.attempt
        self.leases += claim.claimed

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), how=st.sampled_from(sorted(ENDS)))
    def finish(self, data: st.DataObject, how: str) -> None:
        one = data.draw(st.sampled_from(self.leases[-6:]))
        outcome: AttemptOutcome = ENDS[how](one)
        [answer] = self.call(self.store.finish([outcome]))
        job = self.jobs.get(one.job.job_id)
        if job is not None and job.lease == one.lease.token:
            job.end(how)
            job.asked = job.asked and job.state is not WAITING
            assert (good(answer).state, good(answer).repeated) == (job.state, False)
        elif job is not None and job.ended_by == one.lease.token:
            assert good(answer).repeated
        else:
            refused(answer, LeaseLost)

    @rule(name=st.sampled_from(NAMES))
    def cancel(self, name: str) -> None:
        [answer] = self.call(self.store.cancel(self.queue, [wish(name)]))
        job = self.jobs.get(name)
        if job is None:
            refused(answer, JobNotFound)
        elif job.state in {State.COMPLETED, State.FAILED}:
            assert refused(answer, WrongState).state is job.state
        else:
            assert good(answer).job_id == name
            job.asked = job.state is ACTIVE
            if job.state in PENDING:
                job.state = CANCELLED

    @rule(name=st.sampled_from(NAMES), verb=st.sampled_from(["run", "retry", "later", "now"]))
    def change(self, name: str, verb: str) -> None:
        changes: dict[str, Change] = {
            "run": RunJob(name),
            "retry": RetryJob(name),
            "later": UpdateJob(name, when=HOUR),
            "now": UpdateJob(name, when=NOW),
        }
        allowed = {
            "run": {SCHEDULED, WAITING, ACTIVE},
            "retry": {WAITING, ACTIVE, State.FAILED, CANCELLED},
            "later": PENDING,
            "now": PENDING,
        }[verb]
        [answer] = self.call(self.store.update(self.queue, [changes[verb]]))
        job = self.jobs.get(name)
        if job is None:
            refused(answer, JobNotFound)
            return
        if job.state not in allowed:
            assert refused(answer, WrongState).state is job.state
            return
        if verb == "later":
            job.state, job.due = SCHEDULED, False
        elif job.state is not ACTIVE:
            if job.state in ENDED:
                job.failures, job.crashes, job.asked = 0, 0, False
            job.state, job.due = WAITING, False
        assert good(answer).state is job.state

    @rule(name=st.sampled_from(NAMES), ended_only=st.booleans())
    def delete(self, name: str, ended_only: bool) -> None:
        [answer] = self.call(self.store.delete(self.queue, [name], ended_only=ended_only))
        job = self.jobs.get(name)
        if job is None:
            refused(answer, JobNotFound)
        elif job.state is ACTIVE or (ended_only and job.state in PENDING):
            assert refused(answer, WrongState).state is job.state
        else:
            assert answer is None
            del self.jobs[name]

    @rule(name=st.sampled_from(NAMES))
    def time_passes(self, name: str) -> None:
        """A lease runs out and is taken back, or a job comes due."""
        job = self.jobs.get(name)
        if job is None or job.state not in {ACTIVE, SCHEDULED} or job.due:
            return
        [standing] = self.call(self.store.get(self.queue, [name], View.BASIC))
        assert standing is not None
        if job.state is SCHEDULED:
            self.backdate.due(standing, by=2 * HOUR)
            job.due = True
            return
        self.backdate.lease(standing, by=2 * HOUR)
        assert len(self.call(self.store.reap(self.queue))) == 1
        job.crash(limits.MAX_LEASES_LOST)

    @invariant()
    def each_job_is_where_the_model_says(self) -> None:
        for name, job in zip(NAMES, self.call(self.store.get(self.queue, NAMES, View.FULL)), strict=True):
            model = self.jobs.get(name)
            assert (job is None) is (model is None)
            if job is None or model is None:
                continue
            found = (job.state, job.attempt, job.failures, job.crashes, len(job.errors))
            assert found == (model.state, model.attempt, model.failures, model.crashes, min(model.errors, 10))
            assert (job.end_time is not None) is (job.state in ENDED)

    @invariant()
    def counts_and_lists_equal_the_model(self) -> None:
        figures = self.call(self.store.figures(self.queue))
        assert Counter({state: figures.total(state) for state in State}) == Counter(
            job.state for job in self.jobs.values()
        )

    @invariant()
    def the_tick_knows_what_will_happen_by_itself(self) -> None:
        tick = self.call(self.store.ticks([self.queue]))[self.queue]
        states = {job.state for job in self.jobs.values()}
        assert (tick.next_due is not None) is (SCHEDULED in states)
        assert (tick.next_lease_end is not None) is (ACTIVE in states)
        assert (tick.next_expiry is not None) is bool(states & ENDED)


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    """An event loop that the machine's steps, which are not coroutines, run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


def test_every_life_is_as_the_model_says(provider: Provider, loop: asyncio.Runner) -> None:
    opened = provider.store()
    Life.loop, Life.provider, Life.backdate = loop, provider, provider.backdate
    Life.store = loop.run(opened.__aenter__())
    try:
        run_state_machine_as_test(Life, settings=bounded(100, steps=30))
    finally:
        loop.run(opened.__aexit__(None, None, None))
