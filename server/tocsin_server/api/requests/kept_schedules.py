"""Requests about schedules that are kept. The messages are the shadow ones of wire.py."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from tocsin.v1 import schedule_pb2
from tocsin.v1 import schedule_service_pb2 as pb

from tocsin_server.api import page_tokens
from tocsin_server.api.requests.conditions import to_conditions
from tocsin_server.api.requests.dependencies import refuse_dependencies
from tocsin_server.api.requests.jobs import check_page_size, page_size, queue_of
from tocsin_server.api.requests.payloads.checking import BUILT_IN_TYPES
from tocsin_server.api.requests.schedule_jobs import check_size, check_spec, overrides, to_payload
from tocsin_server.api.requests.schedules import check_schedule, timing_of
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import SERVER_DEFAULTS, UNSET, JobRequest, terms
from tocsin_server.domain.schedules.standing import Missed, Overlap, ScheduleSpec

_OVERLAP = {int(number): name for name, number in schedule_pb2.Schedule.Overlap.items()}
_MISSED = {int(number): name for name, number in schedule_pb2.CatchUp.Missed.items()}
_NO_TERMS = terms(UNSET, SERVER_DEFAULTS)
_GIVEN = ("queue", "schedule_id", "revision", "create_time", "next_times", "last_time", "waiting_time", "counts")
#: What an update may change.
CHANGEABLE = tuple(field.name for field in schedule_pb2.Schedule.DESCRIPTOR.fields if field.name not in _GIVEN)

#: A schedule's spec, whose job has no terms yet, and the job as it was asked for.
Wanted = tuple[ScheduleSpec, JobRequest]


class NamesSchedule(Protocol):
    """A request about one schedule."""

    @property
    def queue(self) -> str:
        """Of the schedule."""

    @property
    def schedule_id(self) -> str:
        """Of the schedule."""


def named_schedule(request: NamesSchedule) -> tuple[str, str]:
    """Queue and id, of a request that has nothing else to check."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    wrong.name("schedule_id", request.schedule_id)
    wrong.done()
    return queue_of(request.queue), request.schedule_id


def pause_schedule(request: pb.PauseScheduleRequest) -> tuple[str, str, str]:
    """Queue, id and reason."""
    wrong = Violations()
    wrong.text("reason", request.reason, limits.REASON_BYTES)
    wrong.done()
    return *named_schedule(request), request.reason


def backfill_schedule(request: pb.BackfillScheduleRequest) -> tuple[str, str, datetime, datetime]:
    """Queue, id, and the span: from when on, and before when."""
    wrong, start = Violations(), getattr(request, "from")  # a word of Python
    for field, given, is_there in (
        ("from", start, request.HasField("from")),
        ("to", request.to, request.HasField("to")),
    ):
        if is_there:
            wrong.time(field, given)
        else:
            wrong.add(field, "is needed")
    wrong.queue("queue", request.queue)
    wrong.name("schedule_id", request.schedule_id)
    if not wrong and to_time(start) >= to_time(request.to):
        wrong.add("to", "is not after from")
    wrong.done()
    return queue_of(request.queue), request.schedule_id, to_time(start), to_time(request.to)


