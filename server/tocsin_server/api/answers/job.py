"""Jobs as answers show them: one, a page, or as they change. The messages are the shadow ones of wire.py.

Protos are filled where they will stand, since assigning a message copies it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from tocsin.v1 import conditions_pb2, following_pb2, holding_pb2, job_pb2
from tocsin.v1 import job_service_pb2 as pb

from tocsin_server.api import page_tokens, wire
from tocsin_server.api.answers.dependencies import fill_parents, fill_rule
from tocsin_server.api.answers.explaining import fill_explanation
from tocsin_server.api.sized import AnswerRoom
from tocsin_server.api.times import set_span, set_time
from tocsin_server.domain.conditions import DEFAULT_WEIGHT, NO_CONDITIONS, Conditions
from tocsin_server.domain.events import Event
from tocsin_server.domain.explaining import Explanation
from tocsin_server.domain.filters import ListQuery, Order, Page, Position
from tocsin_server.domain.job import Cancel, Job, JobError, JobSpec, Terms, View
from tocsin_server.domain.nominal_times import of_job_id
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.operations.watching import Gap, Start

_Job, _Spec = wire.shadow(job_pb2.Job), wire.shadow(job_pb2.JobSpec)
_ListJobsResponse = wire.shadow(pb.ListJobsResponse)
_WatchJobsResponse = wire.shadow(pb.WatchJobsResponse)
_OfJob = TypeVar(
    "_OfJob",
    pb.GetJobResponse,
    following_pb2.WaitJobResponse,
    pb.CancelJobResponse,
    pb.RetryJobResponse,
    pb.RunJobResponse,
    pb.UpdateJobResponse,
    holding_pb2.HoldJobResponse,
    holding_pb2.ReleaseJobResponse,
)


def of_job(response: type[_OfJob], job: Job, view: View = View.BASIC, explanation: Explanation | None = None) -> _OfJob:
    """An answer that is a job, of the shadow class of `response`."""
    answer = wire.shadow(response)()
    fill(answer.job, job, view)
    if explanation is not None:
        fill_explanation(answer.job.explanation, explanation)
    return answer


def listed(
    page: Page, query: ListQuery, list_hash: bytes, explanations: Sequence[Explanation] = ()
) -> pb.ListJobsResponse:
    """A page of jobs, which ends early before it passes the limit of an answer; with an explanation of each, or of
    none."""
    answer = _ListJobsResponse()
    room, goes_on = AnswerRoom(), page.next
    for i, job in enumerate(page.jobs):
        fill(proto := answer.jobs.add(), job, query.view)
        if explanations:
            fill_explanation(proto.explanation, explanations[i])
        if not room.takes(proto):
            del answer.jobs[-1]
            last = page.jobs[i - 1]
            goes_on = Position(last.arrival, last.schedule_time if query.order is Order.SOONEST else None)
            break
    if goes_on is not None:
        answer.next_page_token = page_tokens.jobs_token(list_hash, goes_on)
    if page.total is not None:
        answer.total_size = page.total
    return answer


def watched(change: Event | Gap | Start) -> pb.WatchJobsResponse:
    """One message of a watch."""
    answer = _WatchJobsResponse()
    if isinstance(change, Gap):
        setattr(answer.gap, "from", change.start)  # a keyword of Python
        answer.gap.to = change.end
        answer.cursor = change.end
    elif isinstance(change, Start):
        answer.cursor = change.cursor
    else:
        fill(answer.job, change.job, View.BASIC)
        answer.deleted = change.deleted
        answer.cursor = change.cursor
    return answer


def fill(target: job_pb2.Job, job: Job, view: View) -> None:
    """Write a job into the field `target`, which is empty; in BASIC without payload, result and traces."""
    spec = job.spec
    target.queue = spec.queue
    target.job_id = job.job_id
    fill_spec(target.spec, spec, view)
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
    if job.held:
        target.held = True
    if (expire_time := job.expire_time) is not None:
        set_time(target.expire_time, expire_time)
    if job.parents:
        fill_parents(target.spec.depends_on, job.parents)
    fill_on_end(target, spec.conditions)
    if job.fired and (of_schedule := of_job_id(job.job_id)) is not None:
        target.schedule_id, nominal = of_schedule
        set_time(target.nominal_time, nominal)


class AlikeWriter:
    """Writes jobs of one call in view BASIC. A store that read some alike gave them one spec (store/redis/records.py):
    they differ in their ids alone, and to copy what was written last costs a quarter of writing it."""

    __slots__ = ("_job", "_message")

    def __init__(self) -> None:
        self._job: Job | None = None
        self._message = _Job()

    def fill(self, target: job_pb2.Job, job: Job) -> None:
        """Write a job into the field `target`, which is empty."""
        last = self._job
        if last is None or job.spec is not last.spec or job.revision != last.revision:
            fill(target, job, View.BASIC)
            self._job, self._message = job, target
            return
        target.CopyFrom(self._message)
        target.job_id = job.job_id


def fill_on_end(target: job_pb2.Job, conditions: Conditions) -> None:
    """Write what follows a job's end."""
    if conditions.on_end is not None:
        target.on_end.queue, target.on_end.job_id = conditions.on_end.queue, conditions.on_end.job_id


def slim(target: job_pb2.Job) -> None:
    """Take out of a job what makes it large in view BASIC, where an answer of many would pass the limit otherwise."""
    target.ClearField("errors")
    target.ClearField("progress")
    target.spec.ClearField("tags")


def fill_spec(target: job_pb2.JobSpec, spec: JobSpec, view: View) -> None:
    """Write a job's spec."""
    target.CopyFrom(terms_written(spec.terms))
    target.queue = spec.queue
    target.type = spec.type
    target.priority = spec.priority
    if spec.tags:
        target.tags.update(spec.tags)
    if spec.conditions is not NO_CONDITIONS:
        fill_conditions(target, spec.conditions)
    if spec.payload is not None and view is View.FULL:
        wire.set_payload(target, spec.payload.kind, spec.payload.body)


def fill_conditions(target: job_pb2.JobSpec, conditions: Conditions) -> None:
    """Write what a job's start depends on."""
    target.limit_key = conditions.limit_key
    if conditions.weight != DEFAULT_WEIGHT:
        target.weight = conditions.weight
    if (collapse := conditions.collapse) is not None:
        target.collapse.key = collapse.key
        target.collapse.mode = conditions_pb2.Collapse.Mode.ValueType(collapse.mode)
        if collapse.window:
            set_span(target.collapse.window, collapse.window)
        if collapse.max_wait is not None:
            set_span(target.collapse.max_wait, collapse.max_wait)
    if isinstance(conditions.expire, timedelta):
        set_span(target.expire.after_due, conditions.expire)
    elif conditions.expire is not None:
        set_time(target.expire.at, conditions.expire)
    if conditions.depends is not None:
        fill_rule(target.depends_on, conditions.depends)
    if conditions.traceparent:
        target.trace_context.traceparent = conditions.traceparent
        target.trace_context.tracestate = conditions.tracestate


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


terms_written = _TermsWritten()


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
