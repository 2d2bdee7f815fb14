"""Jobs that are asked for. The messages are the shadow ones of wire.py.

This is the hot path of scheduling: a plain job passes a short test, and the wordy rules are asked of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import job_pb2, job_service_pb2

from tocsin_server.api import wire
from tocsin_server.api.reading import read
from tocsin_server.api.requests.alike import Alike
from tocsin_server.api.requests.conditions import (
    check_beside_conditions,
    check_conditions,
    has_conditions,
    to_conditions,
)
from tocsin_server.api.requests.dependencies import to_parents
from tocsin_server.api.requests.payloads.checking import BUILT_IN_TYPES, check_payload, is_plain_data
from tocsin_server.api.requests.violations import Violations, is_name
from tocsin_server.api.times import to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import UNSET, JobDefaults, JobRequest
from tocsin_server.domain.errors import TooLarge
from tocsin_server.domain.job import OnConflict, Payload
from tocsin_server.domain.reminders import reserved_for
from tocsin_server.domain.retry import Backoff
from tocsin_server.domain.times import MILLISECOND

_ScheduleJobRequest = wire.shadow(job_service_pb2.ScheduleJobRequest)

_ON_CONFLICT = {int(v): k for k, v in job_service_pb2.ScheduleJobRequest.OnConflict.items()}
_BACKOFF = {int(v): k for k, v in job_pb2.RetryPolicy.Backoff.items()}
#: Said of an id that would keep a reminder from being sent.
RESERVED = "has the form of a reminder's, which ReminderService alone makes: give the job another id"
_NOTHING = timedelta(0)
_alike = Alike()
_PLAIN_DELAY = 10 * 365 * 86_400  # seconds
_HOW = {number: OnConflict(number or OnConflict.FAIL) for number in _ON_CONFLICT}
_BUILT_IN = frozenset(BUILT_IN_TYPES.values())
_DATA = job_pb2.JobSpec.DATA_FIELD_NUMBER


def _plain_when(request: job_service_pb2.ScheduleJobRequest) -> datetime | timedelta | None:
    """When the job is due, as far as a look tells that this is right; None where it does not."""
    match request.WhichOneof("when"):
        case None:
            return _NOTHING
        case "delay":
            delay = request.delay
            if 0 <= delay.seconds < _PLAIN_DELAY and delay.nanos == 0:
                return timedelta(seconds=delay.seconds)
    return None


def schedule_job(request: job_service_pb2.ScheduleJobRequest) -> JobRequest:
    """One job to schedule."""
    spec = request.job
    name = spec.WhichOneof("payload")
    body = b"" if name is None else cast(bytes, getattr(spec, name))
    # The short test leaves jobs with words of their own on how and when they run, and whatever may be wrong.
    if (
        request.on_conflict in _HOW
        and not request.job_id
        and (when := _plain_when(request)) is not None
        and is_name(spec.type)
        and spec.type not in _BUILT_IN
        and (not spec.queue or is_name(spec.queue))
        and spec.ByteSize() <= limits.JOB_SPEC_BYTES
        and (name is None or is_plain_data(name, body))
        and not (spec.HasField("retry") or spec.HasField("timeout") or spec.HasField("retention") or spec.tags)
        and not has_conditions(spec)
    ):
        return JobRequest(
            spec.queue or limits.DEFAULT_QUEUE,
            spec.type,
            None if name is None else Payload(_DATA, body),
            spec.priority,
            when=when,
            on_conflict=_HOW[request.on_conflict],
        )
    _check_job(request)
    return replace(
        _asked(spec, spec.queue or limits.DEFAULT_QUEUE),
        job_id=request.job_id or None,
        when=to_when(request) or _NOTHING,
        on_conflict=_HOW[request.on_conflict],
    )


def _asked(spec: job_pb2.JobSpec, queue: str) -> JobRequest:
    """A job of this spec, which was checked, and of what follows its end."""
    payload = to_payload(spec)
    return JobRequest(
        queue=queue,
        type=spec.type or (BUILT_IN_TYPES[payload.kind] if payload else ""),
        payload=payload,
        priority=spec.priority,
        overrides=overrides(spec),
        tags=dict(spec.tags),
        conditions=to_conditions(spec),
        parents=to_parents(spec),
        on_end=_asked(spec.on_end, spec.on_end.queue or queue) if spec.HasField("on_end") else None,
    )


def schedule_job_bytes(raw: bytes) -> JobRequest:
    """One job of a batch, of which each is read by itself."""
    if (asked := _alike.read(raw)) is not None:
        return asked
    asked = schedule_job(read(job_service_pb2.ScheduleJobRequest, _ScheduleJobRequest, raw))
    _alike.learn(raw, asked)
    return asked


def batch_schedule_jobs(request: job_service_pb2.BatchScheduleJobsRequest) -> Sequence[bytes]:
    """The jobs of a batch, each to be read by itself: `schedule_job_bytes`."""
    wrong = Violations()
    wrong.count("requests", request.requests, limits.BATCH_ITEMS, least=1)
    wrong.done()
    return cast("Sequence[bytes]", request.requests)  # bytes in the shadow message


def _check_job(request: job_service_pb2.ScheduleJobRequest) -> None:
    wrong = Violations()
    if request.HasField("job"):
        check_size("job", request.job)
        check_spec(wrong, "job", request.job)
    else:
        wrong.add("job", "is needed")
    if request.job_id:
        wrong.job_id("job_id", request.job_id)
        if reserved_for(request.job_id) is not None:
            wrong.add("job_id", RESERVED)
    check_when(wrong, request)
    if request.on_conflict not in _ON_CONFLICT:
        wrong.enum("on_conflict", request.on_conflict, _ON_CONFLICT)
    if has_conditions(request.job):
        check_beside_conditions(wrong, request)
    wrong.done()


def check_when(
    wrong: Violations, request: job_service_pb2.ScheduleJobRequest | job_service_pb2.UpdateJobRequest
) -> None:
    """The time or delay of a request that has them."""
    when = request.WhichOneof("when")
    if when == "schedule_time":
        if request.schedule_time.seconds == 0 and request.schedule_time.nanos == 0:
            # What a library makes of a value that it does not know as a Timestamp. The job would run at once.
            wrong.add("schedule_time", "is empty: give it seconds since 1970, or leave it out, which means now")
        wrong.time("schedule_time", request.schedule_time)
    elif when == "delay":
        wrong.span("delay", request.delay, _NOTHING, limits.MAX_DELAY, "0 to 100 years")


def check_size(field: str, spec: job_pb2.JobSpec) -> None:
    """Raise TooLarge where a spec takes more than 1 MiB."""
    if (size := spec.ByteSize()) > limits.JOB_SPEC_BYTES:
        raise TooLarge(field, size, limits.JOB_SPEC_BYTES)


def check_spec(wrong: Violations, field: str, spec: job_pb2.JobSpec, *, follows: int = 0) -> None:
    """All that a spec says. `follows`: so many on_ends it stands in."""
    wrong.queue(f"{field}.queue", spec.queue)
    payload = wire.payload_of(spec)
    check_type(wrong, field, spec.type, payload, needed=True)
    if spec.type in _BUILT_IN and (payload is None or payload[0] not in BUILT_IN_TYPES):
        say = f"{spec.type!r} is a type of the server's own: give the job its payload {field}.{spec.type}"
        wrong.add(f"{field}.type", say)
    if payload is not None:
        check_payload(wrong, field, *payload)
    check_terms(wrong, field, spec)
    check_conditions(wrong, field, spec)
    if spec.HasField("on_end"):
        _check_on_end(wrong, f"{field}.on_end", spec.on_end, follows + 1)


def _check_on_end(wrong: Violations, field: str, spec: job_pb2.JobSpec, follows: int) -> None:
    if follows > limits.ON_ENDS:
        wrong.add(field, f"is the one too many: at most {limits.ON_ENDS} stand in each other")
        return
    if spec.HasField("depends_on"):
        wrong.add(f"{field}.depends_on", "has no meaning there: it waits for the job whose end it follows")
    if spec.HasField("collapse"):
        wrong.add(f"{field}.collapse", "does not go there: the job would follow no end where it became another")
    check_spec(wrong, field, spec, follows=follows)


def check_terms(wrong: Violations, field: str, spec: job_pb2.JobSpec) -> None:
    """What a spec says beside queue, type, payload and priority."""
    if spec.HasField("retry"):
        check_retry(wrong, f"{field}.retry", spec.retry)
    if spec.HasField("timeout"):
        wrong.span(f"{field}.timeout", spec.timeout, MILLISECOND, limits.MAX_TIMEOUT, "1 ms to 30 days")
    if spec.HasField("retention"):
        check_retention(wrong, f"{field}.retention", spec.retention)
    if spec.tags:
        wrong.tags(f"{field}.tags", spec.tags)


def check_type(wrong: Violations, field: str, type_: str, payload: tuple[int, bytes] | None, *, needed: bool) -> None:
    """A spec's type beside its payload: a built-in payload sets it."""
    built_in = BUILT_IN_TYPES.get(payload[0]) if payload else None
    if built_in is not None:
        if type_ not in ("", built_in):
            wrong.add(f"{field}.type", f"does not fit {field}.{built_in}: leave it out, or make it {built_in!r}")
    elif needed or type_:
        wrong.name(f"{field}.type", type_)


