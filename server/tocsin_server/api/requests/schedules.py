"""Requests about recurring schedules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from tocsin.v1 import schedule_pb2
from tocsin.v1 import schedule_service_pb2 as pb

from tocsin_server.api.requests.calendars import check_calendar, check_zone
from tocsin_server.api.requests.violations import Violations, is_name
from tocsin_server.api.times import to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, Violation
from tocsin_server.domain.schedules.cron_line import WrongLine, cron_line
from tocsin_server.domain.schedules.ics import UnreadCalendar
from tocsin_server.domain.schedules.reckoning import MOST_MOVED_A_DAY, Reckoning, times_a_day
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.schedules.timing import (
    Calendar,
    CalendarUse,
    Cron,
    Every,
    Occurrence,
    OnExcluded,
    Timing,
)

_ON_EXCLUDED = {int(number): name for name, number in schedule_pb2.CalendarUse.OnExcluded.items()}


def calendars_wanted(request: pb.PreviewScheduleRequest) -> list[str]:
    """Calendars that the request's schedule names and the request does not have, a bounded number."""
    given = {calendar.name for calendar in request.calendars}
    names = dict.fromkeys(use.name for use in request.schedule.calendars[: limits.SCHEDULE_CALENDARS])
    return [name for name in names if is_name(name) and name not in given]


def preview(
    request: pb.PreviewScheduleRequest, now: datetime, kept: Mapping[str, Calendar], standing: Schedule | None = None
) -> Iterator[Occurrence]:
    """The times that are asked for. `kept`: the calendars wanted that are there; `standing`: the schedule whose id was
    given."""
    wrong = Violations()
    if request.HasField("count"):
        wrong.number("count", request.count, 1, limits.PREVIEW_TIMES)
    if request.HasField("after"):
        wrong.time("after", request.after)
    after = to_time(request.after) if request.HasField("after") else now
    zone = standing.spec.timing.time_zone if standing else request.schedule.cron.time_zone
    calendars = {**kept, **_calendars(wrong, request, zone)}
    fired = 0
    if standing is not None:
        timing, key, created, fired = standing.spec.timing, standing.key, standing.create_time, standing.fired
        for use in timing.calendars:
            if use.name not in calendars:
                wrong.add("schedule_id", f"names calendar {use.name!r}, which is not there; make it with PutCalendar")
        wrong.done()
    else:
        if not request.HasField("schedule"):
            wrong.add("schedule", "is needed, or schedule_id")
        check_schedule(wrong, request.schedule)
        for i, named in enumerate(request.schedule.calendars[: limits.SCHEDULE_CALENDARS]):
            if is_name(named.name) and named.name not in calendars:
                wrong.add(f"schedule.calendars[{i}].name", "is neither among the request's calendars nor a kept one")
        wrong.done()
        timing, schedule = timing_of(request.schedule), request.schedule
        key, created = f"{schedule.queue or limits.DEFAULT_QUEUE}/{schedule.schedule_id}", after
    count = request.count if request.HasField("count") else limits.DEFAULT_PREVIEW_TIMES
    try:
        reckoning = Reckoning(timing, key=key, created=created, calendars=calendars)
    except UnreadCalendar as error:  # a kept one, which was read by another zone when it was put
        field = "schedule.calendars" if standing is None else "schedule_id"
        why = f"names a calendar that cannot be read by the schedule's zone: {error}"
        raise InvalidFields([Violation(field, why)]) from None
    return islice(reckoning.occurrences(after, fired=fired, skipped=True), count)


def previewed_schedule(request: pb.PreviewScheduleRequest) -> tuple[str, str] | None:
    """Queue and id of the kept schedule that is asked for; None where the request has a schedule of its own."""
    if not request.schedule_id:
        return None
    wrong = Violations()
    if request.HasField("schedule"):
        wrong.add("schedule_id", "stands beside schedule; give one of them")
    wrong.queue("queue", request.queue)
    wrong.name("schedule_id", request.schedule_id)
    wrong.done()
    return request.queue or limits.DEFAULT_QUEUE, request.schedule_id


