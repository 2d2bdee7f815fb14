"""Changes of jobs, in the order in which a queue's store made them."""

from __future__ import annotations

from tocsin_server.domain.job import Job
from tocsin_server.domain.record import record


@record
class Event:
    """A job (View.BASIC) as it stood after a change; its errors, progress and cancel may be newer.

    Of a deleted job, queue, id, type and create time are sure.
    """

    job: Job
    deleted: bool
    cursor: str  # go on after this event; opaque, names the store's epoch


@record
class EventBatch:
    """Events after a cursor. With `gap`, those right after the cursor asked for are no longer kept."""

    events: tuple[Event, ...]
    cursor: str  # where to go on
    gap: bool = False
