"""Jobs read whole, some at a time: what a queue holds can be more than memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tocsin_server.domain.filters import JobFilter, ListQuery
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.states import State
from tocsin_server.operations.steps import steps
from tocsin_server.store.interface import JobStore

#: Jobs listed at once, and read whole at once: each may be 1 MiB.
LISTED = 1_000
WHOLE = 50


async def anything(store: JobStore, queue: str, *states: State) -> bool:
    """Whether a job stands in one of these states, or at all. Counts may be some seconds old; this never is."""
    query = ListQuery(queue, JobFilter(states=frozenset(states)), limit=1, with_total=False)
    return bool((await store.page(query)).jobs)


async def whole(store: JobStore, queue: str, filter_: JobFilter | None = None) -> AsyncGenerator[Sequence[Job], None]:
    """All jobs that match (View.FULL), newest first, at most WHOLE at a time. What goes meanwhile is left out."""
    async with aclosing(steps(store, queue, filter_ or JobFilter(), LISTED)) as found:
        async for listed in found:
            for start in range(0, len(listed), WHOLE):
                ids = [job.job_id for job in listed[start : start + WHOLE]]
                yield [job for job in await store.get(queue, ids, View.FULL) if job is not None]


async def whole_oldest_first(store: JobStore, queue: str) -> AsyncGenerator[Sequence[Job], None]:
    """As `whole`, the other way round; all ids are held in memory meanwhile, about 100 bytes each."""
    ids: list[str] = []
    async with aclosing(steps(store, queue, JobFilter(), LISTED)) as found:
        async for listed in found:
            ids += [job.job_id for job in listed]
    for end in range(len(ids), 0, -WHOLE):
        some = ids[max(0, end - WHOLE) : end][::-1]
        yield [job for job in await store.get(queue, some, View.FULL) if job is not None]
