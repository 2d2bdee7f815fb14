"""The calls of ScheduleService; see `_calls`."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from datetime import date, datetime

from tocsin._calls import PreparedCall
from tocsin._checking import listed, of_kind, put, word
from tocsin._fields import refuse_unknown
from tocsin._times import put_duration, put_time
from tocsin.enums import OnExcluded
from tocsin.errors import InvalidArgument, WrongType
from tocsin.schedules import Calendar, Occurrence, TimingOptions
from tocsin.v1 import schedule_pb2
from tocsin.v1 import schedule_service_pb2 as pb

_SERVICE = "tocsin.v1.ScheduleService"


def preview(
    count: int, after: datetime | None, timing: TimingOptions
) -> PreparedCall[pb.PreviewScheduleResponse, list[Occurrence]]:
    """PreviewSchedule."""
    refuse_unknown("preview", timing, TimingOptions.__annotations__)
    request = pb.PreviewScheduleRequest()
    put(request, "count", count, "count")
    if after is not None:
        put_time(request.after, after, "after")
    _put_timing(request.schedule, timing)
    for name, calendar in timing.get("calendars", {}).items():
        path = f"calendars[{name!r}]"
        _put_calendar(request, name, of_kind(Calendar, calendar, path), path)
    return PreparedCall(
        f"/{_SERVICE}/PreviewSchedule",
        request,
        pb.PreviewScheduleResponse,
        lambda answer: list(map(Occurrence.read, answer.occurrences)),
        repeatable=True,
    )


def _put_timing(schedule: schedule_pb2.Schedule, timing: TimingOptions) -> None:
    for name, text in (("queue", timing.get("queue", "")), ("schedule_id", timing.get("schedule_id", ""))):
        put(schedule, name, text, f"schedule.{name}")
    cron, every, anchor = timing.get("cron"), timing.get("every"), timing.get("anchor")
    if cron is not None and every is not None:
        raise InvalidArgument.of("every", "is given beside cron; give one of them")
    if cron is not None:
        schedule.cron.SetInParent()
        _extend(schedule.cron.lines, [cron] if isinstance(cron, str) else cron, "cron")
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
    if (runs := timing.get("max_runs")) is not None:
        put(schedule, "max_runs", runs, "max_runs")
    if (jitter := timing.get("jitter")) is not None:
        put_duration(schedule.jitter, jitter, "jitter")


def _put_calendar(request: pb.PreviewScheduleRequest, name: str, calendar: Calendar, path: str) -> None:
    use, target = request.schedule.calendars.add(), request.calendars.add()
    put(use, "name", name, path)
    action = word(OnExcluded, calendar.on_excluded, f"{path}.on_excluded")
    use.on_excluded = schedule_pb2.CalendarUse.OnExcluded.Value(action)
    put(target, "name", name, path)
    dates = [day.isoformat() if type(day) is date else day for day in listed(calendar.dates, f"{path}.dates")]
    _extend(target.dates, dates, f"{path}.dates")
    _extend(target.weekdays, calendar.weekdays, f"{path}.weekdays")
    put(target, "ics", calendar.ics, f"{path}.ics")
    put(target, "time_zone", calendar.time_zone, f"{path}.time_zone")


def _extend(field: MutableSequence[str], values: Iterable[object], path: str) -> None:
    """Texts. Raises InvalidArgument for one that is not valid Unicode, WrongType for what is no text."""
    for i, value in enumerate(listed(values, path)):
        if not isinstance(value, str):
            raise WrongType.of(f"{path}[{i}]", f"is text, not of type {type(value).__name__}")
        try:
            field.append(value)
        except ValueError as error:
            raise InvalidArgument.of(f"{path}[{i}]", f"cannot be sent: {error}") from None
