"""Reports made by hand, hostile words in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from contract.builders import a_spec
from tocsin_server.domain.job import Job, JobError
from tocsin_server.domain.states import State
from tocsin_server.operations.reporting.intervals import handy_step
from tocsin_server.operations.reporting.report import Report
from tocsin_server.operations.reporting.retention import DEAD, DONE, Uncounted

NOW = datetime(2026, 11, 24, 10, 17, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOSTILE = "</code><script>alert('1')</script><img src=x onerror=y>{{ 7*7 }}\r\n\"quotes\" & =cmd|'/c calc'!A0"


def a_job(
    type_: str = "resize_image",
    state: State = State.COMPLETED,
    ago: timedelta = HOUR,
    *,
    waited: float = 0.02,
    ran: float = 0.3,
    attempt: int = 1,
    errors: Sequence[JobError] = (),
) -> Job:
    """A job that ended `ago`; waited and ran in seconds."""
    end = NOW - ago
    start = end - timedelta(seconds=ran)
    due = start - timedelta(seconds=waited)
    return Job("id", a_spec(type=type_), state, due, due, start, end, attempt, 0, 0, 1, 1, tuple(errors))


def a_report(
    *jobs: Job, length: timedelta = 24 * HOUR, gaps: Sequence[Uncounted] = (), queue: str = "orders", zone: tzinfo = UTC
) -> Report:
    """A report of these jobs."""
    start = NOW - length
    report = Report(queue, start, NOW, NOW, chart_step=handy_step(length, 48), gaps=gaps, zone=zone)
    for job in jobs:
        assert job.end_time is not None
        report.add(job, job.end_time)
    return report


def a_mixed_report() -> Report:
    """Some of everything, and what an attacker might have put into an error."""
    error = JobError(HOSTILE, HOSTILE)
    jobs = [a_job(ago=n * HOUR / 7, waited=n / 10, ran=n) for n in range(1, 120)]
    jobs += [a_job("charge-card", State.FAILED, n * HOUR, attempt=3, errors=(error, error, error)) for n in range(1, 9)]
    jobs += [a_job("a" * 100, State.CANCELLED, 2 * HOUR)]
    gaps = (Uncounted(DONE, NOW - HOUR, 23 * HOUR, None), Uncounted(DEAD, NOW - 2 * HOUR, None, 100_000))
    return a_report(*jobs, gaps=gaps)
