"""A refusal keeps all that the server said, over a real gRPC call and in a batch alike."""

from __future__ import annotations

import pickle
from copy import copy
from datetime import timedelta

import grpc
import pytest
import tocsin
from tocsin import (
    Aborted,
    AlreadyExists,
    AsyncClient,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServerError,
    State,
    TocsinError,
    Unauthenticated,
    Unavailable,
    Violation,
    WaitTimeout,
)
from tocsin._refusals import from_status
from tocsin.v1.error_reason_pb2 import ErrorReason
from unit.client.canned_server import CannedJobService, refusal

KINDS = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.INTERNAL: ServerError,
    grpc.StatusCode.UNIMPLEMENTED: ServerError,
    grpc.StatusCode.UNKNOWN: ServerError,
    grpc.StatusCode.DATA_LOSS: ServerError,
}


@pytest.mark.parametrize("code", KINDS, ids=lambda code: code.name)
async def test_each_status_is_an_exception_of_its_own(
    code: grpc.StatusCode, client: AsyncClient, service: CannedJobService
) -> None:
    service.failing = iter([refusal(code, "INTERNAL", metadata={"error_id": "7"}, retry_after=0.5)])
    with pytest.raises(TocsinError) as caught:
        await client.run("a")
    error = caught.value
    assert (type(error), error.status) == (KINDS[code], code)
    assert (error.reason, error.message, dict(error.metadata)) == ("INTERNAL", "refused: INTERNAL", {"error_id": "7"})
    assert error.retry_after == timedelta(seconds=0.5)


async def test_all_violations_are_kept(client: AsyncClient, service: CannedJobService) -> None:
    bad = {"job.type": "is empty", "job.priority": "is odd"}
    service.failing = iter([refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", violations=bad)])
    with pytest.raises(InvalidArgument) as caught:
        await client.schedule("x")
    assert caught.value.violations == (Violation("job.type", "is empty"), Violation("job.priority", "is odd"))


def test_the_state_of_the_standing_job_is_a_state() -> None:
    code = grpc.StatusCode.ALREADY_EXISTS
    error = from_status(refusal(code, "JOB_EXISTS", metadata={"state": "ACTIVE"}))
    assert isinstance(error, AlreadyExists)
    assert error.state is State.ACTIVE
    unsaid = from_status(refusal(code, "JOB_EXISTS"))
    assert isinstance(unsaid, AlreadyExists)
    assert unsaid.state is None


@pytest.mark.parametrize(
    ("code", "reason", "unknown"),
    [
        (grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN", True),
        (grpc.StatusCode.UNAVAILABLE, "", True),  # the connection broke: nobody said
        (grpc.StatusCode.UNAVAILABLE, "STORE_AWAY", False),
        (grpc.StatusCode.UNAVAILABLE, "DRAINING", False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "OUTCOME_UNKNOWN", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED", False),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", False),
        (grpc.StatusCode.INTERNAL, "INTERNAL", True),
        (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED", False),
    ],
)
def test_whether_the_call_may_have_acted_is_said(code: grpc.StatusCode, reason: str, unknown: bool) -> None:
    assert from_status(refusal(code, reason)).outcome_unknown is unknown


def test_the_reasons_that_the_client_knows_are_in_the_protos() -> None:
    known = {"STORE_AWAY", "DRAINING", "TOO_MANY_CALLS", "OUTCOME_UNKNOWN", "DEADLINE_PASSED", "INVALID_FIELD"}
    assert known <= set(ErrorReason.keys())


def test_errors_are_what_python_code_would_catch() -> None:
    assert issubclass(InvalidArgument, ValueError)
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert issubclass(WaitTimeout, TimeoutError)


@pytest.mark.parametrize("duplicate", [copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_can_be_copied_with_all_it_says(duplicate: object) -> None:
    assert callable(duplicate)
    error = from_status(refusal(grpc.StatusCode.ABORTED, "REVISION_MISMATCH", metadata={"a": "b"}))
    again = duplicate(error)
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
    assert duplicate(WaitTimeout("late", None)).job is None


def test_every_error_is_exported_and_stands_below_the_root() -> None:
    errors = {name for name, value in vars(tocsin.errors).items() if is_error(value) and not name.startswith("_")}
    assert errors <= set(tocsin.__all__)
    assert all(issubclass(getattr(tocsin, name), TocsinError) for name in errors)


def is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)
