"""What becomes of a job that Agenda wrote: taken, left, and with what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.code import Code
from tocsin_server.domain.job import JobError, Progress, Retention
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.schedules.timing import Calendar, CalendarUse, Cron, Every, OnExcluded, Timing
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.agenda.decisions import BY_ITSELF, LOCKED, UNDER_WAY
from tocsin_server.migrate.systems.agenda.rules import DISABLED, NO_NEXT_RUN
from tocsin_server.migrate.systems.foreign import Choices, Verdict
from tocsin_server.migrate.systems.recurring.rule import DAYS_IN_UTC, OVER
from unit.server.migrate.systems.agenda.document_builder import (
    ALL,
    EARLIER,
    ID,
    LATER,
    MADE,
    NOW,
    a_document,
    becomes,
    job_of,
    schedule_of,
    things_of,
)

MONDAY = datetime(2026, 6, 8, 7, tzinfo=UTC)
END = LATER + timedelta(milliseconds=1)
BEGAN = EARLIER - timedelta(minutes=1)
FAILED = {"lastRunAt": BEGAN, "lastFinishedAt": EARLIER, "failedAt": EARLIER, "failCount": 2, "failReason": "no card"}
FINISHED = {"nextRunAt": None, "lastRunAt": BEGAN, "lastFinishedAt": EARLIER}


def test_a_job_that_is_due_later_is_scheduled_just_so() -> None:
    found = becomes(a_document(priority=10))
    assert (found.queue, found.source_id, found.source_state) == ("agendaJobs", str(ID), "scheduled")
    assert (found.verdict, found.why) == (Verdict.TAKEN, ())
    job = job_of(found)
    assert (job.queue, job.job_id, job.spec.type, job.spec.priority) == ("mail", str(ID), "send-email", 10)
    assert (job.state, job.schedule_time, job.create_time) == (State.SCHEDULED, LATER, MADE)
    assert (job.start_time, job.end_time, job.attempt, job.failures, job.crashes) == (None, None, 0, 0, 0)
    assert (job.errors, job.progress, job.result, job.cancel, job.arrival) == ((), None, None, None, 0)


def test_a_job_is_run_once_as_agenda_would_have() -> None:
    spec = job_of(becomes(a_document())).spec
    assert spec.terms.retry == RetryPolicy(max_attempts=1)
    assert spec.terms.timeout is None
    assert spec.terms.retention == Retention(timedelta(hours=24), timedelta(days=30))


@pytest.mark.parametrize("due", [EARLIER, NOW], ids=["passed", "now"])
def test_a_job_whose_time_has_passed_waits(due: datetime) -> None:
    found = becomes(a_document(nextRunAt=due))
    job = job_of(found)
    assert (found.source_state, found.verdict) == ("queued", Verdict.TAKEN)
    assert (job.state, job.schedule_time) == (State.WAITING, due)


def test_a_job_that_failed_for_good_keeps_its_error_and_its_times() -> None:
    found = becomes(a_document(nextRunAt=None, **FAILED))
    job = job_of(found)
    assert (found.source_state, found.verdict, found.why) == ("failed", Verdict.TAKEN, ())
    assert (job.state, job.start_time, job.end_time) == (State.FAILED, BEGAN, EARLIER)
    assert (job.attempt, job.failures) == (2, 2)
    assert job.errors == (JobError("Error", "no card", "", EARLIER, 2),)


def test_a_failed_job_without_a_count_or_a_reason_still_has_an_error() -> None:
    job = job_of(becomes(a_document(nextRunAt=None, failedAt=EARLIER)))
    assert (job.state, job.attempt, job.failures) == (State.FAILED, 1, 1)
    assert job.errors == (JobError("Error", "", "", EARLIER, 1),)


@pytest.mark.parametrize(("due", "state"), [(LATER, State.SCHEDULED), (EARLIER, State.WAITING)])
def test_a_job_that_failed_and_comes_again_keeps_its_failures(due: datetime, state: State) -> None:
    found = becomes(a_document(nextRunAt=due, **FAILED))
    job = job_of(found)
    assert (found.source_state, found.verdict) == ("retrying", Verdict.TAKEN)
    assert (job.state, job.schedule_time, job.end_time) == (state, due, None)
    assert (job.attempt, job.failures, len(job.errors)) == (2, 2, 1)


def test_a_job_that_was_scheduled_anew_after_it_completed_begins_anew() -> None:
    job = job_of(becomes(a_document(lastRunAt=BEGAN, lastFinishedAt=EARLIER, failedAt=BEGAN, failCount=1)))
    assert (job.state, job.start_time, job.end_time) == (State.SCHEDULED, BEGAN, None)
    assert (job.attempt, job.failures) == (2, 0)


def test_a_completed_job_is_left_unless_it_is_asked_for() -> None:
    found = becomes(a_document(**FINISHED))
    assert (found.source_state, found.verdict, found.job) == ("completed", Verdict.LEFT, None)
    assert "--take-completed" in found.why[0]

    found = becomes(a_document(result={"sent": 1}, **FINISHED), ALL)
    job = job_of(found)
    assert (found.source_state, found.verdict) == ("completed", Verdict.TAKEN)
    assert (job.state, job.start_time, job.end_time) == (State.COMPLETED, BEGAN, EARLIER)
    assert (job.attempt, job.failures) == (1, 0)
    assert job.result is not None


def test_what_has_ended_stands_as_long_as_if_it_had_ended_now() -> None:
    month = timedelta(days=30)
    old = {"nextRunAt": None, "lastRunAt": NOW - month, "failedAt": NOW - month, "lastFinishedAt": NOW - month}
    job = job_of(becomes(a_document(**old)))
    assert job.end_time is not None
    assert job.end_time + job.spec.terms.retention.failed_for == NOW + timedelta(days=30)

    job = job_of(becomes(a_document(**{**old, "failedAt": None}), ALL))
    assert job.end_time is not None
    assert job.end_time + job.spec.terms.retention.completed_for == NOW + timedelta(hours=24)


def test_what_ended_over_ten_years_ago_is_said_to_go_at_once() -> None:
    old = datetime(2012, 1, 1, tzinfo=UTC)
    found = becomes(a_document(nextRunAt=None, failedAt=old, lastFinishedAt=old))
    assert found.verdict is Verdict.CHANGED
    assert "ten years" in found.why[0]
    assert job_of(found).end_time == old


@pytest.mark.parametrize("ended", [{}, {"lastFinishedAt": EARLIER - timedelta(days=1)}], ids=["first run", "later run"])
def test_a_locked_job_is_left_unless_active_ones_are_taken(ended: dict[str, Any]) -> None:
    running = a_document(nextRunAt=None, lockedAt=EARLIER, lastRunAt=BEGAN, **ended)
    found = becomes(running, Choices(take_completed=True))
    assert (found.source_state, found.verdict, found.job) == ("locked", Verdict.LEFT, None)
    assert "--take-active" in found.why[0]

    found = becomes(running, Choices(take_active=True))
    job = job_of(found)
    assert (found.source_state, found.verdict) == ("locked", Verdict.TAKEN)
    assert (job.state, job.schedule_time, job.start_time) == (State.WAITING, BEGAN, BEGAN)
    assert (job.attempt, job.failures, job.crashes) == (1 + bool(ended), 0, 0)


def test_a_job_that_was_locked_ahead_of_its_time_keeps_its_time() -> None:
    found = becomes(a_document(lockedAt=NOW), ALL)
    job = job_of(found)
    assert (found.source_state, job.state, job.schedule_time, job.attempt) == ("locked", State.SCHEDULED, LATER, 0)


def test_a_run_that_neither_ended_nor_holds_a_lock_is_left_unless_active_ones_are_taken() -> None:
    cut = a_document(nextRunAt=None, lastRunAt=BEGAN)
    found = becomes(cut)
    assert (found.source_state, found.verdict) == ("interrupted", Verdict.LEFT)
    assert "--take-active" in found.why[0]
    assert job_of(becomes(cut, ALL)).state is State.WAITING


@pytest.mark.parametrize(
    "fields",
    [{}, {"lockedAt": NOW}, {"nextRunAt": None, "lastRunAt": BEGAN}],
    ids=["free", "locked", "interrupted"],
)
def test_a_disabled_job_is_left(fields: dict[str, Any]) -> None:
    found = becomes(a_document(disabled=True, **fields), ALL)
    assert (found.source_state, found.verdict, found.job) == ("disabled", Verdict.LEFT, None)
    assert "enable it" in found.why[0]


def test_a_failed_job_is_taken_though_it_is_disabled() -> None:
    assert job_of(becomes(a_document(nextRunAt=None, disabled=True, **FAILED))).state is State.FAILED


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"repeatAt": "3:30pm"}, "repeats at '3:30pm', with data: its cron names no time zone, and its next run is at"),
        ({"repeatAt": "friday at 5pm"}, "'friday at 5pm' is no time of day"),
        ({"repeatInterval": "5 minutes", "nextRunAt": None, "lastFinishedAt": EARLIER}, NO_NEXT_RUN),
        (
            {"repeatInterval": "2 days", "startDate": EARLIER, "endDate": LATER, "skipDays": [0, 6]},
            "every '2 days', from 2026-06-01T11:00:00Z, until 2026-06-01T13:00:00.123Z, but on days [0, 6], with data: "
            "it leaves out days (skipDays), and goes on from the day that it came to",
        ),
        ({"repeatInterval": "1 day", "skipDays": [0, 1, 2, 3, 4, 5, 6]}, "it leaves out days (skipDays [0, 1, 2"),
        ({"repeatInterval": "1 day", "skipDays": "2 days", "data": {}}, "every '1 day', but on days '2 days': it"),
        ({"repeatInterval": 500}, "every 500 ms, with data: its interval is shorter than 1 s"),
        ({"repeatInterval": "a few minutes"}, "its interval 'a few minutes' cannot be read"),
        ({"repeatInterval": "soon"}, "its cron has 1 fields, not 5"),
        ({"repeatInterval": "soon", "disabled": True}, "'send-email' is disabled, and repeats every 'soon'"),
        ({"repeatInterval": ["1 day"]}, "is neither words, nor a number, nor a cron"),
    ],
)
def test_a_repeating_job_without_its_like_is_left_and_named(fields: dict[str, Any], words: str) -> None:
    found = becomes(a_document(type="single", **fields), ALL)
    assert (found.source_state, found.verdict, found.spec) == ("repeating", Verdict.LEFT, None)
    assert "'send-email'" in found.why[0]
    assert words in found.why[0]


@pytest.mark.parametrize(
    ("fields", "timing"),
    [
        ({"repeatInterval": "5 minutes"}, Timing(Every(timedelta(minutes=5), LATER))),
        ({"repeatInterval": 5000}, Timing(Every(timedelta(seconds=5), LATER))),
        ({"repeatInterval": "90000"}, Timing(Every(timedelta(seconds=90), LATER))),
        (
            {"repeatInterval": "0 9 * * 1", "repeatTimezone": "Europe/Berlin", "nextRunAt": MONDAY},
            Timing(Cron(("0 9 * * 1",), "Europe/Berlin")),
        ),
        ({"repeatAt": "7am", "repeatTimezone": "Asia/Tokyo", "nextRunAt": MONDAY}, Timing(Cron(("0 7 * * *",)))),
        (
            {"repeatInterval": "1 day", "startDate": LATER, "endDate": LATER + timedelta(days=9)},
            Timing(Every(timedelta(days=1), LATER), LATER, LATER + timedelta(days=9, milliseconds=1)),
        ),
        ({"repeatInterval": "1 day", "endDate": EARLIER}, Timing(Every(timedelta(days=1), LATER), end_time=END)),
    ],
)
def test_a_repeating_job_becomes_a_schedule(fields: dict[str, Any], timing: Timing) -> None:
    schedule = schedule_of(becomes(a_document(type="single", **fields)))
    spec = schedule.spec
    assert (spec.queue, spec.schedule_id, spec.timing) == ("mail", "send-email", timing)
    assert (schedule.next_time, schedule.fired) == (fields.get("nextRunAt", LATER), 0)
    assert (spec.job.type, spec.job.terms.retry, spec.note) == (
        "send-email",
        RetryPolicy(max_attempts=1),
        f"Agenda: agendaJobs, {ID}",
    )


@pytest.mark.parametrize(
    ("fields", "name", "use", "zone"),
    [
        ({"repeatInterval": "0 7 * * *", "repeatTimezone": "UTC", "nextRunAt": MONDAY}, "not-on-SAT-SUN", 2, ""),
        ({"repeatInterval": "1 day"}, "not-on-SAT-SUN", 2, ""),
        (
            {"repeatInterval": "6 hours", "repeatTimezone": "Asia/Tokyo"},
            "not-on-SAT-SUN-Asia-Tokyo",
            OnExcluded.NEXT_DAY,
            "Asia/Tokyo",
        ),
        ({"repeatInterval": "5 minutes"}, "not-on-SAT-SUN", OnExcluded.SKIP, ""),
    ],
)
def test_days_off_become_a_calendar(fields: dict[str, Any], name: str, use: int, zone: str) -> None:
    found = becomes(a_document(skipDays=[0, 6], **fields))
    assert schedule_of(found).spec.timing.calendars == (CalendarUse(name, OnExcluded(use)),)
    [calendar] = found.calendars
    assert (calendar.name, calendar.days) == (name, Calendar(weekdays=frozenset({5, 6}), time_zone=zone))
    assert (DAYS_IN_UTC in found.why) == ("repeatTimezone" not in fields)


def test_a_run_that_is_none_of_its_times_is_a_job_of_its_own() -> None:
    """As after a retry of Agenda 6's, or where the first run comes at once."""
    document = a_document(repeatInterval="0 * * * *", repeatTimezone="UTC")
    rule, run = things_of(document)
    assert (rule.verdict, rule.why) == (Verdict.CHANGED, (BY_ITSELF,))
    assert schedule_of(rule).next_time == LATER.replace(microsecond=0) + timedelta(hours=1)
    assert (job_of(run).job_id, job_of(run).schedule_time, run.why) == (str(ID), LATER, ())


