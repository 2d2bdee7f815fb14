"""Which jobs are meant, and one page of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import IntEnum

from tocsin_server.domain.job import Job, View
from tocsin_server.domain.record import record
from tocsin_server.domain.states import State


@record
class Window:
    """A span of time: from (inclusive) to (exclusive); None is open."""

    start: datetime | None = None
    end: datetime | None = None


@record
class JobFilter:
    """Filters are joined by "and"; several states or types by "or", several tags by "and". Empty: all."""

    states: frozenset[State] = frozenset()
    types: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    priority_min: int | None = None
    priority_max: int | None = None
    scheduled: Window = Window()
    created: Window = Window()
    ended: Window = Window()

    @property
    def counted(self) -> bool:
        """Whether the store's counters answer "how many" without looking at jobs."""
        return (
            not self.tags
            and self.priority_min is None
            and self.priority_max is None
            and self.scheduled == self.created == self.ended == Window()
        )


class Order(IntEnum):
    """How a list is sorted."""

    NEWEST = 1  # by arrival, newest first
    SOONEST = 2  # by due time, then arrival; SCHEDULED only


@record
class Position:
    """Where a list goes on: after this arrival (NEWEST), or after this due time and arrival (SOONEST)."""

    arrival: int
    due: datetime | None = None
    skip: int = 0  # matching jobs still to be passed over


@record
class ListQuery:
    """One page to be read."""

    queue: str
    filter: JobFilter = JobFilter()
    order: Order = Order.NEWEST
    limit: int = 50
    skip: int = 0
    after: Position | None = None  # None: from the start
    view: View = View.BASIC
    with_total: bool = True  # False: Page.total is None, which on MongoDB spares looking at the whole queue


@record
class Page:
    """Jobs in order. `next` is None on the last page; a page may be short, or empty, and have a `next`."""

    jobs: tuple[Job, ...]
    next: Position | None
    total: int | None = None  # how many match in all, where the filter is `counted`
