"""Jobs: what is asked for to domain, what stands to proto. The messages are the shadow ones of wire.py.

This is the hot path of scheduling; protos are filled where they will stand, since assigning a message copies it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import job_pb2, job_service_pb2

from tocsin_server.api import wire
from tocsin_server.api.convert.times import set_span, set_time, to_span, to_time
from tocsin_server.api.validation.payloads.checking import BUILT_IN_TYPES
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import UNSET, JobDefaults, JobRequest, TermsChange
from tocsin_server.domain.job import (
    Added,
    Cancel,
    Draft,
    Job,
    JobError,
    JobSpec,
    New,
    OnConflict,
    Payload,
    Replaced,
    Terms,
    View,
)
from tocsin_server.domain.retry import Backoff, RetryPolicy

_Spec = wire.shadow(job_pb2.JobSpec)
_NOW = timedelta(0)
_KEPT = job_service_pb2.ScheduleJobResponse.KEPT
_TERMS = frozenset({"tags", "timeout", "retry", "retention"})
_NO_RETRY, _NO_RETENTION = job_pb2.RetryPolicy(), job_pb2.Retention()


def to_request(request: job_service_pb2.ScheduleJobRequest) -> JobRequest:
    """A job as it was asked for."""
    spec = request.job
    payload = to_payload(spec)
    return JobRequest(
        queue=spec.queue or limits.DEFAULT_QUEUE,
        type=spec.type or (BUILT_IN_TYPES[payload.kind] if payload else ""),
        payload=payload,
        priority=spec.priority,
        overrides=to_asked(spec),
        tags=dict(spec.tags),
        job_id=request.job_id or None,
        when=to_when(request) or _NOW,
        on_conflict=OnConflict(request.on_conflict or OnConflict.FAIL),
    )


def to_payload(spec: job_pb2.JobSpec) -> Payload | None:
    """A shadow spec's payload, its bytes as they came."""
    payload = wire.payload_of(spec)
    return Payload(*payload) if payload else None


def to_when(
    request: job_service_pb2.ScheduleJobRequest | job_service_pb2.UpdateJobRequest,
) -> datetime | timedelta | None:
    """The time or delay of a request; None where it has neither."""
    match request.WhichOneof("when"):
        case "schedule_time":
            return to_time(request.schedule_time)
        case "delay":
            return to_span(request.delay)
        case _:
            return None


def to_asked(spec: job_pb2.JobSpec) -> JobDefaults:
    """What a spec says of retry, timeout and retention."""
    if not (spec.HasField("retry") or spec.HasField("timeout") or spec.HasField("retention")):
        return UNSET
    return to_defaults(spec.retry, spec.timeout if spec.HasField("timeout") else None, spec.retention)


def to_terms_asked(spec: job_pb2.JobSpec, changed: Collection[str]) -> TermsChange | None:
    """What of a standing job's terms is to change, of the names in `changed`; None: nothing."""
    if not _TERMS.intersection(changed):
        return None
    said = to_defaults(
        spec.retry if "retry" in changed else _NO_RETRY,
        spec.timeout if "timeout" in changed and spec.HasField("timeout") else None,
        spec.retention if "retention" in changed else _NO_RETENTION,
    )
    return TermsChange(
        said,
        no_timeout="timeout" in changed and not spec.HasField("timeout"),
        tags=dict(spec.tags) if "tags" in changed else None,
    )


def to_defaults(retry: job_pb2.RetryPolicy, timeout: Duration | None, retention: job_pb2.Retention) -> JobDefaults:
    """What a spec or a queue says of retry, timeout and retention; None where it is silent."""
    return JobDefaults(
        max_attempts=retry.max_attempts if retry.HasField("max_attempts") else None,
        backoff=Backoff(retry.backoff) if retry.backoff else None,
        initial_delay=to_span(retry.initial_delay) if retry.HasField("initial_delay") else None,
        max_delay=to_span(retry.max_delay) if retry.HasField("max_delay") else None,
        jitter=retry.jitter if retry.HasField("jitter") else None,
        timeout=to_span(timeout) if timeout is not None else None,
        completed_for=to_span(retention.completed_for) if retention.HasField("completed_for") else None,
        failed_for=to_span(retention.failed_for) if retention.HasField("failed_for") else None,
    )


def to_view(view: int, default: View) -> View:
    """How much of a job is asked for."""
    return View(view) if view else default


