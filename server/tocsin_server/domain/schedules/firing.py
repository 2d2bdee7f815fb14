"""What a schedule is to do now. Pure: it is given the time, and whether the job that it made last is still going."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, takewhile

from tocsin_server.domain.record import record
from tocsin_server.domain.schedules.reckoning import Reckoning
from tocsin_server.domain.schedules.standing import Missed, Overlap, Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Occurrence
from tocsin_server.domain.times import MILLISECOND

#: A time that is fired so late at most was not missed: servers are restarted, and busy.
PUNCTUAL = timedelta(minutes=1)
#: Jobs that one step makes at most, and times that it passes over.
MOST_FIRED, MOST_PASSED = 50, 100
#: Times that are counted where a schedule is changed while it is behind.
MOST_UNFIRED = 1_000
#: Bytes of payload that one step fires at most, if it is more than one job: they are one call to the store.
MOST_BYTES = 1 << 20


@record
class FiringStep:
    """What is to be done in one go: jobs of these times, and then the schedule stands as `after` says."""

    fires: tuple[Occurrence, ...]
    cancels: str | None  # the id of a job to be cancelled before
    after: Schedule
    more: bool  # another step is due at once


def next_step(schedule: Schedule, reckoning: Reckoning, now: datetime, *, going: bool) -> FiringStep | None:
    """The next step, None where there is nothing to do. `going`: the job that the schedule made last has not ended.

    A step fires up to MOST_FIRED times, MOST_BYTES together, and passes over up to MOST_PASSED; of a schedule that
    catches up it looks ahead as far as `catch_up_max` besides.
    """
    if schedule.held_time is not None and not going:
        return _release(schedule, schedule.held_time, reckoning, now)
    if schedule.next_time is None or schedule.next_time > now:
        return None
    most = MOST_PASSED + (schedule.spec.catch_up_max if schedule.spec.missed is Missed.ALL else 0)
    ahead = _due_and_next(reckoning.occurrences(schedule.next_time - MILLISECOND), now, most)
    due = [one for one in ahead if one.time <= now]
    wanted, missed, taken = _wanted(schedule, due[:most], now, whole=len(due) <= most)
    fires, cancels, held, skipped = _overlapping(schedule, wanted, going=going)
    fired = schedule.fired + len(fires)
    coming = ahead[taken].time if taken < len(ahead) and schedule.runs_left_with(fired, held) != 0 else None
    after = replace(
        schedule,
        next_time=coming,
        last_time=fires[-1].time if fires else schedule.last_time,
        held_time=held,
        fired=fired,
        missed=schedule.missed + missed,
        overlap_skipped=schedule.overlap_skipped + skipped,
    )
    return FiringStep(fires, cancels, after, coming is not None and coming <= now)


def unfired(schedule: Schedule, reckoning: Reckoning, now: datetime) -> int:
    """How many of its times have come and were not looked at yet, up to MOST_UNFIRED."""
    if schedule.next_time is None or schedule.next_time > now:
        return 0
    most = MOST_UNFIRED if schedule.runs_left is None else min(MOST_UNFIRED, schedule.runs_left)
    times = reckoning.occurrences(schedule.next_time - MILLISECOND)
    return sum(1 for _ in takewhile(lambda one: one.time <= now, islice(times, most)))


def _due_and_next(times: Iterator[Occurrence], now: datetime, most: int) -> Sequence[Occurrence]:
    """Those that are due, and the one behind them: `most` + 1 at most. None is reckoned that is not asked for."""
    found: list[Occurrence] = []
    for one in times:
        found.append(one)
        if one.time > now or len(found) > most:
            break
    return found


def _release(schedule: Schedule, held: datetime, reckoning: Reckoning, now: datetime) -> FiringStep:
    """The one that waited goes."""
    fired = schedule.fired + 1
    coming = None if schedule.runs_left_with(fired, None) == 0 else schedule.next_time
    after = replace(schedule, next_time=coming, last_time=held, held_time=None, fired=fired)
    return FiringStep((reckoning.run_at(held),), None, after, coming is not None and coming <= now)


def _wanted(
    schedule: Schedule, due: Sequence[Occurrence], now: datetime, *, whole: bool
) -> tuple[Sequence[Occurrence], int, int]:
    """Which of the due times are to run if nothing overlaps, how many are missed, and how many that disposes of.

    `whole`: these are all that are due; otherwise there are more behind them.
    """
    spec = schedule.spec
    late = sum(one.time < now - PUNCTUAL for one in due)
    if spec.missed is Missed.ALL:
        since = None if spec.catch_up_window is None else now - max(spec.catch_up_window, PUNCTUAL)
        passed = sum(since is not None and one.time < since for one in due[:late])
        passed = max(passed, late - spec.catch_up_max)
    elif spec.missed is Missed.ONCE and whole and late == len(due):
        passed = max(late - 1, 0)  # none is due where the zone's rules, or the days off, have changed since
    else:
        passed = late
    passed = min(passed, MOST_PASSED)
    if not whole and late == len(due):
        return (), passed, passed
    if passed == MOST_PASSED:
        return (), passed, passed
    wanted = due[passed : passed + _most_fired(spec)]
    return wanted, passed, passed + len(wanted)


def _most_fired(spec: ScheduleSpec) -> int:
    if spec.overlap is not Overlap.ALLOW or spec.job.payload is None:  # one is fired at most, or they are small
        return MOST_FIRED
    return max(1, min(MOST_FIRED, MOST_BYTES // max(1, len(spec.job.payload.body))))


def _overlapping(
    schedule: Schedule, wanted: Sequence[Occurrence], *, going: bool
) -> tuple[tuple[Occurrence, ...], str | None, datetime | None, int]:
    """Those of the wanted times that run now, the job to be cancelled for it, which waits, and how many give way."""
    overlap, most = schedule.spec.overlap, schedule.spec.timing.max_runs
    fires: list[Occurrence] = []
    held, skipped, cancels = schedule.held_time, 0, None
    if overlap is Overlap.CANCEL_OTHER and wanted:
        cancels = schedule.last_job_id if going else None
        wanted, skipped, going = wanted[-1:], len(wanted) - 1, False
    for one in wanted:
        if most is not None and schedule.fired + len(fires) + (held is not None) >= most:
            break
        if overlap is Overlap.ALLOW or not going:
            fires.append(one)
            going = True
        elif overlap is Overlap.QUEUE_ONE and held is None:
            held = one.time
        else:
            skipped += 1
    return tuple(fires), cancels, held, skipped
