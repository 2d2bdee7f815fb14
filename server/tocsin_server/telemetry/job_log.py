"""What happens to jobs, as lines of the log, all from the logger "tocsin.jobs".

A failed attempt is a warning and a job that ended FAILED an error; everything else is for debugging. A line names the
job (queue, job_id, type, attempt) and what happens next. It never has a payload or a result; the text and the trace of
an error are passed on as `error_message` and `error_trace`, which the log leaves out unless it was asked for them
(telemetry/logs.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import structlog

from tocsin_server.domain.job import Added, Draft, Job, JobError, New, Replaced
from tocsin_server.domain.lease import AttemptOutcome, Claimed, Ending, Extension, Finished, Lease, LostLease
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.states import State

LOGGER = "tocsin.jobs"

#: Cancels that are remembered as told, the last ones. A store does not say whether it had to do anything.
_TOLD = 10_000
_told: dict[tuple[str, str, int, int], None] = {}

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(LOGGER)
_level = logging.getLogger(LOGGER)


def details_wanted() -> bool:
    """Whether more is written than failures: asked once a batch, so that what nobody reads costs nothing."""
    return _level.isEnabledFor(logging.DEBUG)


def scheduled(drafts: Sequence[Draft], answers: Sequence[Added | Exception]) -> None:
    """What `JobStore.add` answered; refusals are the caller's to hear of."""
    if not details_wanted():
        return
    for draft, answer in zip(drafts, answers, strict=True):
        if isinstance(answer, New | Replaced):
            now = answer.job if isinstance(answer, Replaced) else answer
            _log.debug(
                "job_scheduled",
                queue=draft.spec.queue,
                job_id=now.job_id,
                type=draft.spec.type,
                state=now.state.name,
                due=None if now.state is State.WAITING else now.schedule_time.isoformat(),
                replaced=isinstance(answer, Replaced),
            )


def started(claimed: Iterable[Claimed]) -> None:
    """Attempts that begin in this process."""
    if details_wanted():
        for one in claimed:
            _log.debug("attempt_started", **_job(one.job), attempt=one.lease.attempt)


def progressed(said: Iterable[tuple[str, Extension]]) -> None:
    """How far running attempts say they are: with the job's type, in order."""
    if details_wanted():
        for type_, extension in said:
            if extension.progress is not None:
                fraction, message = extension.progress
                _log.debug(
                    "attempt_progress", **_attempt(extension.lease, type_), fraction=fraction, progress_message=message
                )


def ended(
    type_: str,
    retry: RetryPolicy,
    failures: int,
    outcome: AttemptOutcome,
    recorded: Finished,
    *,
    took: float,
    reason: str,
) -> None:
    """An attempt's end that was recorded. `failures`: of the job before it; `took`: seconds; `reason`: for giving it
    back."""
    well = outcome.ending in (Ending.COMPLETED, Ending.RELEASED)
    if well and not details_wanted():
        return
    of = _attempt(outcome.lease, type_)
    if well:
        said = {**of, "state": recorded.state.name, "seconds": round(took, 4)}
        if outcome.ending is Ending.COMPLETED:
            _log.debug("job_completed", **said)
        else:
            _log.debug("attempt_given_back", **said, reason=reason)
        return
    error = outcome.error or JobError("", "")
    texts = {"error_message": error.message, "error_trace": error.trace}
    if outcome.ending is Ending.CRASHED:
        what_next = "it runs again" if recorded.state is State.WAITING else f"it ends {recorded.state.name}"
        _log.warning("attempt_crashed", **of, error=error.type, next=what_next, **texts)
    else:
        what_next = _after_failure(retry, failures + 1, outcome.retry_in, recorded.state)
        _log.warning("attempt_failed", **of, error=error.type, next=what_next, seconds=round(took, 4), **texts)
    if recorded.state is State.FAILED and not recorded.repeated:
        _log.error("job_failed", **of, error=error.type, next=_RETRY_BY_HAND)


def cancel_asked(jobs: Iterable[Job | Exception]) -> None:
    """What a cancel made of jobs: CANCELLED, or asked to stop. Told once: asked again, a job stands as it stood."""
    if not details_wanted():
        return
    for job in jobs:
        if isinstance(job, Job) and (one := (job.queue, job.job_id, job.arrival, job.revision)) not in _told:
            _told[one] = None
            if len(_told) > _TOLD:
                del _told[next(iter(_told))]
            event = "job_cancelled" if job.state is State.CANCELLED else "cancel_asked"
            _log.debug(event, **_job(job), cancel_reason=job.cancel.reason if job.cancel else "")


def _after_failure(retry: RetryPolicy, failures: int, retry_in: timedelta | None, state: State) -> str:
    if retry_in is not None and state in (State.SCHEDULED, State.WAITING):
        return f"it runs again in {retry_in.total_seconds():.3g} s (failure {failures} of {retry.max_attempts})"
    if state is State.FAILED:
        spent = failures >= retry.max_attempts
        attempts = "its only attempt is" if retry.max_attempts == 1 else f"its {retry.max_attempts} attempts are"
        why = f"{attempts} spent" if spent else "it is not to be repeated"
        return f"it ends FAILED: {why}"
    return f"it is {state.name}"


def lost_leases(queue: str, taken_back: Iterable[LostLease]) -> None:
    """Attempts that were not heard of until their leases ended."""
    for lost in taken_back:
        of: dict[str, Any] = {"queue": queue, "job_id": lost.job_id, "type": lost.type, "attempt": lost.attempt}
        what_next = "it runs again" if lost.state is State.WAITING else f"it ends {lost.state.name}"
        _log.warning("attempt_lost", **of, error="LEASE_EXPIRED", next=what_next)
        if lost.state is State.FAILED:
            _log.error("job_failed", **of, error="POISON", next=_RETRY_BY_HAND)


_RETRY_BY_HAND = "it stands FAILED until it is retried, or trimmed"


def _job(job: Job) -> dict[str, str]:
    return {"queue": job.queue, "job_id": job.job_id, "type": job.spec.type}


def _attempt(lease: Lease, type_: str) -> dict[str, Any]:
    return {"queue": lease.queue, "job_id": lease.job_id, "type": type_, "attempt": lease.attempt}
