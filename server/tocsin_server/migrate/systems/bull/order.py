"""Priorities and due times that make Tocsin run waiting jobs in the order in which their list would have run them.

Tocsin runs the higher priority first, then what was due earlier, then what arrived earlier. So along a list neither
the priority may rise nor, at one priority, the due time fall. Where the source's own figures would (LIFO, a job that
was retried by hand, clocks that differ), the list is right and the figure is brought in line.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

_MOST = 2**31 - 1
MOST_TOLD = 1_000_000  # Bull's priorities up to this are told apart

RAISED = "it stands before jobs with a higher priority (LIFO, or it stalled), so it takes theirs"
LOWERED = "it stands behind jobs with a lower priority (LIFO, or retried by hand), so it takes theirs"
UNTOLD = "Bull's priorities above 1,000,000 are one here"


#: From a priority of the source to one of Tocsin's.
PriorityOf = Callable[[float], int]


def bull_priority(priority: float) -> int:
    """Bull: 1 runs first, and what has none (0) after all that have one. Here 1,000,000 and down to 1, and 0."""
    if priority == 0:
        return 0
    return int(min(max(MOST_TOLD + 1 - int(min(max(priority, -_MOST), _MOST)), 1), _MOST))


def bullmq_priority(priority: float) -> int:
    """BullMQ: what has none (0) runs first, then 1, then 2. Here 0, -1, -2."""
    return -int(min(max(priority, 0), _MOST))


class WaitingLine:
    """Jobs of one list, told in the order in which they would run."""

    def __init__(self) -> None:
        self._priority: int | None = None
        self._due: datetime | None = None
        self.latest: datetime | None = None  # the latest due time of all so far

    def priority(self, own: int) -> int:
        """The priority it takes: its own, or that of the one before it where that is lower."""
        taken = own if self._priority is None else min(own, self._priority)
        if taken != self._priority:
            self._priority, self._due = taken, None
        return taken

    def due(self, own: datetime) -> datetime:
        """The due time it takes, after its priority: its own, or that of the one before it where that is later."""
        taken = own if self._due is None else max(own, self._due)
        self._due = taken
        self.latest = taken if self.latest is None else max(taken, self.latest)
        return taken

    def last(self, own: datetime) -> datetime:
        """The due time of one that would come to the end of the list now."""
        self.latest = own if self.latest is None else max(own, self.latest)
        return self.latest