def list_schedules(request: pb.ListSchedulesRequest) -> tuple[str, str, int]:
    """Queue, the id after which the list goes on, and how many are wanted."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    check_page_size(wrong, request.page_size)
    wrong.done()
    queue = queue_of(request.queue)
    after = page_tokens.last_schedule(queue, request.page_token) if request.page_token else ""
    return queue, after, page_size(request.page_size)


def create_schedule(request: pb.CreateScheduleRequest) -> Wanted:
    """The schedule to make."""
    wrong = Violations()
    if not request.HasField("schedule"):
        wrong.add("schedule", "is needed")
        wrong.done()
    return wanted(request.schedule)


def update_schedule(request: pb.UpdateScheduleRequest) -> tuple[str, str, int]:
    """Queue, id, and the revision that must stand, 0 for any; of a request whose mask is right."""
    wrong, schedule = Violations(), request.schedule
    wrong.queue("schedule.queue", schedule.queue)
    wrong.name("schedule.schedule_id", schedule.schedule_id)
    if not request.update_mask.paths:
        wrong.add("update_mask", "is needed: name the fields to change")
    for path in request.update_mask.paths:
        if path not in CHANGEABLE:
            wrong.add("update_mask", f"has {path[:100]!r}, which is none of {', '.join(CHANGEABLE)}")
    wrong.done()
    return queue_of(schedule.queue), schedule.schedule_id, schedule.revision


def merged(standing: schedule_pb2.Schedule, request: pb.UpdateScheduleRequest) -> Wanted:
    """What stands, with the fields of the request's mask."""
    for name in request.update_mask.paths:
        standing.ClearField(name)  # type: ignore[arg-type]  # it was checked to be one
        for field, value in request.schedule.ListFields():
            if field.name == name:
                if field.message_type is None:
                    setattr(standing, name, value)
                else:
                    getattr(standing, name).MergeFrom(value)
                    if name != "calendars":
                        getattr(standing, name).SetInParent()
    return wanted(standing)


def wanted(schedule: schedule_pb2.Schedule) -> Wanted:
    """A schedule that is to be kept."""
    wrong = Violations()
    check_schedule(wrong, schedule)
    if not schedule.schedule_id:
        wrong.add("schedule.schedule_id", "is needed")
    _check_job(wrong, schedule)
    wrong.enum("schedule.overlap", schedule.overlap, _OVERLAP)
    wrong.enum("schedule.missed", schedule.missed, _MISSED)
    if schedule.HasField("catch_up_window"):
        least, most = limits.MIN_CATCH_UP_WINDOW, limits.MAX_DELAY
        wrong.span(
            "schedule.catch_up_window",
            schedule.catch_up_window,
            least,
            most,
            f"1 min to {limits.MAX_DELAY.days:,} days",
        )
    if schedule.HasField("catch_up_max"):
        wrong.number("schedule.catch_up_max", schedule.catch_up_max, 1, limits.CATCH_UP)
    wrong.text("schedule.pause_reason", schedule.pause_reason, limits.REASON_BYTES)
    wrong.text("schedule.note", schedule.note, limits.REASON_BYTES)
    wrong.done()
    queue, payload = queue_of(schedule.queue), to_payload(schedule.job)
    job = JobRequest(
        queue,
        schedule.job.type or (BUILT_IN_TYPES[payload.kind] if payload else ""),
        payload,
        schedule.job.priority,
        overrides(schedule.job),
        dict(schedule.job.tags),
        conditions=to_conditions(schedule.job),
    )
    window: timedelta | None = to_span(schedule.catch_up_window) if schedule.HasField("catch_up_window") else None
    spec = ScheduleSpec(
        queue,
        schedule.schedule_id,
        timing_of(schedule),
        job.draft(_NO_TERMS).spec,
        Overlap(schedule.overlap or Overlap.SKIP),
        Missed(schedule.missed or Missed.ONCE),
        window,
        schedule.catch_up_max if schedule.HasField("catch_up_max") else limits.DEFAULT_CATCH_UP,
        schedule.paused,
        schedule.pause_reason if schedule.paused else "",
        schedule.note,
    )
    return spec, job


def _check_job(wrong: Violations, schedule: schedule_pb2.Schedule) -> None:
    if not schedule.HasField("job"):
        wrong.add("schedule.job", "is needed")
        return
    check_size("schedule.job", schedule.job)
    check_spec(wrong, "schedule.job", schedule.job)
    refuse_dependencies(wrong, "schedule.job", schedule.job, "is not built for the jobs of schedules: leave it out")
    if schedule.job.expire.WhichOneof("when") == "at":
        wrong.add("schedule.job.expire.at", "is one time, and its jobs are many: give after_due")
    if schedule.job.queue and schedule.job.queue != queue_of(schedule.queue):
        wrong.add("schedule.job.queue", "is another queue than the schedule's; leave it out")
