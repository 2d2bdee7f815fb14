"""Whether a job that a reader made is one that this side could have made: the limits of the contract, all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tocsin.v1 import job_pb2
from tocsin_server.api import wire
from tocsin_server.api.answers import job as answers
from tocsin_server.api.answers.kept_schedules import written
from tocsin_server.api.requests.kept_schedules import wanted
from tocsin_server.api.requests.payloads.checking import check_payload
from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.job import Job, JobError, View
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.domain.states import ENDED, State
from tocsin_server.migrate.systems.bull.repeats import BY_ITS_SCHEDULE
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

_MS = timedelta(milliseconds=1)
_NONE = timedelta(0)


def check(thing: Foreign) -> None:
    """AssertionError where it is not."""
    assert thing.queue
    assert len(thing.source_id) <= 10_001
    assert thing.source_id.isprintable() or not thing.source_id
    goes_with_a_rule = thing.why == (BY_ITS_SCHEDULE,)
    assert (thing.spec is not None or goes_with_a_rule) == (thing.verdict in (Verdict.TAKEN, Verdict.CHANGED))
    assert bool(thing.why) == (thing.verdict is not Verdict.TAKEN or goes_with_a_rule)
    assert all(why and "\n" not in why and len(why) < 300 for why in thing.why)
    if thing.job is not None:
        check_job(thing.job)
    if thing.schedule is not None:
        check_schedule(thing.schedule)


def check_job(job: Job) -> None:
    """AssertionError where its fields are not within limits."""
    spec = job.spec
    wrong = Violations()
    wrong.name("queue", spec.queue)
    wrong.name("type", spec.type)
    wrong.job_id("job_id", job.job_id)
    assert spec.payload is not None
    check_payload(wrong, "job", spec.payload.kind, spec.payload.body)
    wrong.done()
    assert -(2**31) <= spec.priority < 2**31
    assert 1 <= spec.terms.retry.max_attempts <= limits.MAX_ATTEMPTS
    assert _MS <= spec.terms.retry.initial_delay <= limits.MAX_INITIAL_DELAY
    assert spec.terms.retry.initial_delay <= spec.terms.retry.max_delay <= limits.MAX_BACKOFF
    assert 0 <= spec.terms.retry.jitter <= 1
    assert spec.terms.timeout is None or _MS <= spec.terms.timeout <= limits.MAX_TIMEOUT
    for kept in (spec.terms.retention.completed_for, spec.terms.retention.failed_for):
        assert _NONE <= kept <= limits.MAX_RETENTION
    _check_life(job)
    message = wire.shadow(job_pb2.Job)()
    answers.fill(message, job, View.FULL)
    assert message.spec.ByteSize() <= limits.JOB_SPEC_BYTES
    assert job_pb2.Job.FromString(message.SerializeToString()).job_id == job.job_id


def check_schedule(schedule: Schedule) -> None:
    """AssertionError where it is none that this side could have made, for a caller that says the same of it."""
    spec, kept = wanted(written(schedule))
    assert spec.timing == schedule.spec.timing
    assert replace(spec, job=schedule.spec.job) == schedule.spec
    assert (kept.type, kept.payload, kept.priority) == (spec.job.type, spec.job.payload, spec.job.priority)
    assert schedule.spec.job.queue == schedule.spec.queue
    assert (schedule.next_time is None) == schedule.spec.paused


def _check_life(job: Job) -> None:
    assert job.state in (State.SCHEDULED, State.WAITING, State.COMPLETED, State.FAILED)
    assert (job.end_time is not None) == (job.state in ENDED)
    for time in (job.create_time, job.schedule_time, job.start_time, job.end_time):
        assert time is None or limits.FIRST_TIME <= time <= limits.LAST_TIME
    assert 0 <= job.failures < 2**16
    assert job.failures <= job.attempt < 2**31
    assert (job.crashes, job.revision, job.arrival) == (0, 1, 0)
    assert len(job.errors) <= 10
    assert job.errors or job.state is not State.FAILED
    for error in job.errors:
        _check_error(error, job.attempt)
    assert job.progress is None or 0 <= job.progress.fraction <= 1
    assert job.result is None or (job.state is State.COMPLETED and len(job.result) <= limits.RESULT_BYTES)


def _check_error(error: JobError, attempt: int) -> None:
    assert error.type
    assert len(error.type.encode()) <= 100
    assert len(error.message.encode()) <= limits.ERROR_MESSAGE_BYTES
    assert len(error.trace.encode()) <= limits.ERROR_TRACE_BYTES
    assert error.time is not None
    assert 1 <= error.attempt <= max(attempt, 1)