def check_retry(wrong: Violations, field: str, retry: job_pb2.RetryPolicy) -> None:
    """A retry policy, as a job or a queue has it."""
    if retry.HasField("max_attempts"):
        wrong.number(f"{field}.max_attempts", retry.max_attempts, 1, limits.MAX_ATTEMPTS)
    wrong.enum(f"{field}.backoff", retry.backoff, _BACKOFF)
    both = retry.HasField("initial_delay") and retry.HasField("max_delay")
    if retry.HasField("initial_delay"):
        wrong.span(f"{field}.initial_delay", retry.initial_delay, MILLISECOND, limits.MAX_INITIAL_DELAY, "1 ms to 24 h")
    if retry.HasField("max_delay"):
        wrong.span(f"{field}.max_delay", retry.max_delay, MILLISECOND, limits.MAX_BACKOFF, "1 ms to 30 days")
    if both and _before(retry):
        wrong.add(f"{field}.max_delay", "is below initial_delay")
    if retry.HasField("jitter"):
        wrong.number(f"{field}.jitter", retry.jitter, 0, 1)


def _before(retry: job_pb2.RetryPolicy) -> bool:
    longest, first = retry.max_delay, retry.initial_delay
    return (longest.seconds, longest.nanos) < (first.seconds, first.nanos)


def check_retention(wrong: Violations, field: str, retention: job_pb2.Retention) -> None:
    """A retention, as a job or a queue has it."""
    for name in ("completed_for", "failed_for"):
        if retention.HasField(name):
            wrong.span(f"{field}.{name}", getattr(retention, name), _NOTHING, limits.MAX_RETENTION, "0 to 10 years")


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


def overrides(spec: job_pb2.JobSpec) -> JobDefaults:
    """What a spec says of retry, timeout and retention."""
    if not (spec.HasField("retry") or spec.HasField("timeout") or spec.HasField("retention")):
        return UNSET
    return to_defaults(spec.retry, spec.timeout if spec.HasField("timeout") else None, spec.retention)


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