def test_the_last_run_is_taken_where_nothing_comes_after_it() -> None:
    document = a_document(repeatInterval="0 * * * *", repeatTimezone="UTC", endDate=LATER)
    rule, run = things_of(document)
    assert (rule.verdict, rule.schedule, OVER in rule.why[0]) == (Verdict.LEFT, None, True)
    assert job_of(run).schedule_time == LATER


def test_one_that_runs_is_left_unless_it_is_asked_for() -> None:
    document = a_document(repeatInterval="1 hour", lockedAt=EARLIER, lastRunAt=EARLIER)
    assert LOCKED in becomes(document).why[0]
    taken = becomes(document, ALL)
    assert (schedule_of(taken).next_time, taken.why) == (LATER, (UNDER_WAY,))


def test_one_that_is_disabled_rests() -> None:
    schedule = schedule_of(becomes(a_document(repeatInterval="1 hour", disabled=True)))
    assert (schedule.spec.paused, schedule.spec.pause_reason, schedule.next_time) == (True, DISABLED, None)


def test_a_single_job_that_does_not_repeat_is_taken() -> None:
    found = becomes(a_document(type="single"))
    assert (found.verdict, job_of(found).state) == (Verdict.CHANGED, State.SCHEDULED)
    assert "single" in found.why[0]


