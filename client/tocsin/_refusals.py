"""From a refusal as gRPC brings it to the exception that a user catches."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from tocsin.errors import ERRORS, ServerError, TocsinError, Violation

_DETAILS_KEY = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}

#: How gRPC words that it has no connection to send a call over; it has no other sign for it.
_NEVER_SENT = ("failed to connect to all addresses", "DNS resolution failed", "Name resolution failure")


def from_rpc_error(error: grpc.aio.AioRpcError, where: str = "") -> TocsinError:
    """The exception for a call that gRPC says has failed, with the rich details of its trailing metadata. `where` says
    to whom it was made."""
    message = error.details() or ""
    rich = _rich_status(error)
    if rich is not None:
        return from_status(rich, code=error.code())
    never_sent = error.code() is grpc.StatusCode.UNAVAILABLE and any(words in message for words in _NEVER_SENT)
    if never_sent and where:
        hint = (
            "does the server speak TLS there?" if where.endswith("TLS") else "is it running, and is this its address?"
        )
        message = f"no server is reached at {where}: {hint} ({message})"
    elif error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and where:
        message = f"no answer from {where} in time"
    kind = ERRORS.get(error.code(), ServerError)
    return kind(message or error.code().name, status=error.code(), never_sent=never_sent)


def from_status(status: status_pb2.Status, *, code: grpc.StatusCode | None = None) -> TocsinError:
    """The exception for one refused item of a batch."""
    code = code or _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    reason, metadata, retry_after = "", {}, None
    violations: list[Violation] = []
    for detail in status.details:
        info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta()
        elif detail.Unpack(bad):
            violations += (Violation(found.field, found.description) for found in bad.field_violations)
    kind = ERRORS.get(code, ServerError)
    return kind(
        status.message or code.name,
        status=code,
        reason=reason,
        metadata=metadata,
        retry_after=retry_after,
        violations=tuple(violations),
    )


def _rich_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:  # not ours: some proxy's
                return None
    return None
