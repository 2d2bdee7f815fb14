"""What a job becomes by the list it stands in, where Bull and BullMQ agree."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tocsin_server.domain.states import State
from tocsin_server.migrate.bull.json_text import Unfit
from tocsin_server.migrate.bull.making import Place
from tocsin_server.migrate.bull.numbers import time_of
from tocsin_server.migrate.bull.order import LOWERED, RAISED, Line, PriorityOf
from tocsin_server.migrate.bull.record import Record
from tocsin_server.migrate.bull.source import Id

ACTIVE_LEFT = "a worker runs it: stop the old workers, and take it with --take-active"
COMPLETED_LEFT = "it is done; --take-completed takes it"
NEXT_RUN = "it is the next run of what repeats, and left with that"
TOO_FAR = "it is to run after the year 9999"
LOGS = "its log lines are not taken over"

# The score of a delayed job: its time in milliseconds times this, and a number that tells equal times apart.
_PER_MS = 4096


class Places:
    """Of one queue's jobs, read in the order in which they would run. `now` is when that is."""

    def __init__(self, now: datetime, priority_of: PriorityOf) -> None:
        self.now = now
        self.line = Line()
        self.priority_of = priority_of

    def in_line(self, record: Record, own: int, wanted: int, *, running: bool = False) -> Place:
        """One that waits, or a worker has: `own` is its priority, `wanted` that of its place."""
        taken = self.line.priority(wanted)
        whys = (RAISED,) if taken > own else (LOWERED,) if taken < own else ()
        due = self.line.due(self.due_since(record, running=running))
        return Place(State.WAITING, taken, due, running=running, whys=whys)

    def delayed(self, one: Id, record: Record) -> Place | str:
        """One that is due later, or was due and would come to the end of the list now."""
        if record.scheduler and not record.attempts_made and not record.stalls:
            return NEXT_RUN  # also when it is due by now: a source of which nothing changes says the same at all times
        ms = one[1] // _PER_MS
        priority = self.priority_of(record.priority)
        if ms <= 0:
            return Place(State.WAITING, priority, self.line.last(self.due_since(record)))
        due = time_of(ms)
        if due is None:
            raise Unfit(TOO_FAR)
        if due <= self.now:
            return Place(State.WAITING, priority, self.line.last(due))
        return Place(State.SCHEDULED, priority, due)

    def failed(self, one: Id, record: Record) -> Place:
        """One that has failed for good."""
        return self._ended(State.FAILED, one, record)

    def completed(self, one: Id, record: Record) -> Place:
        """One that is done."""
        return self._ended(State.COMPLETED, one, record)

    def due_since(self, record: Record, *, running: bool = False) -> datetime:
        """When it became due, as far as its record knows. One that waits was begun by an attempt that is over."""
        created = record.created or self.now
        left = (self.now - created) / timedelta(milliseconds=1)
        due = created + timedelta(milliseconds=record.delay) if record.delay < left else self.now
        return min(due if running else max(due, record.begun or due), self.now)

    def _ended(self, state: State, one: Id, record: Record) -> Place:
        return Place(state, self.priority_of(record.priority), self.due_since(record), ended=time_of(one[1]))


def logs_beside(root: bytes, one: Id, record: Record) -> Sequence[tuple[bytes, str]]:
    """Only what has run has log lines."""
    return [(root + one[0] + b":logs", LOGS)] if record.begun else []
