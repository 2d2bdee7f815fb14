"""An Agenda job as a job of this side."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache

from tocsin_server.domain import limits
from tocsin_server.domain.defaults import SERVER_DEFAULTS, JobDefaults, terms
from tocsin_server.domain.job import Job, JobError, JobSpec, Progress, Retention, Terms
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.agenda.documents import AgendaJob
from tocsin_server.migrate.systems.agenda.fields import INT32
from tocsin_server.migrate.systems.agenda.payloads import payload_of, result_of

#: Agenda 4, 5 and @hokify/agenda run a job once, and Agenda 6 keeps its backoff in the program, not in the job. So a
#: job that is taken over is not run again after a failure, as it would not have been: three runs of a payment that was
#: meant to run once cannot be taken back, and a job that FAILED can be retried by hand.
MAX_ATTEMPTS = 1

#: The type of errors: Agenda keeps an error's message, not its class.
ERROR_TYPE = "Error"


def pending(job: AgendaJob, job_id: str, queue: str, type_: str, due: datetime, now: datetime) -> Job:
    """A job that is to run, at `due`. CannotCarry."""
    return _job(job, job_id, spec_of(job, queue, type_), State.SCHEDULED if due > now else State.WAITING, due, now)


def ended(job: AgendaJob, job_id: str, queue: str, type_: str, now: datetime) -> Job:
    """A job that has failed for good, or completed. CannotCarry."""
    state = State.FAILED if job.failed else State.COMPLETED
    end = _end(job, now)
    due = job.last_run_at or job.made_at or end
    return _job(job, job_id, _kept(spec_of(job, queue, type_), job, end, now), state, due, now, end)


def _job(
    job: AgendaJob, job_id: str, spec: JobSpec, state: State, due: datetime, now: datetime, end: datetime | None = None
) -> Job:
    failures = max(job.fail_count, 1) if job.failed else job.fail_count
    attempt = min(failures + job.finished + job.begun, INT32 - 1)
    result = None
    if state is State.COMPLETED:
        result, why = result_of(job.document.get("result"))
        job.why += why
    return Job(
        job_id=job_id,
        spec=spec,
        state=state,
        create_time=min(job.made_at or job.last_run_at or now, end or now),
        schedule_time=due,
        start_time=job.last_run_at,
        end_time=end,
        attempt=attempt,
        failures=0 if job.finished and end is None else failures,  # scheduled anew after a success: it begins anew
        crashes=0,
        revision=1,
        arrival=0,
        errors=_errors(job, failures, now),
        progress=_progress(job, now),
        result=result,
    )


def spec_of(job: AgendaJob, queue: str, type_: str) -> JobSpec:
    """What it runs, and how. CannotCarry."""
    carried = payload_of(job.document.get("data"))
    job.why += carried.why
    return JobSpec(queue, type_, carried.payload, job.priority, _terms())


@lru_cache(maxsize=1)
def _terms() -> Terms:
    """What every job gets, since Agenda keeps nothing of it: the server's defaults, but for how often it is tried."""
    return replace(terms(JobDefaults(max_attempts=MAX_ATTEMPTS), SERVER_DEFAULTS), timeout=None)


def _kept(spec: JobSpec, job: AgendaJob, end: datetime, now: datetime) -> JobSpec:
    """Agenda keeps for ever what has ended: here it stands as long as if it had ended now, instead of going at once."""
    age = max(now - end, timedelta(0))
    if age >= limits.MAX_RETENTION:
        job.why.append("it ended over ten years ago, longer than a job can stand here: it goes within a second")
    kept = spec.terms.retention
    spans = (min(span + age, limits.MAX_RETENTION) for span in (kept.completed_for, kept.failed_for))
    return replace(spec, terms=replace(spec.terms, retention=Retention(*spans)))


def _end(job: AgendaJob, now: datetime) -> datetime:
    end = job.failed_at if job.failed else job.last_finished_at
    return end or job.last_run_at or now


def _errors(job: AgendaJob, failures: int, now: datetime) -> tuple[JobError, ...]:
    """The last failure: Agenda keeps no other."""
    if job.failed_at is None:
        return ()
    body = job.fail_reason.encode(errors="replace")
    if len(body) > limits.ERROR_MESSAGE_BYTES:
        job.why.append(f"failReason is cut to {limits.ERROR_MESSAGE_BYTES:,} bytes")
    message = body[: limits.ERROR_MESSAGE_BYTES].decode(errors="ignore")
    return (JobError(ERROR_TYPE, message, time=job.failed_at, attempt=max(failures, 1)),)


def _progress(job: AgendaJob, now: datetime) -> Progress | None:
    if job.progress is None:
        return None
    seen = job.locked_at or job.last_finished_at or job.last_run_at or job.made_at or now
    return Progress(job.progress / 100, "", seen)
