"""Jobs of a queue, some at a time: what a queue holds can be more than memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

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