def fill_scheduled(target: job_service_pb2.ScheduleJobResponse, draft: Draft, added: Added) -> None:
    """Write the answer to a scheduled job."""
    if isinstance(added, New):
        job = target.job
        job.queue = draft.spec.queue
        job.job_id = added.job_id
        _fill_spec(job.spec, draft.spec, View.BASIC)
        job.state = job_pb2.Job.State.ValueType(added.state)
        set_time(job.create_time, added.create_time)
        if added.schedule_time is added.create_time:
            job.schedule_time.CopyFrom(job.create_time)
        else:
            set_time(job.schedule_time, added.schedule_time)
        job.revision = 1
        target.outcome = job_service_pb2.ScheduleJobResponse.CREATED
        return
    fill(target.job, added.job, View.BASIC)
    replaced = isinstance(added, Replaced)
    target.outcome = job_service_pb2.ScheduleJobResponse.REPLACED if replaced else _KEPT


def fill(target: job_pb2.Job, job: Job, view: View) -> None:
    """Write a job into the field `target`, which is empty; in BASIC without payload, result and traces."""
    spec = job.spec
    target.queue = spec.queue
    target.job_id = job.job_id
    _fill_spec(target.spec, spec, view)
    target.state = job_pb2.Job.State.ValueType(job.state)
    set_time(target.create_time, job.create_time)
    set_time(target.schedule_time, job.schedule_time)
    if job.start_time is not None:
        set_time(target.start_time, job.start_time)
    if job.end_time is not None:
        set_time(target.end_time, job.end_time)
    target.attempt = job.attempt
    target.failures = job.failures
    target.crashes = job.crashes
    target.revision = job.revision
    for error in job.errors:
        _fill_error(target.errors.add(), error, view)
    if (progress := job.progress) is not None:
        target.progress.fraction = progress.fraction
        target.progress.message = progress.message
        if progress.update_time is not None:
            set_time(target.progress.update_time, progress.update_time)
    if job.result is not None and view is View.FULL:
        wire.set_result(target, job.result)
    if job.cancel is not None:
        _fill_cancel(target.cancel, job.cancel)


def slim(target: job_pb2.Job) -> None:
    """Take out of a job what makes it large in view BASIC, where an answer of many would pass the limit otherwise."""
    target.ClearField("errors")
    target.ClearField("progress")
    target.spec.ClearField("tags")


def _fill_spec(target: job_pb2.JobSpec, spec: JobSpec, view: View) -> None:
    target.CopyFrom(_terms_written(spec.terms))
    target.queue = spec.queue
    target.type = spec.type
    target.priority = spec.priority
    if spec.tags:
        target.tags.update(spec.tags)
    if spec.payload is not None and view is View.FULL:
        wire.set_payload(target, spec.payload.kind, spec.payload.body)


class _TermsWritten:
    """Terms as a spec that has nothing else. Those written last are at hand, for the jobs of a batch mostly share
    theirs, and copying a message costs a fraction of writing it."""

    def __init__(self) -> None:
        self._last: tuple[Terms | None, job_pb2.JobSpec] = (None, _Spec())

    def __call__(self, terms: Terms) -> job_pb2.JobSpec:
        last, spec = self._last
        if terms is not last:
            spec = _Spec()
            fill_retry(spec.retry, terms.retry)
            if terms.timeout is not None:
                set_span(spec.timeout, terms.timeout)
            set_span(spec.retention.completed_for, terms.retention.completed_for)
            set_span(spec.retention.failed_for, terms.retention.failed_for)
            self._last = (terms, spec)
        return spec


_terms_written = _TermsWritten()


def fill_retry(target: job_pb2.RetryPolicy, retry: RetryPolicy) -> None:
    """Write a retry policy."""
    target.max_attempts = retry.max_attempts
    target.backoff = job_pb2.RetryPolicy.Backoff.ValueType(retry.backoff)
    set_span(target.initial_delay, retry.initial_delay)
    set_span(target.max_delay, retry.max_delay)
    target.jitter = retry.jitter


def _fill_error(target: job_pb2.JobError, error: JobError, view: View) -> None:
    if error.time is not None:
        set_time(target.time, error.time)
    target.attempt = error.attempt
    target.type = error.type
    target.message = error.message
    if view is View.FULL:
        target.trace = error.trace


def _fill_cancel(target: job_pb2.Cancel, cancel: Cancel) -> None:
    target.reason = cancel.reason
    target.by = cancel.by
    set_time(target.ask_time, cancel.ask_time)
    if cancel.deliver_time is not None:
        set_time(target.deliver_time, cancel.deliver_time)
    if cancel.obey_time is not None:
        set_time(target.obey_time, cancel.obey_time)
    set_span(target.grace, cancel.grace)
