"""Each refusal has a status, a reason from the protos' closed list, and details that fit into a trailer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from tocsin.v1 import error_reason_pb2
from tocsin_server.api import errors as table
from tocsin_server.domain import errors, job_errors
from tocsin_server.domain.bulk_actions import BulkTokenStale
from tocsin_server.domain.errors import TocsinError, Violation
from tocsin_server.domain.schedules import errors as schedule_errors
from tocsin_server.domain.shared_limits import QueueShares, SharedLimitNotFound
from tocsin_server.domain.states import State

LONG = "\U0001f600" * 150

REFUSALS: list[tuple[TocsinError, grpc.StatusCode]] = [
    (errors.InvalidFields([Violation("a", "b")]), grpc.StatusCode.INVALID_ARGUMENT),
    (errors.TooLarge("job", 2, 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (job_errors.JobNotFound("q", LONG), grpc.StatusCode.NOT_FOUND),
    (job_errors.ParentNotFound("q", LONG, 7), grpc.StatusCode.NOT_FOUND),
    (job_errors.IsWaitedFor("q", LONG, State.WAITING), grpc.StatusCode.FAILED_PRECONDITION),
    (job_errors.ParentRefused("job.depends_on.parents[0].batch_item", 3), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.RemindersNotFound("q", "booking", LONG), grpc.StatusCode.NOT_FOUND),
    (job_errors.JobExists("q", LONG, State.FAILED), grpc.StatusCode.ALREADY_EXISTS),
    (job_errors.ReminderIdTaken("q", LONG, State.WAITING), grpc.StatusCode.ALREADY_EXISTS),
    (job_errors.JobActive("q", LONG), grpc.StatusCode.FAILED_PRECONDITION),
    (job_errors.WrongState("q", LONG, State.ACTIVE, "RunJob"), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.QueueInUse(LONG, 3), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.ClockNotManual(), grpc.StatusCode.FAILED_PRECONDITION),
    (job_errors.LeaseLost("q", LONG, 3), grpc.StatusCode.ABORTED),
    (job_errors.EndedOtherwise("q", LONG, 3), grpc.StatusCode.ABORTED),
    (job_errors.RevisionMismatch("q", LONG, 1, 2), grpc.StatusCode.ABORTED),
    (errors.QueueDraining("q"), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.QueueMoved("q", "its jobs move to x", done=True), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.QuotaExceeded("types", 1, "Use fewer."), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.TooManyCalls("watch", 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.TooManyQueuesWatched(128), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.TooManyBytes(1), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.TooManyRequests(1, timedelta(seconds=1)), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (QueueShares("q", ["l"]), grpc.StatusCode.FAILED_PRECONDITION),
    (SharedLimitNotFound("l"), grpc.StatusCode.NOT_FOUND),
    (BulkTokenStale("q"), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.CannotDecrypt("q", LONG, "payload", "why"), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.KeyMissing("q", LONG, "payload", "0a0b0c0d"), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.AuditAway(), grpc.StatusCode.UNAVAILABLE),
    (errors.StoreFull("oom"), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.StoreAway("gone"), grpc.StatusCode.UNAVAILABLE),
    (errors.OutcomeUnknown("lost"), grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineOutcomeUnknown(), grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.ImportCut(0, errors.Draining()), grpc.StatusCode.UNAVAILABLE),
    (errors.NotAuthenticated("who?"), grpc.StatusCode.UNAUTHENTICATED),
    (errors.NotAllowed("no", scope="read"), grpc.StatusCode.PERMISSION_DENIED),
    (errors.Draining(), grpc.StatusCode.UNAVAILABLE),
    (errors.WatchAged(timedelta(hours=1)), grpc.StatusCode.UNAVAILABLE),
    (errors.TransferIdle(timedelta(seconds=30)), grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.RequestLate(timedelta(seconds=30)), grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.DeadlinePassed(), grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.ReadTooSlow(), grpc.StatusCode.DEADLINE_EXCEEDED),
    (schedule_errors.ScheduleNotFound("q", "s"), grpc.StatusCode.NOT_FOUND),
    (schedule_errors.ScheduleExists("q", "s"), grpc.StatusCode.ALREADY_EXISTS),
    (schedule_errors.ScheduleChanged("q", "s", 1, 2), grpc.StatusCode.ABORTED),
    (schedule_errors.TooManyTimes("to", 9, datetime(2026, 1, 2, tzinfo=UTC)), grpc.StatusCode.INVALID_ARGUMENT),
    (schedule_errors.CalendarNotFound("c"), grpc.StatusCode.NOT_FOUND),
    (schedule_errors.CalendarChanged("c", 1, 2), grpc.StatusCode.ABORTED),
    (schedule_errors.CalendarInUse("c", [("q", "s")], more=False), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.NotBuilt("no"), grpc.StatusCode.UNIMPLEMENTED),
    (errors.Internal("1234"), grpc.StatusCode.INTERNAL),
]
each = pytest.mark.parametrize(("error", "code"), REFUSALS, ids=lambda value: type(value).__name__)


def subclasses(kind: type) -> Iterator[type]:
    for sub in kind.__subclasses__():
        yield sub
        yield from subclasses(sub)


def detail(status: status_pb2.Status, kind: type[Message]) -> Message | None:
    found = kind()
    return found if any(one.Unpack(found) for one in status.details) else None


def test_every_refusal_has_a_row_and_is_tried_here() -> None:
    ours = {k for k in subclasses(TocsinError) if k.__module__.startswith("tocsin_server.") and hasattr(k, "reason")}
    assert ours == {type(error) for error, _ in REFUSALS}
    assert all(any(base in table.STATUS for base in kind.__mro__) for kind in ours)


@each
def test_a_refusal_has_its_status_and_a_reason_of_the_closed_list(error: TocsinError, code: grpc.StatusCode) -> None:
    status = table.to_status(error)
    assert status.code == code.value[0]
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.domain, info.reason) == ("tocsin", error.reason)
    assert info.reason in error_reason_pb2.ErrorReason.keys()
    assert dict(info.metadata) == error.metadata
    assert type(error).__doc__


@each
def test_a_refusal_fits_into_what_clients_read_of_a_trailer(error: TocsinError, code: grpc.StatusCode) -> None:
    status = table.to_status(error)
    assert status.ByteSize() <= 4096
    assert len(status.message.encode()) <= 512


@each
def test_waiting_is_advised_where_it_helps(error: TocsinError, code: grpc.StatusCode) -> None:
    retry = detail(table.to_status(error), error_details_pb2.RetryInfo)
    assert (retry is not None) == (error.retry_after is not None)
    assert code is not grpc.StatusCode.UNAVAILABLE or retry


def test_a_refusal_about_a_job_names_it() -> None:
    for error in (e for e, _ in REFUSALS if hasattr(e, "job_id")):
        resource = detail(table.to_status(error), error_details_pb2.ResourceInfo)
        assert (resource.resource_type, resource.resource_name) == ("tocsin.v1.Job", LONG)


def test_a_state_that_forbids_is_a_failed_precondition_with_the_state() -> None:
    status = table.to_status(job_errors.WrongState("q", "a", State.COMPLETED, "CancelJob"))
    [violation] = detail(status, error_details_pb2.PreconditionFailure).violations
    assert (violation.type, violation.subject) == ("JOB_STATE", "a")
    assert "COMPLETED" in violation.description


def test_wrong_and_too_large_fields_are_named() -> None:
    for error in (errors.InvalidFields([Violation("a.b", "is wrong")]), errors.TooLarge("a.b", 2, 1)):
        [violation] = detail(table.to_status(error), error_details_pb2.BadRequest).field_violations
        assert violation.field == "a.b"


def test_violations_that_do_not_fit_are_counted() -> None:
    many = errors.InvalidFields([Violation(f"field[{i}]", "é" * 100) for i in range(200)])
    for most in (4096, table.ITEM_STATUS_BYTES):
        status = table.to_status(many, most_bytes=most)
        assert most * 0.8 < status.ByteSize() <= most
        listed = detail(status, error_details_pb2.BadRequest).field_violations
        assert listed[0].field == "field[0]"
        assert listed[-1].description == f"{200 - len(listed) + 1} further violations are left out here"
