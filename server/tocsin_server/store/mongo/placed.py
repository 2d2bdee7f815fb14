"""A job that stood elsewhere as a document, as if it had come about here."""

from __future__ import annotations

from datetime import datetime

from bson.int64 import Int64

from tocsin_server.domain import limits
from tocsin_server.domain.job import Cancel, Job, Progress
from tocsin_server.domain.states import ENDED, PENDING, State
from tocsin_server.domain.times import EPOCH, MILLISECOND
from tocsin_server.store.mongo.documents import (
    Document,
    error_document,
    job_document,
    set_alarm,
    set_parents,
    text,
    to_ms,
    whole,
)
from tocsin_server.store.put import kept_errors


def placed_document(job: Job, arrival: int) -> Document:
    """The job's document under this arrival; its first write."""
    document = job_document(
        job.spec,
        job.job_id,
        arrival=Int64(arrival),
        state=-int(job.state) if job.held and job.state in PENDING else int(job.state),
        create=whole(job.create_time),
        due=_later(job.schedule_time),
        attempt=job.attempt,
        failures=job.failures,
        crashes=job.crashes,
        revision=job.revision,
    )
    if job.start_time is not None:
        document["start"] = _later(job.start_time)
    if job.end_time is not None:
        document["end"] = _later(job.end_time)
        if job.state in ENDED:
            document["expire"] = _expiry(job, document["end"])
    if job.errors:
        document["errors"] = [error_document(one, whole(one.time or EPOCH), one.attempt) for one in kept_errors(job)]
    if job.progress is not None:
        document["progress"] = _progress_document(job.progress)
    if job.result is not None:
        document["result"] = job.result
    if job.fired:
        document["fired"] = True
    if job.cancel is not None:
        document["cancel"] = _cancel_document(job.cancel)
    if job.parents:
        set_parents(document, job.parents)
        if job.state is State.BLOCKED:
            document["errand"] = document["create"]  # at once it asks them, who may stand elsewhere now
    set_alarm(document, document["create"])
    return document


def _later(time: datetime) -> datetime:
    """To the millisecond; the first of all times is kept as the next one, as on Redis, where it means "none"."""
    return max(EPOCH + MILLISECOND, whole(time))


def _expiry(job: Job, end: datetime) -> datetime:
    """When its retention is over, not past the last of all times."""
    retention = job.spec.terms.retention
    kept_for = retention.failed_for if job.state is State.FAILED else retention.completed_for
    return end + min(to_ms(kept_for) * MILLISECOND, limits.LAST_TIME - end)


def _progress_document(progress: Progress) -> Document:
    return {
        "fraction": float(progress.fraction),
        "message": text(progress.message),
        "time": whole(progress.update_time or EPOCH),
    }


def _cancel_document(cancel: Cancel) -> Document:
    document = {
        "reason": text(cancel.reason),
        "by": text(cancel.by),
        "grace": to_ms(cancel.grace),
        "asked": whole(cancel.ask_time),
    }
    if cancel.deliver_time is not None:
        document["delivered"] = _later(cancel.deliver_time)
    if cancel.obey_time is not None:
        document["obeyed"] = _later(cancel.obey_time)
    return document
