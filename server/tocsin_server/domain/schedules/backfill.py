"""Which times of a schedule can be made up for by hand. Pure."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from tocsin_server.domain import limits
from tocsin_server.domain.record import record
from tocsin_server.domain.schedules.errors import TooManyTimes
from tocsin_server.domain.schedules.reckoning import Reckoning
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.schedules.timing import Occurrence
from tocsin_server.domain.times import MILLISECOND


@record
class BackfilledTime:
    """A time, and what became of it, or would."""

    occurrence: Occurrence
    job_id: str | None  # None: a calendar takes it out
    kept: bool = False  # that job stood already


def backfill_times(
    schedule: Schedule, reckoning: Reckoning, start: datetime, end: datetime, now: datetime
) -> list[Occurrence]:
    """Its times from `start` on and before `end`, in order, those that a calendar takes out included. TooManyTimes.

    What is to come, is due and not dealt with yet, or waits for the end of the job before it, the schedule runs itself:
    a second job of such a time would be one too many once the first has gone.
    """
    until = min(end, now + MILLISECOND)
    if schedule.next_time is not None:
        until = min(until, schedule.next_time)
    times = reckoning.occurrences(start - MILLISECOND, until=until, skipped=True)
    found = [one for one in islice(times, limits.BACKFILL_TIMES + 2) if one.time != schedule.held_time]
    if len(found) > limits.BACKFILL_TIMES:
        raise TooManyTimes("to", limits.BACKFILL_TIMES, found[limits.BACKFILL_TIMES].time)
    return found
