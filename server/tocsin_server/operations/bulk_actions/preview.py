"""The dry run of a bulk action: what it would touch, counted and shown."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from tocsin_server.domain.bulk_actions import MAX_SAMPLE, ActionMoment
from tocsin_server.domain.filters import JobFilter, ListQuery, Position
from tocsin_server.domain.job import Job
from tocsin_server.domain.states import State
from tocsin_server.operations.bulk_actions.changes import moment_of
from tocsin_server.store.interface import JobStore

_STEP = 500  # jobs of one call to the store
_TELL_EVERY = 0.5  # seconds


@dataclass(slots=True)
class Found:
    """What matches, by state and type, and the first jobs of it."""

    counts: Counter[tuple[State, str]] = field(default_factory=Counter)
    sample: list[Job] = field(default_factory=list)  # newest first
    moment: ActionMoment | None = None  # once all is counted

    @property
    def matched(self) -> int:
        """Jobs in all."""
        return self.counts.total()


async def preview(store: JobStore, queue: str, filter_: JobFilter) -> AsyncGenerator[Found, None]:
    """What matches: so far, some twice a second, and last in all, with the moment that this is about.

    Where the store's counters know by states and types nothing but the sample is read. Else all that matches is gone
    through. Changes nothing.
    """
    moment = await moment_of(store, queue)
    found = Found()
    if filter_.counted:
        sample = await store.page(ListQuery(queue, filter_, limit=MAX_SAMPLE, with_total=False))
        found.sample = list(sample.jobs)
        found.counts = _of_filter((await store.figures(queue)).counts, filter_)
    else:
        after: Position | None = Position(moment.arrival + 1)
        told = time.monotonic()
        while after is not None:
            page = await store.page(ListQuery(queue, filter_, limit=_STEP, after=after, with_total=False))
            found.counts.update((job.state, job.spec.type) for job in page.jobs)
            found.sample += page.jobs[: MAX_SAMPLE - len(found.sample)]
            after = page.next
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                yield found
    found.moment = ActionMoment(moment.time, moment.arrival, moment.cursor, found.matched)
    yield found


def _of_filter(counts: Mapping[State, Mapping[str, int]], filter_: JobFilter) -> Counter[tuple[State, str]]:
    return Counter(
        {
            (state, type_): jobs
            for state in filter_.states
            for type_, jobs in counts.get(state, {}).items()
            if jobs and (not filter_.types or type_ in filter_.types)
        }
    )
