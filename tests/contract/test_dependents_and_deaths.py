"""A server dies at each of its calls of the store while jobs that wait for others are made, and while they are told:
what it left is brought to its end by another, as if nothing had been."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import pytest
from support.dying_store import Died
from tocsin_server.domain import limits
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.dependencies import MOST_MISSES, DependsOn, ParentRequest, WhenParentFails
from tocsin_server.domain.job import View
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.operations.dependents import Dependents
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.store.dependency_store import DependencyStore
from tocsin_server.store.interface import JobStore

from contract.builders import SECOND, a_draft, a_query, added, claimed, completed, finished, pages, read
from contract.dependent_jobs import RUN, all_errands, child
from contract.keyed_jobs import passed

QUEUES = ("a", "b")


class _Dying:
    """A store whose nth call, those of its dependencies counted, is the last that a process makes; `acted`: the store
    does it, and nobody hears."""

    def __init__(self, of: object, calls: list[int], *, acted: bool) -> None:
        self._of, self._calls, self._acted = of, calls, acted

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        if name == "dependencies":
            return _Dying(found, self._calls, acted=self._acted)
        if not callable(found):
            return found

        async def call(*args: Any, **words: Any) -> Any:
            self._calls[0] -= 1
            if self._calls[0] < 0 or (self._calls[0] == 0 and not self._acted):
                raise Died
            answer = await found(*args, **words)
            if self._calls[0] == 0:
                raise Died
            return answer

        return call


async def _settings(queue: str) -> QueueSettings:
    return QueueSettings()


async def _to_the_end(store: JobStore) -> None:
    """Another server, which runs what is due, and tells whom there is to tell, for as long as it takes."""
    for _ in range(MOST_MISSES + 8):
        for queue in QUEUES:
            await finished(store, *(completed(one) for one in await claimed(store, queue=queue)))
        await all_errands(store)
        await passed(store, limits.ASK_PARENTS + SECOND)


async def _states(store: JobStore) -> dict[str, State]:
    found = {}
    for queue in QUEUES:
        for job in await store.get(queue, ["p", "c"], View.BASIC):
            if job is not None:
                found[job.job_id] = job.state
    return found


@pytest.mark.parametrize("acted", [True, False], ids=["as its call was done", "before its call"])
async def test_whoever_dies_as_jobs_are_made_leaves_none_waiting(movable: JobStore, acted: bool) -> None:
    parents, depends = (ParentRequest("a", "p"),), Conditions(depends=DependsOn(WhenParentFails.FAIL))
    batch = [
        JobRequest("a", "t", job_id="p", on_end=JobRequest("b", "t")),
        JobRequest("b", "t", job_id="c", conditions=depends, parents=parents, on_end=JobRequest("a", "t")),
    ]
    at, died = 0, True
    while died:
        at += 1
        assert at < 30, "it never comes through"
        died = False
        scheduling = ScheduleJobs(cast(JobStore, _Dying(movable, [at], acted=acted)), _settings)
        try:
            await scheduling.schedule(batch, range(2))
        except Died:
            died = True
        await _to_the_end(movable)
        states = await _states(movable)
        made = list(states)
        assert set(states.values()) <= {State.COMPLETED}, (at, states)
        assert made in ([], ["p"], ["p", "c"]), at
        for queue in QUEUES:
            assert (await movable.figures(queue)).total(State.BLOCKED) == 0, at
            others = (await movable.figures(queue)).total(State.COMPLETED)
            # What follows stands in the other queue, once for each that was made.
            assert others == (("p" if queue == "a" else "c") in made) + (("c" if queue == "a" else "p") in made), at
        for queue in QUEUES:
            ids = [job.job_id for job in await _all(movable, queue)]
            await movable.delete(queue, ids)
    assert at > 5


async def _all(store: JobStore, queue: str) -> list[Any]:
    return [job for page in await pages(store, a_query(queue=queue)) for job in page.jobs]


@pytest.mark.parametrize("acted", [True, False], ids=["as its call was done", "before its call"])
async def test_whoever_dies_as_an_end_is_told_leaves_nobody_untold(movable: JobStore, acted: bool) -> None:
    at, died = 0, True
    while died:
        at += 1
        died = False
        [parent] = await added(movable, a_draft(f"p{at}", queue="a"))
        near = await child(movable, f"near{at}", parent, rule=RUN, queue="a")
        far = await child(movable, f"far{at}", parent, rule=RUN, queue="b")
        await finished(movable, *(completed(one) for one in await claimed(movable, queue="a")))
        dying = cast(JobStore, _Dying(movable, [at], acted=acted))
        with contextlib.suppress(Died):
            died = True
            await Dependents(dying, cast(DependencyStore, dying.dependencies)).run_errands("a")
            died = False
        await passed(movable, limits.RETELL + SECOND)
        await all_errands(movable)
        for job in (near, far):
            assert (await read(movable, job)).state is State.WAITING, at
        for queue in QUEUES:
            await finished(movable, *(completed(one) for one in await claimed(movable, queue=queue)))
            assert (await movable.ticks([queue]))[queue].next_errand is None, at
    assert at > 2