def check_schedule(wrong: Violations, schedule: schedule_pb2.Schedule) -> None:
    """What decides when it runs; whether the calendars that it names are there is not looked at."""
    wrong.queue("schedule.queue", schedule.queue)
    if schedule.schedule_id:
        wrong.name("schedule.schedule_id", schedule.schedule_id)
    match schedule.WhichOneof("rule"):
        case "cron":
            _check_cron(wrong, schedule.cron)
        case "every":
            _check_every(wrong, schedule.every)
        case None:
            wrong.add("schedule.cron", "is needed, or `every`")
    _check_window(wrong, schedule)
    if schedule.HasField("max_runs"):
        wrong.number("schedule.max_runs", schedule.max_runs, 1, limits.MAX_RUNS)
    if schedule.HasField("jitter"):
        wrong.span("schedule.jitter", schedule.jitter, timedelta(0), limits.MAX_JITTER, "0 to 24 hours")
    _check_uses(wrong, schedule.calendars)
    if not wrong and any(use.on_excluded > OnExcluded.SKIP for use in schedule.calendars):
        if (times := times_a_day(timing_of(schedule))) > MOST_MOVED_A_DAY:
            most = f"moved can be what comes at most {MOST_MOVED_A_DAY} times a day"
            wrong.add("schedule.calendars", f"moves the times of a schedule that has {times:,} a day; {most}")


def _check_cron(wrong: Violations, cron: schedule_pb2.Cron) -> None:
    if wrong.count("schedule.cron.lines", cron.lines, limits.CRON_LINES, least=1):
        for i, line in enumerate(cron.lines):
            try:
                cron_line(line)
            except WrongLine as error:
                wrong.add(f"schedule.cron.lines[{i}]", str(error))
    check_zone(wrong, "schedule.cron.time_zone", cron.time_zone)


def _check_every(wrong: Violations, every: schedule_pb2.Every) -> None:
    words = f"1 s to {limits.MAX_DELAY.days:,} days"
    if every.HasField("interval"):
        wrong.span("schedule.every.interval", every.interval, limits.MIN_INTERVAL, limits.MAX_DELAY, words)
    else:
        wrong.add("schedule.every.interval", f"is needed, {words}")
    if every.HasField("anchor"):
        wrong.time("schedule.every.anchor", every.anchor)


def _check_window(wrong: Violations, schedule: schedule_pb2.Schedule) -> None:
    if schedule.HasField("start_time"):
        wrong.time("schedule.start_time", schedule.start_time)
    if schedule.HasField("end_time"):
        wrong.time("schedule.end_time", schedule.end_time)
        if schedule.HasField("start_time") and not wrong:
            if to_time(schedule.end_time) <= to_time(schedule.start_time):
                wrong.add("schedule.end_time", "is not after start_time")


def _check_uses(wrong: Violations, uses: Sequence[schedule_pb2.CalendarUse]) -> None:
    if not wrong.count("schedule.calendars", uses, limits.SCHEDULE_CALENDARS):
        return
    seen: set[str] = set()
    for i, use in enumerate(uses):
        wrong.enum(f"schedule.calendars[{i}].on_excluded", use.on_excluded, _ON_EXCLUDED)
        field = f"schedule.calendars[{i}].name"
        wrong.name(field, use.name)
        if use.name in seen:
            wrong.add(field, "stands there twice")
        seen.add(use.name)


def _calendars(wrong: Violations, request: pb.PreviewScheduleRequest, time_zone: str) -> dict[str, Calendar]:
    """Those of the request by name, also those with which something is wrong."""
    found: dict[str, Calendar] = {}
    if wrong.count("calendars", request.calendars, limits.SCHEDULE_CALENDARS):
        zone = check_zone(Violations(), "", time_zone)
        for i, calendar in enumerate(request.calendars):
            wrong.name(f"calendars[{i}].name", calendar.name)
            if calendar.name in found:
                wrong.add(f"calendars[{i}].name", "stands there twice")
            found[calendar.name] = check_calendar(wrong, f"calendars[{i}]", calendar, zone)
    return found


def timing_of(schedule: schedule_pb2.Schedule) -> Timing:
    """Of one that was checked."""
    rule: Cron | Every
    if schedule.WhichOneof("rule") == "cron":
        rule = Cron(tuple(schedule.cron.lines), schedule.cron.time_zone)
    else:
        every = schedule.every
        rule = Every(to_span(every.interval), to_time(every.anchor) if every.HasField("anchor") else None)
    return Timing(
        rule,
        start_time=to_time(schedule.start_time) if schedule.HasField("start_time") else None,
        end_time=to_time(schedule.end_time) if schedule.HasField("end_time") else None,
        max_runs=schedule.max_runs if schedule.HasField("max_runs") else None,
        jitter=to_span(schedule.jitter),
        calendars=tuple(CalendarUse(use.name, OnExcluded(use.on_excluded or 1)) for use in schedule.calendars),
    )
