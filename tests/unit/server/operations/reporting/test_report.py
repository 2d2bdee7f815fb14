"""What a report counts of each job, and how it stays bounded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.job import JobError
from tocsin_server.domain.states import State
from tocsin_server.operations.reporting.figures import ReportFigures
from tocsin_server.operations.reporting.reasons import Reasons, pattern
from tocsin_server.operations.reporting.report import OTHER_TYPES, Report
from tocsin_server.operations.reporting.table import Table
from unit.server.operations.reporting.ended_jobs import MS, NOW, an_ended

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def a_report(length: timedelta = DAY) -> Report:
    return Report("q", NOW - length, NOW, NOW)


def test_jobs_are_counted_by_how_they_ended_and_attempts_beyond_the_first_are_repeats() -> None:
    figures = ReportFigures()
    figures.add(an_ended())
    figures.add(an_ended(attempt=3, failures=2))
    figures.add(an_ended(State.FAILED, attempt=4, failures=1, crashes=3))
    figures.add(an_ended(State.CANCELLED, attempt=0, start_time=None))
    assert (figures.completed, figures.failed, figures.cancelled, figures.ended) == (2, 1, 1, 4)
    assert (figures.attempts, figures.repeats, figures.repeated) == (8, 5, 2)
    assert (figures.failures, figures.crashes) == (3, 3)


def test_a_job_waits_from_its_time_to_its_start_and_runs_to_its_end_but_a_cancelled_one_counts_in_neither() -> None:
    figures = ReportFigures()
    figures.add(an_ended(waited=40 * MS, ran=timedelta(seconds=2), create_time=NOW - DAY))
    figures.add(an_ended(State.CANCELLED, waited=HOUR, ran=HOUR))
    assert (figures.waits.count, figures.waits.max) == (1, 40 * MS)
    assert (figures.runs.count, figures.runs.max) == (1, timedelta(seconds=2))


def test_a_table_has_a_cell_for_each_hour_and_type_in_which_something_ended() -> None:
    table = Table(HOUR, 100)
    for hours, type_ in ((0, "b"), (0, "a"), (0, "a"), (3, "a")):
        job = an_ended(type=type_, end=NOW - hours * HOUR)
        table.add(job, type_, NOW - hours * HOUR)
    found = [(start, type_, cell.completed) for start, type_, cell in table]
    at = NOW.replace(minute=0)
    assert found == [(at - 3 * HOUR, "a", 1), (at, "a", 2), (at, "b", 1)]


def test_a_table_that_would_grow_too_large_takes_longer_intervals_and_loses_no_job() -> None:
    table = Table(HOUR, 50)
    for hours in range(5_000):
        table.add(an_ended(attempt=2, waited=hours * MS), "t", NOW - hours * HOUR)
    assert len(table) <= 50
    cells = [cell for _, _, cell in table]
    assert table.step == 7 * DAY
    assert (sum(cell.completed for cell in cells), sum(cell.repeats for cell in cells)) == (5_000, 5_000)
    assert max(cell.waited_most for cell in cells) == 4_999 * MS
    assert sum((cell.waited_total for cell in cells), timedelta()) == sum(range(5_000)) * MS


def test_reasons_are_told_apart_by_type_error_and_words_but_not_by_numbers() -> None:
    reasons = Reasons(100)
    for number in range(3):
        error = JobError("ValueError", f"order {number} has no price")
        reasons.add(an_ended(State.FAILED, errors=(error, error)), "charge")
    reasons.add(an_ended(State.FAILED, errors=(JobError("ValueError", "no such card"),)), "charge")
    reasons.add(an_ended(errors=(JobError("TimeoutError", "slow"),), attempt=2), "mail")
    found = [(r.type, r.error, r.message, r.jobs, r.attempts) for r in reasons]
    assert found == [
        ("charge", "ValueError", "order # has no price", 3, 3),
        ("charge", "ValueError", "no such card", 1, 0),
        ("mail", "TimeoutError", "slow", 0, 1),
    ]


def test_being_cancelled_is_no_failure() -> None:
    reasons = Reasons(10)
    errors = (JobError("OSError", "away"), JobError("CANCELLED", "cancelled: moved"))
    reasons.add(an_ended(State.CANCELLED, errors=errors), "t")
    assert [(r.error, r.jobs, r.attempts) for r in reasons] == [("OSError", 0, 1)]


def test_beyond_the_most_reasons_the_rest_is_counted_together() -> None:
    reasons = Reasons(10)
    for number in range(25):
        word = "abcdefghijklmnopqrstuvwxyz"[number]
        reasons.add(an_ended(State.FAILED, errors=(JobError("E", word),)), "t")
    assert (len(reasons), sum(r.jobs for r in reasons), reasons.others.jobs) == (10, 10, 15)


@pytest.mark.parametrize(
    ("message", "seen"),
    [
        ("job 4711 of 12", "job # of #"),
        ("id 0b0f9e0a-53a1-4b52-9f0e-0123456789ab", "id #"),
        ("<object at 0x7F3a00ff>", "<object at #>"),
        ("the provider 10.0.0.1:8080 answers 429", "the provider #.#.#.#:# answers 429"),
        ("answers 503: job 503", "answers 503: job #"),
        ("the mail server refused the sender: 550 5.7.1 no", "the mail server refused the sender: 550 #.#.# no"),
        ("answers 4711", "answers #"),
        ("a\x1b[31mred\u202eder", "a [#mred der"),
        ("two\r\n lines\t", "two lines"),
        ("x" * 500, "x" * 199 + "…"),
        ("", ""),
    ],
)
def test_a_reason_is_one_line_without_what_varies(message: str, seen: str) -> None:
    assert pattern(message) == seen


def test_types_beyond_those_of_a_queue_are_counted_together() -> None:
    report = a_report()
    for number in range(limits.TYPES_PER_QUEUE + 5):
        report.add(an_ended(type=f"t{number}"), NOW - HOUR)
    assert len(report.types) == limits.TYPES_PER_QUEUE + 1
    assert report.types[OTHER_TYPES].ended == 5
    assert report.total.ended == limits.TYPES_PER_QUEUE + 5


def test_the_chart_has_all_intervals_of_the_window_and_each_job_in_one() -> None:
    report = a_report(timedelta(hours=5))
    for hours in (0.01, 1, 1.2, 4.99):
        report.add(an_ended(), NOW - hours * HOUR)
    intervals = report.intervals()
    assert [start.hour for start, _ in intervals] == [5, 6, 7, 8, 9, 10]
    assert [figures.ended for _, figures in intervals] == [1, 0, 0, 0, 2, 1]
    assert report.per_hour == pytest.approx(4 / 5)
