"""A clock that is moved by hand: how far, and what happened on the way."""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin_server.domain.record import record
from tocsin_server.domain.states import State


@record
class ClockReading:
    """The store's clock, and when something happens next by itself."""

    now: datetime
    manual: bool
    next_due: datetime | None


@record
class Advance:
    """How far to move the clock: by a span, to a time, or with neither to what is due next."""

    by: timedelta | None = None
    to: datetime | None = None
    settle: timedelta = timedelta(seconds=1)


@record
class EndedRun:
    """An attempt that ended on the way."""

    queue: str
    job_id: str
    type: str
    attempt: int
    due: datetime
    start: datetime
    state: State  # of its job, after it
    error: str
    arrival: int  # of its job

    @property
    def order(self) -> tuple[datetime, str, int, int]:
        """The same in each run, whoever was faster."""
        return self.due, self.queue, self.arrival, self.attempt


@record
class Advanced:
    """What happened. With `more` it stopped early."""

    now: datetime
    ran: tuple[EndedRun, ...]
    more: bool
