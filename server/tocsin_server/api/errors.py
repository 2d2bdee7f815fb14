"""The one table: each refusal's gRPC status and details. Nowhere else in the server is a status code chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tocsin_server.api.times import set_span
from tocsin_server.domain.bulk_actions import BulkTokenStale
from tocsin_server.domain.errors import (
    AuditAway,
    CannotDecrypt,
    ClockNotManual,
    DeadlineOutcomeUnknown,
    DeadlinePassed,
    Draining,
    Internal,
    InvalidFields,
    NotAllowed,
    NotAuthenticated,
    NotBuilt,
    OutcomeUnknown,
    QueueDraining,
    QueueInUse,
    QueueMoved,
    QuotaExceeded,
    RemindersNotFound,
    StoreAway,
    StoreFull,
    TocsinError,
    TooLarge,
    TooManyCalls,
    Violation,
)
from tocsin_server.domain.job_errors import (
    JobActive,
    JobExists,
    JobNotFound,
    LeaseLost,
    ParentRefused,
    RevisionMismatch,
    WrongState,
)
from tocsin_server.domain.schedules.errors import (
    CalendarChanged,
    CalendarInUse,
    CalendarNotFound,
    ScheduleChanged,
    ScheduleExists,
    ScheduleNotFound,
)
from tocsin_server.domain.shared_limits import SharedLimitNotFound

_T = TypeVar("_T")

DOMAIN = "tocsin"
JOB_RESOURCE = "tocsin.v1.Job"
SET_RESOURCE = "tocsin.v1.ReminderSet"
SCHEDULE_RESOURCE = "tocsin.v1.Schedule"
CALENDAR_RESOURCE = "tocsin.v1.Calendar"
SHARED_LIMIT_RESOURCE = "tocsin.v1.SharedLimit"

# A status travels in HTTP/2 trailers, of which many clients (Java, the C core) read 8 KiB: as text, percent-encoded,
# and once more as bytes in base64.
_MESSAGE_BYTES = 512
_STATUS_BYTES = 4_096
#: Of the status of one item of a batch, so that a thousand of them fit into an answer.
ITEM_STATUS_BYTES = 2_048


#: The status of each refusal; one that is not here has that of its nearest base.
STATUS: dict[type[TocsinError], grpc.StatusCode] = {
    InvalidFields: grpc.StatusCode.INVALID_ARGUMENT,
    TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    JobNotFound: grpc.StatusCode.NOT_FOUND,
    RemindersNotFound: grpc.StatusCode.NOT_FOUND,
    ScheduleNotFound: grpc.StatusCode.NOT_FOUND,
    CalendarNotFound: grpc.StatusCode.NOT_FOUND,
    SharedLimitNotFound: grpc.StatusCode.NOT_FOUND,
    JobExists: grpc.StatusCode.ALREADY_EXISTS,
    ScheduleExists: grpc.StatusCode.ALREADY_EXISTS,
    JobActive: grpc.StatusCode.FAILED_PRECONDITION,
    ParentRefused: grpc.StatusCode.FAILED_PRECONDITION,
    WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    QueueDraining: grpc.StatusCode.FAILED_PRECONDITION,
    QueueInUse: grpc.StatusCode.FAILED_PRECONDITION,
    LeaseLost: grpc.StatusCode.ABORTED,
    RevisionMismatch: grpc.StatusCode.ABORTED,
    ScheduleChanged: grpc.StatusCode.ABORTED,
    CalendarChanged: grpc.StatusCode.ABORTED,
    CalendarInUse: grpc.StatusCode.FAILED_PRECONDITION,
    QueueMoved: grpc.StatusCode.FAILED_PRECONDITION,
    BulkTokenStale: grpc.StatusCode.FAILED_PRECONDITION,
    ClockNotManual: grpc.StatusCode.FAILED_PRECONDITION,
    CannotDecrypt: grpc.StatusCode.FAILED_PRECONDITION,
    QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooManyCalls: grpc.StatusCode.RESOURCE_EXHAUSTED,
    StoreFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    StoreAway: grpc.StatusCode.UNAVAILABLE,
    AuditAway: grpc.StatusCode.UNAVAILABLE,
    OutcomeUnknown: grpc.StatusCode.UNAVAILABLE,
    DeadlineOutcomeUnknown: grpc.StatusCode.DEADLINE_EXCEEDED,
    NotAuthenticated: grpc.StatusCode.UNAUTHENTICATED,
    NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    Draining: grpc.StatusCode.UNAVAILABLE,
    DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
    NotBuilt: grpc.StatusCode.UNIMPLEMENTED,
    Internal: grpc.StatusCode.INTERNAL,
}


def status_code(error: TocsinError) -> grpc.StatusCode:
    """The status of a refusal."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), grpc.StatusCode.INTERNAL)


