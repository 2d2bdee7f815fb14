"""The calls of ScheduleService; see `_calls`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar, cast

from google.protobuf.message import Message

from tocsin._calendar_calls import extend, put_days
from tocsin._calls import PreparedCall
from tocsin._checking import listed, put, word
from tocsin._fields import refuse_unknown
from tocsin._job_requests import asked, schedule_request
from tocsin._times import put_duration, put_time
from tocsin.enums import Missed, OnExcluded, Overlap
from tocsin.errors import InvalidArgument, WrongType
from tocsin.requests import ScheduleOptions
from tocsin.schedules import Backfill, Calendar, KeptOptions, Occurrence, Schedule, TimingOptions
from tocsin.v1 import schedule_pb2
from tocsin.v1 import schedule_service_pb2 as pb

_SERVICE = "tocsin.v1.ScheduleService"
_OF_JOB = ("priority", "retry", "timeout", "retention", "tags", "limit_key", "weight", "collapse", "expire")
#: What a preview is given that is of a schedule which is kept.
_OF_KEPT = frozenset({"queue", "schedule_id", "calendars"})
#: The field of a schedule that an option is in, where it is not one of its own name.
_FIELD = {"time_zone": "cron", "anchor": "every", **dict.fromkeys(("type", "payload", *_OF_JOB), "job")}

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")


class _OfSchedule(Protocol):
    """An answer that is a schedule."""

    @property
    def schedule(self) -> schedule_pb2.Schedule:
        """As it stands."""


SchedulePage = tuple[list[Schedule], str]


def preview(
    count: int, after: datetime | None, timing: TimingOptions
) -> PreparedCall[pb.PreviewScheduleResponse, list[Occurrence]]:
    """PreviewSchedule."""
    refuse_unknown("preview", timing, TimingOptions.__annotations__)
    request = pb.PreviewScheduleRequest()
    put(request, "count", count, "count")
    if after is not None:
        put_time(request.after, after, "after")
    if timing.keys() <= _OF_KEPT and "schedule_id" in timing:
        _put_names(request, timing["schedule_id"], timing.get("queue", ""))
    else:
        _put_timing(request.schedule, timing)
    uses = timing.get("calendars", ())
    for name, calendar in uses.items() if isinstance(uses, Mapping) else ():
        if isinstance(calendar, Calendar):
            path, target = f"calendars[{name!r}]", request.calendars.add()
            put(target, "name", name, path)
            put_days(target, calendar.dates, calendar.weekdays, calendar.ics, calendar.time_zone, f"{path}.")
    return PreparedCall(
        f"/{_SERVICE}/PreviewSchedule",
        request,
        pb.PreviewScheduleResponse,
        lambda answer: list(map(Occurrence.read, answer.occurrences)),
        repeatable=True,
    )


def create(schedule_id: str, options: KeptOptions) -> PreparedCall[pb.CreateScheduleResponse, Schedule]:
    """CreateSchedule."""
    request = pb.CreateScheduleRequest()
    _put_kept(request.schedule, schedule_id, "create", options)
    return _call("CreateSchedule", request, pb.CreateScheduleResponse, _schedule)


def update(schedule_id: str, revision: int, options: KeptOptions) -> PreparedCall[pb.UpdateScheduleResponse, Schedule]:
    """UpdateSchedule, of the fields that the options are in."""
    request = pb.UpdateScheduleRequest()
    _put_kept(request.schedule, schedule_id, "update", options)
    put(request.schedule, "revision", revision, "revision")
    fields = {_FIELD.get(name, name): None for name in options if name != "queue"}
    request.update_mask.paths.extend(fields)
    return _call("UpdateSchedule", request, pb.UpdateScheduleResponse, _schedule)


def get(schedule_id: str, queue: str) -> PreparedCall[pb.GetScheduleResponse, Schedule]:
    """GetSchedule."""
    request = pb.GetScheduleRequest()
    _put_names(request, schedule_id, queue)
    return _call("GetSchedule", request, pb.GetScheduleResponse, _schedule, repeatable=True)


def list_page(queue: str, page_token: str = "") -> PreparedCall[pb.ListSchedulesResponse, SchedulePage]:
    """ListSchedules, one page."""
    request = pb.ListSchedulesRequest(page_token=page_token, page_size=100)
    put(request, "queue", queue, "queue")

    def read(answer: pb.ListSchedulesResponse) -> SchedulePage:
        return list(map(Schedule.read, answer.schedules)), answer.next_page_token

    return _call("ListSchedules", request, pb.ListSchedulesResponse, read, repeatable=True)


def delete(schedule_id: str, queue: str) -> PreparedCall[pb.DeleteScheduleResponse, None]:
    """DeleteSchedule."""
    request = pb.DeleteScheduleRequest()
    _put_names(request, schedule_id, queue)
    return _call("DeleteSchedule", request, pb.DeleteScheduleResponse, lambda _: None)


def pause(schedule_id: str, queue: str, reason: str) -> PreparedCall[pb.PauseScheduleResponse, Schedule]:
    """PauseSchedule."""
    request = pb.PauseScheduleRequest()
    _put_names(request, schedule_id, queue)
    put(request, "reason", reason, "reason")
    return _call("PauseSchedule", request, pb.PauseScheduleResponse, _schedule, repeatable=True)


def resume(schedule_id: str, queue: str) -> PreparedCall[pb.ResumeScheduleResponse, Schedule]:
    """ResumeSchedule."""
    request = pb.ResumeScheduleRequest()
    _put_names(request, schedule_id, queue)
    return _call("ResumeSchedule", request, pb.ResumeScheduleResponse, _schedule, repeatable=True)


def trigger(schedule_id: str, queue: str) -> PreparedCall[pb.TriggerScheduleResponse, str]:
    """TriggerSchedule."""
    request = pb.TriggerScheduleRequest()
    _put_names(request, schedule_id, queue)
    return _call("TriggerSchedule", request, pb.TriggerScheduleResponse, lambda answer: answer.job_id)


def backfill(
    schedule_id: str, start: datetime, end: datetime, queue: str, dry_run: bool
) -> PreparedCall[pb.BackfillScheduleResponse, Backfill]:
    """BackfillSchedule."""
    request = pb.BackfillScheduleRequest()
    _put_names(request, schedule_id, queue)
    put_time(getattr(request, "from"), start, "start")  # a word of Python
    put_time(request.to, end, "end")
    put(request, "dry_run", dry_run, "dry_run")
    # Repeated it makes no time twice.
    return _call("BackfillSchedule", request, pb.BackfillScheduleResponse, Backfill.read, repeatable=True)


def _call(
    method: str, request: Message, answer: type[Answer], read: Callable[[Answer], Result], repeatable: bool = False
) -> PreparedCall[Answer, Result]:
    return PreparedCall(f"/{_SERVICE}/{method}", request, answer, read, repeatable=repeatable)


def _schedule(answer: _OfSchedule) -> Schedule:
    return Schedule.read(answer.schedule)


def _put_names(request: Message, schedule_id: str, queue: str) -> None:
    put(request, "schedule_id", schedule_id, "schedule_id")
    put(request, "queue", queue, "queue")


def _put_kept(schedule: schedule_pb2.Schedule, schedule_id: str, call: str, options: KeptOptions) -> None:
    refuse_unknown(call, options, KeptOptions.__annotations__)
    uses = options.get("calendars", ())
    for calendar, action in uses.items() if isinstance(uses, Mapping) else ():
        if isinstance(action, Calendar):
            raise InvalidArgument.of(f"calendars[{calendar!r}]", "is not kept: put it with calendars.put, and name it")
    timing = {name: value for name, value in options.items() if name in TimingOptions.__annotations__}
    _put_timing(schedule, cast("TimingOptions", timing))
    put(schedule, "schedule_id", schedule_id, "schedule_id")
    if not options.keys().isdisjoint(("type", "payload", *_OF_JOB)):
        of_job = {name: value for name, value in options.items() if name in _OF_JOB}
        wanted = asked(options.get("type", ""), options.get("payload"), cast("ScheduleOptions", of_job))
        schedule.job.CopyFrom(schedule_request(wanted).job)
        schedule.job.ClearField("trace_context")  # what it fires in a year is not of the trace that made it
    if "overlap" in options:
        schedule.overlap = schedule_pb2.Schedule.Overlap.Value(word(Overlap, options["overlap"], "overlap"))
    if "missed" in options:
        schedule.missed = schedule_pb2.CatchUp.Missed.Value(word(Missed, options["missed"], "missed"))
    if (window := options.get("catch_up_window")) is not None:
        put_duration(schedule.catch_up_window, window, "catch_up_window")
    for name in ("catch_up_max", "paused", "note"):
        if name in options:
            put(schedule, name, options[name], name)


def _put_timing(schedule: schedule_pb2.Schedule, timing: TimingOptions) -> None:
    for name, text in (("queue", timing.get("queue", "")), ("schedule_id", timing.get("schedule_id", ""))):
        put(schedule, name, text, f"schedule.{name}")
    cron, every, anchor = timing.get("cron"), timing.get("every"), timing.get("anchor")
    if cron is not None and every is not None:
        raise InvalidArgument.of("every", "is given beside cron; give one of them")
    if cron is not None:
        schedule.cron.SetInParent()
        extend(schedule.cron.lines, [cron] if isinstance(cron, str) else cron, "cron")
        put(schedule.cron, "time_zone", timing.get("time_zone", ""), "time_zone")
    elif timing.get("time_zone"):
        raise InvalidArgument.of("time_zone", "goes with cron: an interval is elapsed time, the same in all zones")
    if every is not None:
        put_duration(schedule.every.interval, every, "every")
    if anchor is not None:
        if every is None:
            raise InvalidArgument.of("anchor", "goes with every: the wall clock is what a cron is anchored to")
        put_time(schedule.every.anchor, anchor, "anchor")
    for name, time in (("start_time", timing.get("start_time")), ("end_time", timing.get("end_time"))):
        if time is not None:
            put_time(getattr(schedule, name), time, name)
    _put_uses(schedule, timing.get("calendars") or ())
    if (runs := timing.get("max_runs")) is not None:
        put(schedule, "max_runs", runs, "max_runs")
    if (jitter := timing.get("jitter")) is not None:
        put_duration(schedule.jitter, jitter, "jitter")


def _put_uses(schedule: schedule_pb2.Schedule, uses: Sequence[str] | Mapping[str, object]) -> None:
    """The calendars that a schedule names; of one that is not kept, what becomes of times on its days."""
    if isinstance(uses, str):
        raise WrongType.of("calendars", "is a list of names, not text")
    for name in listed(uses, "calendars"):
        use, path = schedule.calendars.add(), f"calendars[{name!r}]"
        put(use, "name", name, path)
        given = uses[name] if isinstance(uses, Mapping) else OnExcluded.SKIP
        action = given.on_excluded if isinstance(given, Calendar) else given
        field = f"{path}.on_excluded" if isinstance(given, Calendar) else path
        use.on_excluded = schedule_pb2.CalendarUse.OnExcluded.Value(word(OnExcluded, action, field))
