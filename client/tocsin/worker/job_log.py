"""Attempts as they begin and end, in the log of a worker process: the logger "tocsin.jobs". Never with a payload, a
result, or the text of an error."""

from __future__ import annotations

import logging
import time

from tocsin.worker.source import AttemptOutcome, Ending, LeasedJob

logger = logging.getLogger("tocsin.jobs")

_ENDED = {
    Ending.COMPLETED: "completed",
    Ending.FAILED: "failed",
    Ending.RELEASED: "was given back",
    Ending.CRASHED: "crashed",
}


def begins(job: LeasedJob) -> None:
    """An attempt begins here."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s begins", _named(job))


def ended(outcome: AttemptOutcome, began: float) -> None:
    """How it ended was recorded. began: time.monotonic() when it did."""
    bad = outcome.ending in (Ending.FAILED, Ending.CRASHED)
    level = logging.WARNING if bad else logging.INFO
    if logger.isEnabledFor(level):
        why = outcome.error_type or "ERROR" if bad else outcome.reason
        how = _ENDED[outcome.ending] + (f" ({why})" if why else "")
        final = " for good" if bad and not outcome.retryable else ""
        logger.log(level, "%s %s%s after %.3g s", _named(outcome.job), how, final, time.monotonic() - began)


def _named(job: LeasedJob) -> str:
    return f"{job.type} {job.queue}/{job.job_id} attempt {job.attempt}"
