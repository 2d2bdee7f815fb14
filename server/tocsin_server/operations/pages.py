"""Lists of jobs, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from tocsin_server.domain.filters import JobFilter, ListQuery, Position
from tocsin_server.domain.job import Job, View
from tocsin_server.store.interface import JobStore


async def pages(
    store: JobStore,
    queue: str,
    filter_: JobFilter,
    step: int,
    view: View = View.BASIC,
    *,
    after: Position | None = None,
) -> AsyncGenerator[tuple[Job, ...], None]:
    """All jobs that match, newest first, or from `after` on; at most `step` at a time, never none. Jobs that arrive
    meanwhile are left out; one that is deleted between two pages does not disturb them."""
    while True:
        page = await store.page(ListQuery(queue, filter_, limit=step, after=after, view=view, with_total=False))
        if page.jobs:
            yield page.jobs
        if page.next is None:
            return
        after = page.next
