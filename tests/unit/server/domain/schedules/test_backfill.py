"""Which times can be made up for by hand: those that a schedule does not run itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import SERVER_DEFAULTS, UNSET, terms
from tocsin_server.domain.job import JobSpec
from tocsin_server.domain.schedules.backfill import backfill_times
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.errors import TooManyTimes
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Calendar, CalendarUse, Cron, OnExcluded, Timing

JOB = JobSpec("q", "t", None, 0, terms(UNSET, SERVER_DEFAULTS))
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DAILY = Schedule(ScheduleSpec("q", "s", Timing(Cron(("0 9 * * *",))), JOB), NOW, NOW.replace(hour=9) + DAY)


def days(schedule: Schedule, start: datetime, end: datetime, now: datetime = NOW) -> list[int]:
    return [one.time.day for one in backfill_times(schedule, schedule.reckoning(), start, end, now)]


def test_from_the_first_on_and_before_the_last() -> None:
    first = MARCH.replace(hour=9)
    assert days(DAILY, first, first + 2 * DAY) == [1, 2]
    assert days(DAILY, first + timedelta(milliseconds=1), first + 2 * DAY + timedelta(milliseconds=1)) == [2, 3]
    assert days(DAILY, MARCH, MARCH + timedelta(hours=9)) == []


def test_what_is_to_come_is_its_own() -> None:
    far = NOW + 9 * DAY
    assert days(DAILY, MARCH, far) == list(range(1, 11))
    assert days(DAILY, MARCH, far, NOW.replace(hour=9)) == list(range(1, 11))
    assert days(DAILY, MARCH, far, NOW.replace(hour=8)) == list(range(1, 10))
    paused = replace(DAILY, next_time=None)
    assert days(paused, MARCH, far) == list(range(1, 11))


def test_what_is_due_or_waits_is_its_own() -> None:
    due = replace(DAILY, next_time=MARCH.replace(day=7, hour=9), held_time=MARCH.replace(day=5, hour=9))
    assert days(due, MARCH, NOW) == [1, 2, 3, 4, 6]


def test_its_start_and_end_hold_and_its_runs_do_not() -> None:
    timing = replace(DAILY.spec.timing, start_time=MARCH + 3 * DAY, end_time=MARCH + 6 * DAY, max_runs=1)
    assert days(replace(DAILY, spec=replace(DAILY.spec, timing=timing), fired=1), MARCH, NOW) == [4, 5, 6]


def test_calendars_are_obeyed_and_what_they_do_is_told() -> None:
    uses = (CalendarUse("gone"), CalendarUse("moved", OnExcluded.NEXT_DAY))
    calendars = {
        name: KeptCalendar(name, Calendar(frozenset({MARCH.replace(day=day).date()})))
        for name, day in (("gone", 2), ("moved", 4))
    }
    schedule = replace(DAILY, spec=replace(DAILY.spec, timing=replace(DAILY.spec.timing, calendars=uses)))
    found = backfill_times(schedule, schedule.reckoning(calendars), MARCH, MARCH + 5 * DAY, NOW)
    assert [(one.time.day, one.runs, len(one.notes)) for one in found] == [
        (1, True, 0),
        (2, False, 1),
        (3, True, 0),
        (5, True, 1),
    ]


def test_so_many_at_most_and_the_refusal_says_how_to_go_on() -> None:
    seconds = replace(DAILY, spec=replace(DAILY.spec, timing=Timing(Cron(("* * * * * *",)))), next_time=None)
    whole = limits.BACKFILL_TIMES * timedelta(seconds=1)
    reckoning = seconds.reckoning()
    assert len(backfill_times(seconds, reckoning, MARCH, MARCH + whole, NOW)) == limits.BACKFILL_TIMES
    with pytest.raises(TooManyTimes, match=r"ask up to 2026-03-01T00:16:40\.000Z"):
        backfill_times(seconds, reckoning, MARCH, MARCH + whole + timedelta(seconds=1), NOW)
    rest = backfill_times(seconds, reckoning, MARCH + whole, MARCH + whole + timedelta(seconds=1), NOW)
    assert [one.time for one in rest] == [MARCH + whole]
