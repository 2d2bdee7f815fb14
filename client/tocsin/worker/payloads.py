"""What a handler is given and what it returns, as the wire has them."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from tocsin.errors import InvalidArgument
from tocsin.payloads import DecodedPayload, decode_payload, value_from_python
from tocsin.v1 import job_pb2, payloads_pb2
from tocsin.worker.errors import UnfitPayload, UnfitResult

#: CONTRACT: a result is at most this long, serialized.
RESULT_BYTES = 256 << 10


def read_payload(kind: int, body: bytes) -> DecodedPayload:
    """The payload whose field in tocsin.v1.JobSpec has the number `kind` (0: None). Raises UnfitPayload."""
    try:
        return decode_payload(kind, body)
    except (ValueError, DecodeError) as error:
        raise UnfitPayload(f"the payload cannot be read: {error}") from error


def encode_result(value: object) -> bytes | None:
    """A serialized tocsin.v1.Result of what a handler returned: None, anything JSON can say, bytes, or RawPayload.

    Raises UnfitResult where it is longer than 256 KiB, holds NaN, infinity or an integer above 2^53, is nested more
    than 32 deep, or is of another type.
    """
    if value is None:
        return None
    result = job_pb2.Result()
    if isinstance(value, bytes | bytearray | memoryview):
        result.raw.body = bytes(value)
    elif isinstance(value, payloads_pb2.RawPayload):
        result.raw.CopyFrom(value)
    else:
        try:
            result.data.CopyFrom(value_from_python(value, "result"))
        except InvalidArgument as error:
            raise UnfitResult(f"the handler's result cannot be kept: {_why(error)}") from error
    encoded = result.SerializeToString()
    if len(encoded) > RESULT_BYTES:
        raise UnfitResult(
            f"the handler's result has {len(encoded):,} bytes and at most {RESULT_BYTES:,} are kept: "
            "put it elsewhere and return where it is"
        )
    return encoded


def _why(error: InvalidArgument) -> str:
    return "; ".join(f"{violation.field} {violation.description}" for violation in error.violations)
