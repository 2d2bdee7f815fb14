"""A schedule that stands: what was asked for, and how far it has come."""

from __future__ import annotations

from dataclasses import field, replace
from datetime import datetime, timedelta
from enum import IntEnum

from tocsin_server.domain import limits
from tocsin_server.domain.job import Draft, JobSpec, OnConflict
from tocsin_server.domain.nominal_times import job_id_of
from tocsin_server.domain.record import record
from tocsin_server.domain.schedules.calendars import Calendars, days_of, revisions_of
from tocsin_server.domain.schedules.reckoning import Reckoning
from tocsin_server.domain.schedules.timing import Occurrence, Timing
from tocsin_server.domain.times import MILLISECOND


class Overlap(IntEnum):
    """What becomes of a time whose predecessor's job has not ended. The numbers are those of tocsin.v1.Schedule."""

    SKIP = 1
    QUEUE_ONE = 2  # one waits for its end
    ALLOW = 3
    CANCEL_OTHER = 4


class Missed(IntEnum):
    """What becomes of times that no server was there to fire. The numbers are those of tocsin.v1.Schedule."""

    ONCE = 1  # one run for all of them
    SKIP = 2
    ALL = 3  # the latest `catch_up_max` of those within `catch_up_window`


@record
class ScheduleSpec:
    """What was asked for."""

    queue: str
    schedule_id: str
    timing: Timing
    job: JobSpec
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.ONCE
    catch_up_window: timedelta | None = None  # None: however long ago
    catch_up_max: int = limits.DEFAULT_CATCH_UP
    paused: bool = False
    pause_reason: str = ""
    note: str = ""


@record
class Schedule:
    """A schedule as it stands. `stamp` is another one after each write: by it a write knows that nobody was faster."""

    spec: ScheduleSpec
    create_time: datetime  # the anchor of an interval without one
    next_time: datetime | None  # the next nominal time; None: over, or paused, but for one that is being moved
    revision: int = 1  # of what was asked for
    last_time: datetime | None = None  # the nominal time that was fired last
    held_time: datetime | None = None  # that waits for the end of the last one's job
    fired: int = 0
    missed: int = 0
    overlap_skipped: int = 0
    backfilled: int = 0  # jobs that were made by hand, of times that had passed; not among `fired`
    calendar_revisions: tuple[int, ...] = ()  # those that the next time was reckoned by, in the order of its calendars
    stamp: str = field(default="", compare=False)  # set by the store; empty: it does not stand yet

    @property
    def key(self) -> str:
        """What tells it from other schedules."""
        return f"{self.spec.queue}/{self.spec.schedule_id}"

    @property
    def look_time(self) -> datetime | None:
        """When it is to be looked at next. One that rests is not, whatever it will go on with."""
        if self.spec.paused:
            return None
        return self.next_time if self.held_time is None else self.held_time

    @property
    def runs_left(self) -> int | None:
        """How many more runs it may have; one that waits has taken its place. None: without end."""
        return self.runs_left_with(self.fired, self.held_time)

    def runs_left_with(self, fired: int, held: datetime | None) -> int | None:
        """The same, with so many behind it and this one waiting."""
        most = self.spec.timing.max_runs
        return None if most is None else max(0, most - fired - (held is not None))

    def reckoning(self, calendars: Calendars | None = None) -> Reckoning:
        """Its times, however many runs it has. LookupError where a calendar that it names is not there."""
        timing = self.spec.timing
        if timing.max_runs is not None:
            timing = replace(timing, max_runs=None)
        return Reckoning(timing, key=self.key, created=self.create_time, calendars=days_of(calendars or {}))

    @property
    def calendar_names(self) -> tuple[str, ...]:
        """The calendars that it names."""
        return tuple(use.name for use in self.spec.timing.calendars)

    def reckoned_by(self, calendars: Calendars) -> bool:
        """Whether its next time was reckoned by these calendars. LookupError where one that it names is not there."""
        return self.calendar_revisions == revisions_of(self.spec.timing, calendars)

    def from_now_on(self, reckoning: Reckoning | None, now: datetime) -> Schedule:
        """The schedule with its next time after now: made, changed or resumed, it fires nothing at once. `reckoning`:
        its times; None where it is paused."""
        most = self.spec.timing.max_runs
        over = self.spec.paused or (most is not None and self.fired >= most)
        coming = None if over or reckoning is None else reckoning.next_after(now)
        dropped = 0 if self.held_time is None else 1
        return replace(
            self,
            next_time=None if coming is None else coming.time,
            held_time=None,
            overlap_skipped=self.overlap_skipped + dropped,
        )

    def by_calendars(self, calendars: Calendars, now: datetime) -> Schedule:
        """The schedule with its next time as these calendars have it now: none that has passed, so it fires nothing at
        once. But where times are due and not dealt with yet, those are looked for from the first of them on. The run
        that waits goes on waiting."""
        most, waiting = self.spec.timing.max_runs, self.held_time is not None
        over = self.spec.paused or (most is not None and self.fired + waiting >= most)
        due = self.next_time is not None and self.next_time <= now
        after = self.next_time - MILLISECOND if self.next_time is not None and due else now
        coming = None if over else self.reckoning(calendars).next_after(after)
        return replace(
            self,
            next_time=None if coming is None else coming.time,
            calendar_revisions=revisions_of(self.spec.timing, calendars),
        )

    def draft(self, occurrence: Occurrence) -> Draft:
        """The job of one of its times. A job that stands under its id is that time's, and stays."""
        job_id = job_id_of(self.spec.schedule_id, occurrence.time)
        return Draft(self.spec.job, job_id, occurrence.due_time, OnConflict.KEEP, fired=True)

    @property
    def last_job_id(self) -> str | None:
        """The job that it made last."""
        return None if self.last_time is None else job_id_of(self.spec.schedule_id, self.last_time)
