"""All that stands in a store is encrypted anew by the primary key of the ring."""

from __future__ import annotations

from collections.abc import Callable

from tocsin_server.domain.filters import JobFilter
from tocsin_server.domain.job import View
from tocsin_server.operations.pages import pages
from tocsin_server.store.encrypting.resealing import Resealer, Resealing

_JOBS, _NOTES, _SCHEDULES = 200, 200, 100  # a step


async def count_jobs(resealer: Resealer) -> int:
    """How many jobs stand, about."""
    total = 0
    for queue in await resealer.inner.queues():
        total += sum(sum(by_type.values()) for by_type in (await resealer.inner.figures(queue)).counts.values())
    return total


async def reencrypt(resealer: Resealer, tell: Callable[[Resealing], None]) -> Resealing:
    """Go through all queues: schedules first, for they make jobs, then notes and jobs. `tell` hears the figures after
    each step. What the store raises; then what is done is done, and the next run passes over it."""
    store, done = resealer.inner, resealer.done
    for queue in await store.queues():
        after = ""
        while schedules := await store.schedules.schedules(queue, after=after, limit=_SCHEDULES):
            for schedule in schedules:
                await resealer.schedule(queue, schedule)
            after = schedules[-1].spec.schedule_id
        after = ""
        while notes := await store.notes(queue, after=after, limit=_NOTES):
            for note in notes:
                await resealer.note(queue, note)
            after = notes[-1].key
        async for jobs in pages(store, queue, JobFilter(), _JOBS, View.FULL):
            await resealer.jobs(queue, jobs)
            tell(done)
    tell(done)
    return done
