"""Jobs of a queue, some at a time: what a queue holds can be more than memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime

from tocsin_server.domain.filters import JobFilter, ListQuery
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.states import State
from tocsin_server.operations.steps import steps
from tocsin_server.store.interface import JobStore

#: Jobs in a step. One of whole jobs ends earlier where they have more than some megabytes.
STEP = 1_000
#: Jobs that are read whole by their ids at once, where nothing else bounds them: each may be 1 MiB.
BY_ID = 50


async def anything(store: JobStore, queue: str, *states: State) -> bool:
    """Whether a job stands in one of these states, or at all. Counts may be some seconds old; this never is."""
    query = ListQuery(queue, JobFilter(states=frozenset(states)), limit=1, with_total=False)
    return bool((await store.page(query)).jobs)


async def newest_first(store: JobStore, queue: str) -> AsyncGenerator[Sequence[Job], None]:
    """All jobs, whole. What goes meanwhile is left out."""
    async with aclosing(steps(store, queue, JobFilter(), STEP, View.FULL)) as found:
        async for jobs in found:
            yield jobs


async def oldest_first(store: JobStore, queue: str) -> AsyncGenerator[Sequence[Job], None]:
    """The same the other way round. All ids are held in memory meanwhile, about 100 bytes each."""
    ids: list[str] = []
    async with aclosing(steps(store, queue, JobFilter(), STEP)) as found:
        async for jobs in found:
            ids += [job.job_id for job in jobs]
    for end in range(len(ids), 0, -BY_ID):
        yield await by_id(store, queue, ids[max(0, end - BY_ID) : end][::-1])


async def by_id(store: JobStore, queue: str, job_ids: Sequence[str]) -> list[Job]:
    """Those that stand, whole; at most BY_ID are asked for."""
    return [job for job in await store.get(queue, job_ids, View.FULL) if job is not None]


async def others(store: JobStore, queue: str, jobs: Sequence[Job]) -> dict[str, datetime]:
    """Ids of those under which another job stands in the store, one that was made at another time; and that time."""
    stand = await store.get(queue, [job.job_id for job in jobs], View.BASIC) if jobs else []
    return {
        job.job_id: there.create_time
        for job, there in zip(jobs, stand, strict=True)
        if there is not None and there.create_time != job.create_time
    }


async def shared_ids(source: JobStore, target: JobStore, queue: str) -> int:
    """How many ids stand on both sides for different jobs."""
    if not await anything(target, queue):
        return 0
    count = 0
    async with aclosing(steps(source, queue, JobFilter(), STEP)) as found:
        async for jobs in found:
            count += len(await others(target, queue, jobs))
    return count
