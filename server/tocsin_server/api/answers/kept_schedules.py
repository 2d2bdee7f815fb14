"""Schedules that are kept. The messages are the shadow ones of wire.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar

from tocsin.v1 import schedule_pb2
from tocsin.v1 import schedule_service_pb2 as pb

from tocsin_server.api import page_tokens, wire
from tocsin_server.api.answers.job import fill_spec
from tocsin_server.api.sized import AnswerRoom
from tocsin_server.api.times import set_span, set_time
from tocsin_server.domain import limits
from tocsin_server.domain.job import View
from tocsin_server.domain.schedules.calendars import Calendars
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.schedules.timing import Cron, Timing
from tocsin_server.domain.times import MILLISECOND

_Schedule = wire.shadow(schedule_pb2.Schedule)
_ListSchedulesResponse = wire.shadow(pb.ListSchedulesResponse)
_OfSchedule = TypeVar(
    "_OfSchedule",
    pb.CreateScheduleResponse,
    pb.GetScheduleResponse,
    pb.UpdateScheduleResponse,
    pb.PauseScheduleResponse,
    pb.ResumeScheduleResponse,
)


def of_schedule(
    response: type[_OfSchedule], schedule: Schedule, calendars: Calendars, view: View = View.BASIC
) -> _OfSchedule:
    """An answer that is a schedule. `calendars`: those that it names, as far as they are there."""
    answer = wire.shadow(response)()
    _fill(answer.schedule, schedule, view)
    for time in _next_times(schedule, calendars):
        set_time(answer.schedule.next_times.add(), time)
    return answer


def written(schedule: Schedule) -> schedule_pb2.Schedule:
    """The schedule whole, as a message that can be changed."""
    target = _Schedule()
    _fill(target, schedule, View.FULL)
    return target


def listed(schedules: Sequence[Schedule], wanted: int) -> pb.ListSchedulesResponse:
    """A page, which ends early before it passes the limit of an answer."""
    answer, room = _ListSchedulesResponse(), AnswerRoom()
    for schedule in schedules:
        _fill(entry := answer.schedules.add(), schedule, View.BASIC)
        if schedule.next_time is not None and not schedule.spec.paused:
            set_time(entry.next_times.add(), schedule.next_time)
        if not room.takes(entry):
            del answer.schedules[-1]
            break
    if len(answer.schedules) < len(schedules) or len(schedules) == wanted:
        answer.next_page_token = _token_after(schedules[len(answer.schedules) - 1])
    return answer


def _token_after(last: Schedule) -> str:
    return page_tokens.schedules_token(last.spec.queue, last.spec.schedule_id)


def _fill(target: schedule_pb2.Schedule, schedule: Schedule, view: View) -> None:
    spec = schedule.spec
    target.queue, target.schedule_id = spec.queue, spec.schedule_id
    _fill_timing(target, spec.timing)
    fill_spec(target.job, spec.job, view)
    target.overlap = schedule_pb2.Schedule.Overlap.ValueType(spec.overlap)
    target.missed = schedule_pb2.CatchUp.Missed.ValueType(spec.missed)
    if spec.catch_up_window is not None:
        set_span(target.catch_up_window, spec.catch_up_window)
    target.catch_up_max = spec.catch_up_max
    target.paused, target.pause_reason, target.note = spec.paused, spec.pause_reason, spec.note
    target.revision = schedule.revision
    set_time(target.create_time, schedule.create_time)
    if schedule.last_time is not None:
        set_time(target.last_time, schedule.last_time)
    if schedule.held_time is not None:
        set_time(target.waiting_time, schedule.held_time)
    target.counts.fired, target.counts.missed = schedule.fired, schedule.missed
    target.counts.backfilled = schedule.backfilled
    target.counts.overlap_skipped = schedule.overlap_skipped


def _next_times(schedule: Schedule, calendars: Calendars) -> Sequence[datetime]:
    """Where a calendar has changed that moment, as it has them now."""
    if schedule.next_time is None or schedule.spec.paused:
        return ()
    try:
        reckoning = schedule.reckoning(calendars)
    except (LookupError, ValueError):  # a calendar is not there (or not readable any more): it does not run
        return ()
    times = limits.NEXT_TIMES
    if (left := schedule.runs_left) is not None:
        times = min(times, left)
    occurrences = reckoning.occurrences(schedule.next_time - MILLISECOND)
    return [one.time for one in islice(occurrences, times)]


def _fill_timing(target: schedule_pb2.Schedule, timing: Timing) -> None:
    rule = timing.rule
    if isinstance(rule, Cron):
        target.cron.lines.extend(rule.lines)
        target.cron.time_zone = rule.time_zone
    else:
        set_span(target.every.interval, rule.interval)
        if rule.anchor is not None:
            set_time(target.every.anchor, rule.anchor)
    if timing.start_time is not None:
        set_time(target.start_time, timing.start_time)
    if timing.end_time is not None:
        set_time(target.end_time, timing.end_time)
    if timing.max_runs is not None:
        target.max_runs = timing.max_runs
    if timing.jitter:
        set_span(target.jitter, timing.jitter)
    for use in timing.calendars:
        action = schedule_pb2.CalendarUse.OnExcluded.ValueType(use.on_excluded)
        target.calendars.add(name=use.name, on_excluded=action)
