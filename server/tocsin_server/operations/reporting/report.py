"""The figures of a report, and how they are read from the store."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeVar

from tocsin_server.domain import limits
from tocsin_server.domain.filters import JobFilter, Window
from tocsin_server.domain.job import Job
from tocsin_server.domain.states import ENDED
from tocsin_server.operations.pages import pages
from tocsin_server.operations.reporting.figures import ReportFigures
from tocsin_server.operations.reporting.intervals import handy_step, start_of
from tocsin_server.operations.reporting.reasons import Reasons
from tocsin_server.operations.reporting.retention import Retained, RetentionSeen, Uncounted
from tocsin_server.operations.reporting.table import Table
from tocsin_server.store.interface import JobStore

DEFAULT_LENGTH = timedelta(hours=24)

_Key = TypeVar("_Key", bound=Hashable)

#: Types beyond those a queue may hold at a time, met while it is read. No type has parentheses.
OTHER_TYPES = "(other types)"

_MOST_INTERVALS = 48  # bars that a chart on a phone can show
_MOST_CELLS = 20_000  # about 2 MB of lines
_MOST_REASONS = 500


class EmptyWindow(Exception):
    """The window has no length, or begins in the future."""


@dataclass(frozen=True, slots=True)
class Report:
    """What ended in a queue from `start` (inclusive) to `end` (exclusive), and still stood at `made`."""

    queue: str
    start: datetime
    end: datetime
    made: datetime  # the store's clock
    total: ReportFigures = field(default_factory=ReportFigures)
    types: dict[str, ReportFigures] = field(default_factory=dict)
    chart_step: timedelta = timedelta(hours=1)
    #: By the interval's start; only where something ended.
    chart: dict[datetime, ReportFigures] = field(default_factory=dict)
    table: Table = field(default_factory=lambda: Table(timedelta(hours=1), _MOST_CELLS))
    reasons: Reasons = field(default_factory=lambda: Reasons(_MOST_REASONS))
    gaps: Sequence[Uncounted] = ()  # what may be missing
    zone: tzinfo = UTC  # in which people read it

    @property
    def length(self) -> timedelta:
        """How long the window is."""
        return self.end - self.start

    @property
    def ahead(self) -> timedelta:
        """Of UTC, at the window's start: a clock that changes within it is not followed by the charts."""
        return self.start.astimezone(self.zone).utcoffset() or timedelta(0)

    @property
    def per_hour(self) -> float:
        """Jobs that ended, an hour."""
        return self.total.ended / (self.length / timedelta(hours=1))

    def intervals(self) -> Sequence[tuple[datetime, ReportFigures]]:
        """All intervals of the chart, those in which nothing ended too."""
        intervals = []
        start = start_of(self.start, self.chart_step, self.ahead)
        while start < self.end:
            intervals.append((start, self.chart.get(start) or ReportFigures()))
            start += self.chart_step
        return intervals

    def busiest_first(self) -> Sequence[tuple[str, ReportFigures]]:
        """Types, those of most jobs first."""
        return sorted(self.types.items(), key=lambda item: (-item[1].ended, item[0]))

    def add(self, job: Job, end: datetime) -> None:
        """Count one job that ended at `end`, in the window."""
        type_ = job.spec.type
        if type_ not in self.types and len(self.types) >= limits.TYPES_PER_QUEUE:
            type_ = OTHER_TYPES
        self.total.add(job)
        _of(self.types, type_).add(job)
        _of(self.chart, start_of(end, self.chart_step, self.ahead)).add(job)
        self.table.add(job, type_, end)
        self.reasons.add(job, type_)


def _of(figures: dict[_Key, ReportFigures], key: _Key) -> ReportFigures:
    found = figures.get(key)
    if found is None:
        found = figures[key] = ReportFigures()
    return found


class Reporting:
    """Makes reports. Reads ended jobs `step` at a time and keeps figures of them only: memory is bounded whatever the
    queue holds. Cost: as listing the queue's ended jobs."""

    def __init__(self, store: JobStore, retained: Retained, *, step: int = 200) -> None:
        self._store = store
        self._retained = retained
        self._step = step

    async def report(
        self,
        queue: str,
        start: datetime | None,
        end: datetime | None,
        tell: Callable[[int, int], None],
        *,
        length: timedelta = DEFAULT_LENGTH,
        zone: tzinfo = UTC,
    ) -> Report:
        """Read what ended from `start` (None: `length` before the end) to `end` (None: the store's now; a time to come
        means now). EmptyWindow. After each step `tell` hears how many jobs were counted, and how many there can be at
        most."""
        figures = await self._store.figures(queue)
        end = figures.now if end is None else min(end, figures.now)
        start = end - length if start is None else start
        if start >= end:
            raise EmptyWindow(f"it begins at {start.isoformat()} and ends, now at the latest, at {end.isoformat()}")
        made = Report(queue, start, end, figures.now, chart_step=handy_step(end - start, _MOST_INTERVALS), zone=zone)
        most = sum(figures.total(state) for state in ENDED)
        retention = RetentionSeen()
        window = Window(start, end)
        filter_ = JobFilter(states=ENDED, ended=window)
        async with aclosing(pages(self._store, queue, filter_, self._step)) as batches:
            async for jobs in batches:
                for job in jobs:
                    if job.end_time is not None:
                        made.add(job, job.end_time)
                        retention.add(job, job.end_time)
                tell(made.total.ended, max(most, made.total.ended))
        return replace(made, gaps=await retention.gaps(self._store, queue, window, self._retained))
