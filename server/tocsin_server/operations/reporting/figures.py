"""What is counted of jobs that ended: how, after how many attempts, how long they waited and ran."""

from __future__ import annotations

from datetime import timedelta

from tocsin_server.domain.job import Job
from tocsin_server.domain.states import State
from tocsin_server.operations.reporting.histogram import Histogram


class ReportFigures:
    """Counts of some ended jobs, in bounded memory."""

    __slots__ = (
        "attempts",
        "cancelled",
        "completed",
        "crashes",
        "failed",
        "failures",
        "repeated",
        "repeats",
        "runs",
        "waits",
    )

    def __init__(self) -> None:
        self.completed = 0
        self.failed = 0
        self.cancelled = 0
        self.attempts = 0  # that began
        self.repeats = 0  # of them, those beyond a job's first
        self.repeated = 0  # jobs that needed more than one
        self.failures = 0  # attempts that failed or timed out, since the job was last retried by hand
        self.crashes = 0  # leases lost, those in a row up to the job's end
        self.waits = Histogram()
        self.runs = Histogram()

    def add(self, job: Job) -> None:
        """Count one job that has ended."""
        if job.state is State.COMPLETED:
            self.completed += 1
        elif job.state is State.FAILED:
            self.failed += 1
        else:
            self.cancelled += 1
        self.attempts += job.attempt
        self.repeats += max(0, job.attempt - 1)
        self.repeated += job.attempt > 1
        self.failures += job.failures
        self.crashes += job.crashes
        if (spans := waited_and_ran(job)) is not None:
            self.waits.add(spans[0])
            self.runs.add(spans[1])

    @property
    def ended(self) -> int:
        """Jobs in all."""
        return self.completed + self.failed + self.cancelled


def waited_and_ran(job: Job) -> tuple[timedelta, timedelta] | None:
    """From the last schedule time to the start of the last attempt, and from there to the end; of a COMPLETED or FAILED
    job. None of a CANCELLED one: most were cancelled before their time, and none shows how long its work takes."""
    if job.state is State.CANCELLED or job.start_time is None or job.end_time is None:
        return None
    return job.start_time - job.schedule_time, job.end_time - job.start_time
