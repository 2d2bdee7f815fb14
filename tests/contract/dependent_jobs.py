"""Jobs that wait for others, as the tests of these ask for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.dependencies import DependsOn, JobRef, ParentJob, WhenParentFails
from tocsin_server.domain.job import Job, View
from tocsin_server.operations.dependents import Dependents
from tocsin_server.store.dependency_store import DependencyStore
from tocsin_server.store.interface import JobStore

from contract.builders import a_draft, added, claimed, finished
from contract.builders import completed as completed_end

RUN, FAIL, CANCEL = WhenParentFails


def of(store: JobStore) -> DependencyStore:
    """Its dependencies, which it must have."""
    assert store.dependencies is not None
    return store.dependencies


def dependents(store: JobStore) -> Dependents:
    return Dependents(store, of(store))


async def unwatched_child(
    store: JobStore,
    job_id: str,
    *parents: Job,
    rule: WhenParentFails = FAIL,
    block_timeout: timedelta | None = None,
    of_end: bool = False,
    queue: str = "q",
    **words: Any,
) -> Job:
    """A job that waits for these, as it stands before it has asked them."""
    conditions = Conditions(depends=DependsOn(rule, block_timeout, of_end))
    named = tuple(ParentJob(parent.queue, parent.job_id, parent.arrival) for parent in parents)
    draft = a_draft(job_id, queue=queue, conditions=conditions, **words)
    [job] = await added(store, replace(draft, parents=named))
    return job


async def child(store: JobStore, job_id: str, *parents: Job, **words: Any) -> Job:
    """A job that waits for these, and has asked them."""
    job = await unwatched_child(store, job_id, *parents, **words)
    named = [ParentJob(parent.queue, parent.job_id, parent.arrival) for parent in parents]
    await dependents(store).ask({JobRef(job.queue, job_id): named})
    return job


async def all_errands(store: JobStore) -> int:
    """Do what is to be done now, in all queues, until nothing is; how many steps did something."""
    steps = 0
    while True:
        ticks = await store.ticks(await store.queues())
        now = await store.ping()
        due = [queue for queue, tick in ticks.items() if tick.next_errand is not None and tick.next_errand <= now]
        if not due:
            return steps
        assert steps < 1_000, "errands do not end"
        for queue in due:
            await dependents(store).run_errands(queue)
            steps += 1


async def complete(store: JobStore, job: Job, result: bytes | None = None) -> None:
    """Let an attempt of it begin and end well; no other job of its type may be due."""
    [one] = await claimed(store, 1, queue=job.queue, types=[job.spec.type])
    assert one.job.job_id == job.job_id
    await finished(store, completed_end(one, result))


async def stands(store: JobStore, job: Job) -> Job | None:
    [found] = await store.get(job.queue, [job.job_id], View.FULL)
    return found