def or_raise(answer: _T | TocsinError) -> _T:
    """The answer, where it is not a refusal; a refusal is raised."""
    if isinstance(answer, TocsinError):
        raise answer
    return answer


def to_status(error: TocsinError, *, most_bytes: int = _STATUS_BYTES) -> status_pb2.Status:
    """A refusal as google.rpc.Status with its details; violations that would pass `most_bytes` are left out."""
    number: int = status_code(error).value[0]
    status = status_pb2.Status(code=number, message=_cut(str(error), _MESSAGE_BYTES))
    for detail in _details(error):
        status.details.add().Pack(detail)
    violations = _violations(error)
    if violations:
        _add_violations(status, violations, most_bytes)
    return status


def _details(error: TocsinError) -> Iterator[Message]:
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    info.metadata.update(error.metadata)
    yield info
    if isinstance(error, _OF_JOB):
        yield error_details_pb2.ResourceInfo(
            resource_type=JOB_RESOURCE, resource_name=error.job_id, owner=error.queue, description=type(error).__doc__
        )
    if isinstance(error, RemindersNotFound):
        yield error_details_pb2.ResourceInfo(
            resource_type=SET_RESOURCE,
            resource_name=f"{error.kind}/{error.set_id}",
            owner=error.queue,
            description=type(error).__doc__,
        )
    if isinstance(error, ScheduleNotFound | ScheduleExists | ScheduleChanged):
        yield error_details_pb2.ResourceInfo(
            resource_type=SCHEDULE_RESOURCE,
            resource_name=error.schedule_id,
            owner=error.queue,
            description=type(error).__doc__,
        )
    if isinstance(error, CalendarNotFound | CalendarChanged | CalendarInUse):
        yield error_details_pb2.ResourceInfo(
            resource_type=CALENDAR_RESOURCE, resource_name=error.calendar, description=type(error).__doc__
        )
    if isinstance(error, SharedLimitNotFound):
        yield error_details_pb2.ResourceInfo(
            resource_type=SHARED_LIMIT_RESOURCE, resource_name=error.shared_limit, description=type(error).__doc__
        )
    if isinstance(error, CalendarInUse):
        yield error_details_pb2.PreconditionFailure(
            violations=[
                error_details_pb2.PreconditionFailure.Violation(
                    type="CALENDAR_USE", subject=f"{queue}/{schedule_id}", description="the schedule names the calendar"
                )
                for queue, schedule_id in error.users
            ]
        )
    if isinstance(error, WrongState | JobActive):
        state = error.state.name if error.state is not None else ""
        yield error_details_pb2.PreconditionFailure(
            violations=[
                error_details_pb2.PreconditionFailure.Violation(
                    type="JOB_STATE", subject=error.job_id, description=f"the job is {state}"
                )
            ]
        )
    if isinstance(error, QueueMoved):
        yield error_details_pb2.PreconditionFailure(
            violations=[
                error_details_pb2.PreconditionFailure.Violation(
                    type="QUEUE_MOVE", subject=error.queue, description=_cut(error.move, 300)
                )
            ]
        )
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        set_span(retry.retry_delay, error.retry_after)
        yield retry


_OF_JOB = JobNotFound | JobExists | JobActive | WrongState | LeaseLost | RevisionMismatch


def _violations(error: TocsinError) -> tuple[Violation, ...]:
    if isinstance(error, InvalidFields):
        return error.violations
    if isinstance(error, TooLarge):
        return (Violation(error.field, f"has {error.size:,} bytes, at most {error.limit:,} are allowed"),)
    return ()


def _add_violations(status: status_pb2.Status, violations: tuple[Violation, ...], most_bytes: int) -> None:
    bad = error_details_pb2.BadRequest()
    room = most_bytes - status.ByteSize() - 200  # the rest: the type's name, lengths, and the last line
    for i, violation in enumerate(violations):
        one = bad.field_violations.add(field=_cut(violation.field, 300), description=_cut(violation.description, 300))
        room -= one.ByteSize() + 3
        if room < 0 and i:
            del bad.field_violations[-1]
            more = f"{len(violations) - i:,} further violations are left out here"
            bad.field_violations.add(field=_cut(violation.field, 100), description=more)
            break
    status.details.add().Pack(bad)


def _cut(text: str, most_bytes: int) -> str:
    """The text, or as much of its start as has at most so many bytes of UTF-8."""
    raw = text.encode(errors="replace")
    if len(raw) <= most_bytes:
        return raw.decode()
    return raw[: most_bytes - 3].decode(errors="ignore") + "…"