def test_a_job_that_agenda_would_never_run_is_left() -> None:
    found = becomes(a_document(nextRunAt=None), ALL)
    assert (found.source_state, found.verdict, found.job) == ("without a time", Verdict.LEFT, None)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"unique": {"data.to": 1}}, "unique"),
        ({"debounceStartedAt": NOW}, "debounce"),
        ({"fork": True}, "process=True"),
        ({"tenant": 7, "colour": "red"}, "'tenant', 'colour'"),
    ],
)
def test_what_has_no_like_here_is_said(fields: dict[str, Any], words: str) -> None:
    found = becomes(a_document(**fields))
    assert found.verdict is Verdict.CHANGED
    assert len(found.why) == 1
    assert words in found.why[0]


def test_bookkeeping_of_agenda_is_no_loss() -> None:
    kept = {"shouldSaveResult": False, "uniqueOpts": None, "startDate": None, "skipDays": None, "fork": False}
    assert becomes(a_document(**kept)).why == ()


@pytest.mark.parametrize(
    ("said", "priority", "why"),
    [
        (-20, -20, 0),
        (10.0, 10, 0),
        (None, 0, 0),
        ("high", 10, 1),
        (3.7, 3, 1),
        (10**10, 2**31 - 1, 1),
        (-1e300, -(2**31), 1),
        (float("nan"), 0, 1),
        (True, 0, 1),
        ([1], 0, 1),
        (Code("high"), 0, 1),
    ],
)
def test_priority_is_the_number_that_stands(said: Any, priority: int, why: int) -> None:
    found = becomes(a_document(priority=said))
    assert job_of(found).spec.priority == priority
    assert len(found.why) == why


def test_progress_is_a_share_of_one() -> None:
    found = becomes(a_document(nextRunAt=None, lockedAt=EARLIER, lastRunAt=BEGAN, progress=40), ALL)
    assert job_of(found).progress == Progress(0.4, "", EARLIER)


def test_a_changed_name_is_told_with_its_type() -> None:
    found = becomes(a_document(name="send\nemail"), names=["send\nemail"])
    assert job_of(found).spec.type == "send_email"
    assert found.why == (r"the name 'send\nemail' is the type send_email here",)


def test_an_id_that_cannot_be_one_here_is_told() -> None:
    found = becomes(a_document(_id=7))
    assert (found.source_id, found.verdict) == ("7", Verdict.CHANGED)
    assert "digest" in found.why[0]
