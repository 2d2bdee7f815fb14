"""Jobs of a queue, some at a time, and the first of many lines about them: a queue can hold more than memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tocsin_server.domain.filters import JobFilter, ListQuery, Position
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.states import State
from tocsin_server.operations.pages import pages
from tocsin_server.store.interface import JobStore

#: Jobs in a step. One of whole jobs ends earlier where they have more than some megabytes.
STEP = 1_000
#: Jobs that are read whole by their ids at once, where nothing else bounds them: each may be 1 MiB.
BY_ID = 50
#: Lines of a report that are kept.
KEPT = 20


class Lines:
    """What is to be said of jobs that could be many."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, line: str) -> None:
        """One more."""
        self.count += 1
        if self.count <= KEPT:
            self.first.append(line)

    def __bool__(self) -> bool:
        return self.count > 0


async def anything(store: JobStore, queue: str, *states: State) -> bool:
    """Whether a job stands in one of these states, or at all. Counts may be some seconds old; this never is."""
    query = ListQuery(queue, JobFilter(states=frozenset(states)), limit=1, with_total=False)
    return bool((await store.page(query)).jobs)


async def newest_first(store: JobStore, queue: str) -> AsyncGenerator[Sequence[Job], None]:
    """All jobs, whole. What goes meanwhile is left out."""
    async with aclosing(pages(store, queue, JobFilter(), STEP, View.FULL)) as batches:
        async for jobs in batches:
            yield jobs


async def read_ahead(batches: AsyncGenerator[Sequence[Job], None]) -> AsyncGenerator[Sequence[Job], None]:
    """The same batches, each next one read while whoever takes them is busy with the one before."""
    async with aclosing(batches):
        following = asyncio.ensure_future(anext(batches, None))
        try:
            while (jobs := await following) is not None:
                following = asyncio.ensure_future(anext(batches, None))
                yield jobs
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def oldest_first(store: JobStore, queue: str) -> AsyncGenerator[Sequence[Job], None]:
    """The same the other way round: listed twice, as only where each step begins is held in memory meanwhile."""
    begins: list[int] = []  # arrivals, each the highest of its step
    async with aclosing(pages(store, queue, JobFilter(), STEP)) as batches:
        async for jobs in batches:
            begins.append(jobs[0].arrival)
    below = 0  # what arrived up to here has been given
    for begin in reversed(begins):
        ids = await _ids_between(store, queue, below, begin)
        below = begin
        for end in range(len(ids), 0, -BY_ID):
            yield await by_id(store, queue, ids[max(0, end - BY_ID) : end][::-1])


async def _ids_between(store: JobStore, queue: str, below: int, highest: int) -> list[str]:
    """Ids of the jobs that arrived after `below`, up to `highest`, newest first."""
    ids: list[str] = []
    from_here = Position(highest + 1)
    async with aclosing(pages(store, queue, JobFilter(), STEP, after=from_here)) as batches:
        async for jobs in batches:
            ids += [job.job_id for job in jobs if job.arrival > below]
            if jobs[-1].arrival <= below:
                break
    return ids


async def by_id(store: JobStore, queue: str, job_ids: Sequence[str]) -> list[Job]:
    """Those that stand, whole; at most BY_ID are asked for."""
    return [job for job in await store.get(queue, job_ids, View.FULL) if job is not None]


async def others(store: JobStore, queue: str, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that stand in the store under an id of these, and were made at another time."""
    stand = await store.get(queue, [job.job_id for job in jobs], View.BASIC) if jobs else []
    return [
        there
        for job, there in zip(jobs, stand, strict=True)
        if there is not None and there.create_time != job.create_time
    ]


async def shared_ids(source: JobStore, target: JobStore, queue: str) -> int:
    """How many ids stand on both sides for different jobs."""
    if not await anything(target, queue):
        return 0
    count = 0
    async with aclosing(pages(source, queue, JobFilter(), STEP)) as batches:
        async for jobs in batches:
            count += len(await others(target, queue, jobs))
    return count
