"""Figures by interval and type: an hour each, or longer where there would be too many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_server.domain.job import Job
from tocsin_server.domain.states import State
from tocsin_server.operations.reporting.figures import waited_and_ran
from tocsin_server.operations.reporting.intervals import longer, start_of

_NONE = timedelta(0)


@dataclass(slots=True)
class Cell:
    """What ended of one type in one interval."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    repeats: int = 0  # attempts beyond each job's first
    ran: int = 0  # jobs that the times are of
    waited_total: timedelta = _NONE
    waited_most: timedelta = _NONE
    ran_total: timedelta = _NONE
    ran_most: timedelta = _NONE

    def add(self, other: Cell) -> None:
        """Take in what another one counted."""
        self.completed += other.completed
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.repeats += other.repeats
        self.ran += other.ran
        self.waited_total += other.waited_total
        self.waited_most = max(self.waited_most, other.waited_most)
        self.ran_total += other.ran_total
        self.ran_most = max(self.ran_most, other.ran_most)


class Table:
    """Cells by interval and type, `most` at most: when there would be more, intervals are made longer."""

    def __init__(self, step: timedelta, most: int) -> None:
        self.step = step
        self._most = most
        self._cells: dict[tuple[datetime, str], Cell] = {}

    def add(self, job: Job, type_: str, end: datetime) -> None:
        """Count one job that ended at `end`."""
        self._cell(start_of(end, self.step), type_).add(_of(job))
        while len(self._cells) > self._most:
            self._lengthen()

    def _cell(self, start: datetime, type_: str) -> Cell:
        found = self._cells.get((start, type_))
        if found is None:
            found = self._cells[start, type_] = Cell()
        return found

    def _lengthen(self) -> None:
        before = self._cells
        self.step = longer(self.step)
        self._cells = {}
        for (start, type_), cell in before.items():
            self._cell(start_of(start, self.step), type_).add(cell)

    def __iter__(self) -> Iterator[tuple[datetime, str, Cell]]:
        """Where an interval begins, type and cell; by time, then type. Only those in which something ended."""
        return ((start, type_, self._cells[start, type_]) for start, type_ in sorted(self._cells))

    def __len__(self) -> int:
        return len(self._cells)


def _of(job: Job) -> Cell:
    cell = Cell(
        completed=job.state is State.COMPLETED,
        failed=job.state is State.FAILED,
        cancelled=job.state is State.CANCELLED,
        repeats=max(0, job.attempt - 1),
    )
    if (spans := waited_and_ran(job)) is not None:
        waited, ran = (max(span, _NONE) for span in spans)
        cell.ran = 1
        cell.waited_total = cell.waited_most = waited
        cell.ran_total = cell.ran_most = ran
    return cell
