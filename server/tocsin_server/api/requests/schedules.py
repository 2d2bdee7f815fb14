"""Requests about recurring schedules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from tocsin.v1 import schedule_pb2
from tocsin.v1 import schedule_service_pb2 as pb

from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.schedules.cron_line import WrongLine, cron_line
from tocsin_server.domain.schedules.ics import UnreadCalendar, read_ics
from tocsin_server.domain.schedules.reckoning import MOST_MOVED_A_DAY, Reckoning
from tocsin_server.domain.schedules.timing import (
    Calendar,
    CalendarUse,
    Cron,
    Every,
    Occurrence,
    OnExcluded,
    Timing,
)
from tocsin_server.domain.time_zones import UnknownZone, zone_of

_ON_EXCLUDED = {int(number): name for name, number in schedule_pb2.CalendarUse.OnExcluded.items()}
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NO_ZONE = "is no IANA time zone such as Europe/Berlin"


def preview(request: pb.PreviewScheduleRequest, now: datetime) -> Iterator[Occurrence]:
    """The times that are asked for."""
    wrong = Violations()
    if request.HasField("count"):
        wrong.number("count", request.count, 1, limits.PREVIEW_TIMES)
    if request.HasField("after"):
        wrong.time("after", request.after)
    if not request.HasField("schedule"):
        wrong.add("schedule", "is needed")
    calendars = _calendars(wrong, request)
    check_schedule(wrong, request.schedule, calendars)
    wrong.done()
    after = to_time(request.after) if request.HasField("after") else now
    timing, schedule = timing_of(request.schedule), request.schedule
    key = f"{schedule.queue or limits.DEFAULT_QUEUE}/{schedule.schedule_id}"
    reckoning = Reckoning(timing, key=key, created=after, calendars=calendars)
    if any(use.on_excluded is not OnExcluded.SKIP for use in timing.calendars):
        if (times := reckoning.times_a_day()) > MOST_MOVED_A_DAY:
            most = f"moved can be what comes at most {MOST_MOVED_A_DAY} times a day"
            wrong.add("schedule.calendars", f"moves the times of a schedule that has {times:,} a day; {most}")
            wrong.done()
    count = request.count if request.HasField("count") else limits.DEFAULT_PREVIEW_TIMES
    return islice(reckoning.occurrences(after, skipped=True), count)


def check_schedule(
    wrong: Violations, schedule: schedule_pb2.Schedule, calendars: Mapping[str, Calendar] | None = None
) -> None:
    """What decides when it runs; without calendars it may name none."""
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
    if calendars is not None:
        _check_uses(wrong, schedule.calendars, calendars)
    elif schedule.calendars:
        wrong.add("schedule.calendars", "cannot be kept so far, only previewed; leave them out")


def _check_cron(wrong: Violations, cron: schedule_pb2.Cron) -> None:
    if wrong.count("schedule.cron.lines", cron.lines, limits.CRON_LINES, least=1):
        for i, line in enumerate(cron.lines):
            try:
                cron_line(line)
            except WrongLine as error:
                wrong.add(f"schedule.cron.lines[{i}]", str(error))
    _zone(wrong, "schedule.cron.time_zone", cron.time_zone)


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


def _check_uses(wrong: Violations, uses: Sequence[schedule_pb2.CalendarUse], calendars: Mapping[str, Calendar]) -> None:
    if not wrong.count("schedule.calendars", uses, limits.SCHEDULE_CALENDARS):
        return
    seen: set[str] = set()
    for i, use in enumerate(uses):
        wrong.enum(f"schedule.calendars[{i}].on_excluded", use.on_excluded, _ON_EXCLUDED)
        field = f"schedule.calendars[{i}].name"
        if not use.name:
            wrong.add(field, "is needed")
        elif use.name in seen:
            wrong.add(field, "stands there twice")
        elif use.name not in calendars:
            wrong.add(field, "is not among the request's calendars")
        seen.add(use.name)


def _calendars(wrong: Violations, request: pb.PreviewScheduleRequest) -> dict[str, Calendar]:
    """By name, also those with which something is wrong."""
    found: dict[str, Calendar] = {}
    if wrong.count("calendars", request.calendars, limits.SCHEDULE_CALENDARS):
        zone = _zone(Violations(), "", request.schedule.cron.time_zone)
        for i, calendar in enumerate(request.calendars):
            wrong.name(f"calendars[{i}].name", calendar.name)
            if calendar.name in found:
                wrong.add(f"calendars[{i}].name", "stands there twice")
            found[calendar.name] = _calendar(wrong, f"calendars[{i}]", calendar, zone)
    return found


def _calendar(wrong: Violations, path: str, calendar: schedule_pb2.Calendar, of_schedule: ZoneInfo | None) -> Calendar:
    dates: set[date] = set()
    if wrong.count(f"{path}.dates", calendar.dates, limits.CALENDAR_DATES):
        for i, text in enumerate(calendar.dates):
            if (day := _day(text)) is None:
                wrong.add(f"{path}.dates[{i}]", "is no date such as 2026-12-25")
            else:
                dates.add(day)
    weekdays: set[int] = set()
    if wrong.count(f"{path}.weekdays", calendar.weekdays, limits.CALENDAR_WEEKDAYS):
        for i, word in enumerate(calendar.weekdays):
            if word.upper() in _WEEKDAYS:
                weekdays.add(_WEEKDAYS.index(word.upper()))
            else:
                wrong.add(f"{path}.weekdays[{i}]", f"is none of {', '.join(_WEEKDAYS)}")
    if len(weekdays) == len(_WEEKDAYS):
        wrong.add(f"{path}.weekdays", "has all seven, which leaves no day to run on")
    zone = _zone(wrong, f"{path}.time_zone", calendar.time_zone) if calendar.time_zone else of_schedule
    if calendar.ics and zone is not None:
        try:
            read_ics(calendar.ics, zone)  # it remembers: by this zone it is read again when times are reckoned
        except UnreadCalendar as error:
            wrong.add(f"{path}.ics", str(error))
    return Calendar(frozenset(dates), frozenset(weekdays), calendar.ics, calendar.time_zone)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def _zone(wrong: Violations, field: str, name: str) -> ZoneInfo | None:
    try:
        return zone_of(name)
    except UnknownZone:
        wrong.add(field, _NO_ZONE)
        return None


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
