"""Requests for jobs, made of what users ask for. No I/O."""

from __future__ import annotations

from tocsin import tracing
from tocsin._checking import of_kind, put, put_priority, put_texts, word
from tocsin._fields import put_when, refuse_unknown
from tocsin._times import put_duration
from tocsin.dependencies import DependsOn
from tocsin.enums import OnConflict
from tocsin.errors import InvalidArgument, WrongType
from tocsin.payloads import TYPED_PAYLOADS, Payload, TypedPayload, put_payload
from tocsin.requests import Collapse, JobRequest, Retention, RetryPolicy, ScheduleOptions, put_expire
from tocsin.v1 import job_pb2
from tocsin.v1 import job_service_pb2 as pb


def asked(type_: str | TypedPayload, payload: Payload, options: ScheduleOptions) -> JobRequest:
    """What schedule() was given. Raises WrongType for an option that there is not."""
    refuse_unknown("schedule", options, ScheduleOptions.__annotations__)
    depends_on = options.get("depends_on")
    if isinstance(depends_on, DependsOn) and any(isinstance(parent, int) for parent in depends_on.parents):
        # Calls of others travel with this one: their places are nobody's business.
        raise WrongType.of("depends_on", "a place in a list names a job in schedule_many alone: give a Job or its id")
    return JobRequest(type_, payload, **options)


def lone_request(type_: str | TypedPayload, payload: Payload, options: ScheduleOptions) -> pb.ScheduleJobRequest:
    """The request of schedule()."""
    return schedule_request(asked(type_, payload, options))


def schedule_request(wanted: JobRequest) -> pb.ScheduleJobRequest:
    """The request for one job. Raises InvalidArgument (or WrongType, which is one) for what cannot be sent."""
    request = pb.ScheduleJobRequest()
    if wanted.job_id != "":
        put(request, "job_id", wanted.job_id, "job_id")
    _put_spec(request.job, wanted, "job")
    put_when(request, wanted.at, wanted.delay)
    if wanted.on_conflict is OnConflict.FAIL:
        request.on_conflict = pb.ScheduleJobRequest.FAIL
    else:
        conflict = word(OnConflict, wanted.on_conflict, "on_conflict")
        request.on_conflict = pb.ScheduleJobRequest.OnConflict.Value(conflict)
    return request


def _put_spec(spec: job_pb2.JobSpec, wanted: JobRequest, path: str) -> None:
    """Set the spec that stands at `path` in a request."""
    # What is as it would be anyway is not looked at: this is much of what a client spends on a job.
    if wanted.queue != "":
        put(spec, "queue", wanted.queue, f"{path}.queue")
    if wanted.priority != 0 or type(wanted.priority) is not int:
        put_priority(spec, "priority", wanted.priority, f"{path}.priority")
    type_, payload = wanted.type, wanted.payload
    if isinstance(type_, str):
        put(spec, "type", type_, f"{path}.type")
    elif payload is not None:
        raise WrongType.of("payload", "give the payload once: schedule(EmailNotification(...)) takes no other")
    elif type(type_) not in TYPED_PAYLOADS:
        raise WrongType.of(
            "type", f"the first argument is the job's type or a typed message, not {type(type_).__name__}"
        )
    else:
        payload = type_
    put_payload(spec, payload)
    if wanted.retry is not None:
        of_kind(RetryPolicy, wanted.retry, "retry").put(spec.retry, f"{path}.retry")
    if wanted.timeout is not None:
        put_duration(spec.timeout, wanted.timeout, f"{path}.timeout")
    if wanted.retention is not None:
        of_kind(Retention, wanted.retention, "retention").put(spec.retention, f"{path}.retention")
    if wanted.tags != {}:
        put_texts(spec.tags, wanted.tags, f"{path}.tags")
    if wanted.limit_key != "":
        put(spec, "limit_key", wanted.limit_key, f"{path}.limit_key")
    if wanted.weight is not None:
        put(spec, "weight", wanted.weight, f"{path}.weight")
    if wanted.collapse is not None:
        of_kind(Collapse, wanted.collapse, "collapse").put(spec.collapse, f"{path}.collapse")
    if wanted.expire is not None:
        put_expire(spec.expire, wanted.expire, f"{path}.expire")
    if wanted.depends_on is not None:
        of_kind(DependsOn, wanted.depends_on, "depends_on").put(spec.depends_on, f"{path}.depends_on")
    if wanted.on_end is not None:
        _put_on_end(spec.on_end, of_kind(JobRequest, wanted.on_end, "on_end"), f"{path}.on_end")
    if (span := tracing.current()) is not None:
        spec.trace_context.traceparent, spec.trace_context.tracestate = span


def _put_on_end(spec: job_pb2.JobSpec, wanted: JobRequest, path: str) -> None:
    if wanted.at is not None or wanted.delay is not None or wanted.job_id != "":
        raise InvalidArgument.of(path, "has no time and no id of its own: it is due once the other job has ended")
    _put_spec(spec, wanted, path)
