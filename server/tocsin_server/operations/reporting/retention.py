"""Whether jobs that ended in a window may be gone already: what retention has left of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.defaults import JobDefaults
from tocsin_server.domain.filters import JobFilter, ListQuery, Window
from tocsin_server.domain.job import Job
from tocsin_server.domain.queues import QueueFigures, QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.domain.times import MILLISECOND
from tocsin_server.store.interface import JobStore

#: The two kinds of ended jobs whose retention is set apart.
DONE, DEAD = frozenset({State.COMPLETED, State.CANCELLED}), frozenset({State.FAILED})


#: Of a window. By default it is as long as COMPLETED jobs are kept, and reading them takes a while.
_NOT_WORTH_TELLING = 0.001


@dataclass(frozen=True, slots=True)
class Retained:
    """How long and how many ended jobs are kept where a queue says nothing."""

    defaults: JobDefaults
    completed_max: int
    failed_max: int


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Jobs in `states` that ended in the window before this time may have been deleted, and are not counted then.
    Where neither cause is given, somebody deleted some before their time."""

    states: frozenset[State]
    before: datetime
    kept_for: timedelta | None  # the shortest retention seen, where that is the cause
    kept_most: int | None  # how many are kept, where that is the cause


class RetentionSeen:
    """What is seen of the jobs' own retention while they are read, and of each kind the one that ended first."""

    def __init__(self) -> None:
        self._shortest: dict[frozenset[State], timedelta] = {}
        self._first: dict[frozenset[State], datetime] = {}

    def add(self, job: Job, end: datetime) -> None:
        """Look at one job that ended at `end`, in the window."""
        kind = DEAD if job.state is State.FAILED else DONE
        kept = job.spec.terms.retention.failed_for if kind is DEAD else job.spec.terms.retention.completed_for
        self._shortest[kind] = min(kept, self._shortest.get(kind, kept))
        self._first[kind] = min(end, self._first.get(kind, end))

    async def gaps(self, store: JobStore, queue: str, window: Window, retained: Retained) -> Sequence[Uncounted]:
        """What may be missing, once all jobs of the window (both ends given) have been read.

        By age as the server, the queue, its types and the jobs that still stand say; by count where the queue keeps as
        many as it may; by hand or by a clean-up up to the last end that the store has noted. Of retention's, less than
        a thousandth of the window is not told.
        """
        if window.start is None or window.end is None:
            raise ValueError("the window must have both ends")
        [settings] = await store.settings([queue])
        figures = await store.figures(queue)
        found = []
        for kind in (DONE, DEAD):
            kept_for = self._kept_for(kind, settings, retained)
            before = min(figures.now - kept_for, window.end)
            if before - window.start > (window.end - window.start) * _NOT_WORTH_TELLING:
                found.append(Uncounted(kind, before, kept_for, None))
            most = _kept_most(kind, settings, retained)
            cut = await self._cut(store, queue, kind, figures, most, window.start, window.end)
            if cut is not None:
                found.append(Uncounted(kind, cut, None, most))
            deleted = figures.failed_deleted if kind is DEAD else figures.done_deleted
            if deleted is not None and deleted >= window.start:
                # The stores count in milliseconds: what ended at a time ended before the next one.
                found.append(Uncounted(kind, min(deleted + MILLISECOND, window.end), None, None))
        return tuple(found)

    def _kept_for(self, kind: frozenset[State], settings: QueueSettings, retained: Retained) -> timedelta:
        levels: Iterable[JobDefaults] = (settings.defaults, *settings.type_defaults.values())
        said = [level.failed_for if kind is DEAD else level.completed_for for level in levels]
        server = retained.defaults.failed_for if kind is DEAD else retained.defaults.completed_for
        # The server's word holds only where the queue has none, but a type may have gone before the queue's came.
        known = [span for span in (said[0] if said[0] is not None else server, *said[1:]) if span is not None]
        if (own := self._shortest.get(kind)) is not None:
            known.append(own)
        return min(known, default=limits.MAX_RETENTION)

    async def _cut(
        self,
        store: JobStore,
        queue: str,
        kind: frozenset[State],
        figures: QueueFigures,
        most: int,
        start: datetime,
        end: datetime,
    ) -> datetime | None:
        """Up to when jobs may have been deleted by count; None: not in the window. The oldest go first."""
        if sum(figures.total(state) for state in kind) < most:
            return None
        spared = min(end, figures.now - limits.SPARED_AFTER_END)
        before = min(self._first.get(kind, spared), spared)
        if before <= start:
            return None
        query = ListQuery(queue, JobFilter(states=kind, ended=Window(end=start)), limit=1)
        while True:
            page = await store.page(query)
            if page.jobs:
                return None  # an older one stands, so none of the window was deleted
            if page.next is None:
                return before
            query = ListQuery(queue, query.filter, limit=1, after=page.next)


def _kept_most(kind: frozenset[State], settings: QueueSettings, retained: Retained) -> int:
    if kind is DEAD:
        return retained.failed_max if settings.failed_max is None else settings.failed_max
    return retained.completed_max if settings.completed_max is None else settings.completed_max
