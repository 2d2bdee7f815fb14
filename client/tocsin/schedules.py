"""Recurring schedules, as users see them and ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, TypeAlias, TypedDict

from tocsin._times import Span, read_time
from tocsin.enums import Missed, OnExcluded, Overlap
from tocsin.payloads import Payload, TypedPayload
from tocsin.requests import Collapse, Priority, Retention, RetryPolicy
from tocsin.v1 import schedule_pb2, schedule_service_pb2

#: What becomes of an excluded time, by its word.
OnExcludedName: TypeAlias = OnExcluded | Literal["SKIP", "NEXT_DAY", "PREVIOUS_DAY"]
OverlapName: TypeAlias = Overlap | Literal["SKIP", "QUEUE_ONE", "ALLOW", "CANCEL_OTHER"]
MissedName: TypeAlias = Missed | Literal["ONCE", "SKIP", "ALL"]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days that are excluded: all that any of its fields names."""

    dates: Sequence[date | str] = ()  # "2026-12-25"
    weekdays: Sequence[str] = ()  # "SAT"
    ics: str = ""  # an iCalendar text
    time_zone: str = ""  # whose days they are; that of the schedule
    on_excluded: OnExcludedName = OnExcluded.SKIP


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time of a schedule. `message` is the tocsin.v1 message it was read from, which has each note's parts."""

    time: datetime  # by which the run is known; UTC
    local: datetime  # the same, as far from UTC as the schedule's zone is then
    due_time: datetime  # later by the jitter
    skipped: bool  # a calendar takes it out
    notes: tuple[str, ...]  # what is particular about it, in sentences
    message: schedule_pb2.Occurrence = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: schedule_pb2.Occurrence) -> Occurrence:
        """The time that a message holds."""
        return cls(
            time=read_time(message.time),
            local=datetime.fromisoformat(message.local),
            due_time=read_time(message.due_time),
            skipped=message.skipped,
            notes=tuple(note.text for note in message.notes),
            message=message,
        )


@dataclass(frozen=True, slots=True)
class BackfilledTime:
    """A time that was made up for, or would be."""

    occurrence: Occurrence
    job_id: str  # empty: a calendar takes it out
    kept: bool  # that job stood already


@dataclass(frozen=True, slots=True)
class Backfill:
    """What a backfill did, or would."""

    times: tuple[BackfilledTime, ...]
    made: int
    kept: int

    @classmethod
    def read(cls, message: schedule_service_pb2.BackfillScheduleResponse) -> Backfill:
        """The answer that a message holds."""
        times = (BackfilledTime(Occurrence.read(one.occurrence), one.job_id, one.kept) for one in message.times)
        return cls(tuple(times), message.made, message.kept)


class TimingOptions(TypedDict, total=False):
    """When a schedule runs. `cron` or `every` is needed."""

    cron: str | Sequence[str]  # a line, or several: "0 9 L * *"
    time_zone: str  # of cron, "Europe/Berlin"; UTC
    every: Span  # seconds or a timedelta
    anchor: datetime  # the first time of `every`
    start_time: datetime
    end_time: datetime  # no time at it or after it
    max_runs: int
    jitter: Span  # each run is due up to so much later
    #: Names of kept ones, or by name what becomes of times on their days ("NEXT_DAY"), or one that is not kept.
    calendars: Sequence[str] | Mapping[str, OnExcludedName | Calendar]
    queue: str  # this and the id decide how jitter falls
    schedule_id: str


class KeptOptions(TypedDict, total=False):
    """A schedule that is kept: when it runs, as in TimingOptions, and what it runs."""

    cron: str | Sequence[str]
    time_zone: str
    every: Span
    anchor: datetime
    start_time: datetime
    end_time: datetime
    max_runs: int
    jitter: Span
    calendars: Sequence[str] | Mapping[str, OnExcludedName]  # kept ones; or what becomes of times on their days: SKIP
    queue: str
    type: str | TypedPayload  # of its jobs; needed where it is made
    payload: Payload
    priority: Priority
    retry: RetryPolicy | None
    timeout: Span | None
    retention: Retention | None
    tags: Mapping[str, str]
    limit_key: str
    weight: int
    collapse: Collapse | None
    expire: Span | None  # of each job: so long after it is due
    overlap: OverlapName  # SKIP
    missed: MissedName  # ONCE
    catch_up_window: Span  # of ALL: older ones are missed
    catch_up_max: int  # of ALL: 100
    paused: bool
    note: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that is kept. `message` is the tocsin.v1 message it was read from, which has all of it."""

    queue: str
    schedule_id: str
    paused: bool
    next_times: tuple[datetime, ...]  # in lists the next one only
    last_time: datetime | None
    fired: int
    missed: int
    overlap_skipped: int
    backfilled: int
    revision: int
    message: schedule_pb2.Schedule = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: schedule_pb2.Schedule) -> Schedule:
        """The schedule that a message holds."""
        return cls(
            queue=message.queue,
            schedule_id=message.schedule_id,
            paused=message.paused,
            next_times=tuple(map(read_time, message.next_times)),
            last_time=read_time(message.last_time) if message.HasField("last_time") else None,
            fired=message.counts.fired,
            missed=message.counts.missed,
            overlap_skipped=message.counts.overlap_skipped,
            backfilled=message.counts.backfilled,
            revision=message.revision,
            message=message,
        )
