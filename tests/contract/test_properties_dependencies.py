"""Whatever is done to jobs that wait for each other, none waits for itself, and none waits for ever."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping

import pytest
from tocsin_server.domain.commands import HoldJob, ReleaseJob, RetryJob, UpdateJob
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.dependencies import DependsOn, ParentEnd, ParentRequest, WhenParentFails
from tocsin_server.domain.job import Job, OnConflict, View
from tocsin_server.domain.lease import AttemptOutcome
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import ENDED, State
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, SECOND, claimed, completed, failed, released, wish
from contract.dependent_jobs import all_errands, dependents, of
from contract.keyed_jobs import passed

STEPS = 300 if os.environ.get("TESTS_FULL") else 60
Name = tuple[str, str]  # queue and id
QUEUES, NAMES = ("a", "b"), ("1", "2", "3", "4", "5")


async def _settings(queue: str) -> QueueSettings:
    return QueueSettings()


async def _all(store: JobStore) -> dict[Name, Job]:
    found = {}
    for queue in QUEUES:
        for job in await store.get(queue, NAMES, View.BASIC):
            if job is not None:
                found[queue, job.job_id] = job
    return found


async def _waits_for(
    store: JobStore, jobs: Mapping[tuple[str, str], Job]
) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Of each BLOCKED job those that it waits for and that stand still: others of their names are not meant."""
    edges = {}
    for (queue, job_id), job in jobs.items():
        if job.state is State.BLOCKED:
            [parents] = await of(store).parents(queue, [job_id])
            assert any(one.end is ParentEnd.OPEN for one in parents), f"{job_id} waits for nobody"
            edges[queue, job_id] = {
                (one.queue, one.job_id)
                for one in parents
                if one.end is ParentEnd.OPEN
                and (stands := jobs.get((one.queue, one.job_id))) is not None
                and stands.arrival == one.arrival
            }
    return edges


def _no_cycle(edges: Mapping[Name, set[Name]]) -> bool:
    left = dict(edges)
    while left:
        free = [one for one, parents in left.items() if not parents & left.keys()]
        if not free:
            return False
        for one in free:
            del left[one]
    return True


async def _step(store: JobStore, scheduling: ScheduleJobs, chance: random.Random) -> None:
    queue, name = chance.choice(QUEUES), chance.choice(NAMES)
    match chance.choice(("add", "add", "add", "batch", "run", "run", "cancel", "delete", "change", "errands", "time")):
        case "add":
            await scheduling.schedule([_request(queue, name, chance)])
        case "batch":
            some = [_request(queue, one, chance) for one in chance.sample(NAMES, 3)]
            await scheduling.schedule(some, range(3))
        case "run":
            ends: list[AttemptOutcome] = []
            for one in await claimed(store, 2, queue=queue):
                ends.append(
                    chance.choice((completed(one), completed(one), failed(one), failed(one, HOUR), released(one)))
                )
            await store.finish(ends)
        case "cancel":
            await store.cancel(queue, [wish(name)])
        case "delete":
            await store.delete(queue, [name], ended_only=chance.random() < 0.8)
        case "change":
            await store.update(
                queue, [chance.choice((RetryJob(name), HoldJob(name), ReleaseJob(name), UpdateJob(name, priority=1)))]
            )
        case "errands":
            await dependents(store).run_errands(queue)
        case "time":
            await passed(store, chance.choice((SECOND, 40 * SECOND, HOUR)))
            await store.trim(queue, completed_max=2, failed_max=2)


def _request(queue: str, name: str, chance: random.Random) -> JobRequest:
    parents = tuple(
        ParentRequest(chance.choice(QUEUES), chance.choice(NAMES)) for _ in range(chance.choice((0, 1, 1, 2)))
    )
    wishes = [OnConflict.FAIL, OnConflict.KEEP] if parents else [OnConflict.FAIL, OnConflict.REPLACE]
    conditions = Conditions(depends=DependsOn(chance.choice(list(WhenParentFails)))) if parents else Conditions()
    return JobRequest(
        queue, "t", job_id=name, conditions=conditions, parents=parents, on_conflict=chance.choice(wishes)
    )


@pytest.mark.parametrize("seed", range(10 if os.environ.get("TESTS_FULL") else 3))
async def test_no_cycle_comes_about_and_nothing_waits_for_ever(movable: JobStore, seed: int) -> None:
    chance, store = random.Random(seed), movable
    scheduling = ScheduleJobs(store, _settings)
    for _ in range(STEPS):
        await _step(store, scheduling, chance)
        edges = await _waits_for(store, await _all(store))
        assert _no_cycle(edges), edges
    await scheduling.close()
    # From here on all end well, and nobody holds anything: then each comes to its end.
    for _ in range(30):
        for queue in QUEUES:
            await store.update(queue, [ReleaseJob(name) for name in NAMES])
            await store.finish([completed(one) for one in await claimed(store, queue=queue)])
        await all_errands(store)
        await passed(store, HOUR)
    left = {name: job.state for name, job in (await _all(store)).items() if job.state not in ENDED}
    assert left == {}
    for queue in QUEUES:
        assert (await store.ticks([queue]))[queue].next_errand is None
    while not (checked := await store.check()).done:
        assert checked.mended == {}
