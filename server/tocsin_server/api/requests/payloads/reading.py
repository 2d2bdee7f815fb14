"""Payloads read as they will be read: not too deep, and without NaN and infinity."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct
from tocsin.v1 import job_pb2, job_service_pb2

from tocsin_server.api.requests.violations import MOST, Violations
from tocsin_server.api.wire import PAYLOAD_FIELDS
from tocsin_server.api.wire_fields import fields_of

_SPEC_FIELDS = job_pb2.JobSpec.DESCRIPTOR.fields_by_name
_DATA = job_pb2.JobSpec.DATA_FIELD_NUMBER

# A double whose exponent is all ones (NaN, infinity) ends in these bytes. Rare in anything else, so that payloads
# without one are not walked.
_NOT_FINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")
# Shorter bytes cannot be nested too deep: a level of a Struct takes 8 bytes at least.
_DEEP_BYTES = 200


def read(kind: int, body: bytes) -> Message:
    """The message in the payload field of number `kind`. DecodeError where it is broken or nested too deep."""
    field = _SPEC_FIELDS[PAYLOAD_FIELDS[kind]]
    if len(body) <= _DEEP_BYTES:
        # _concrete_class is what message_factory would look up; it is not in the stubs.
        return cast(Message, cast(Any, field.message_type)._concrete_class.FromString(body))
    # Protobuf reads 100 levels. Read it as deep inside an answer as it will ever stand, so that whoever gets it can.
    wrapped = body
    for number in (kind, *_ANSWER_PATH):
        wrapped = _varint(number << 3 | 2) + _varint(len(wrapped)) + wrapped
    answer = job_service_pb2.BatchScheduleJobsResponse.FromString(wrapped)
    return cast(Message, getattr(answer.results[0].response.job.spec, field.name))


#: Numbers of spec, job, response and results, from the inside out.
_ANSWER_PATH = (
    job_pb2.Job.SPEC_FIELD_NUMBER,
    job_service_pb2.ScheduleJobResponse.JOB_FIELD_NUMBER,
    job_service_pb2.BatchScheduleJobsResponse.Result.RESPONSE_FIELD_NUMBER,
    job_service_pb2.BatchScheduleJobsResponse.RESULTS_FIELD_NUMBER,
)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def is_readable_struct(body: bytes) -> bool:
    """Whether the bytes are a Struct that is not nested too deep."""
    try:
        Struct.FromString(body) if len(body) <= _DEEP_BYTES else read(_DATA, body)
    except DecodeError:
        return False
    return True


def all_finite(body: bytes) -> bool:
    """False where a number in the bytes may be NaN or infinite; check_finite then knows."""
    # To look for single bytes takes a tenth of the expression's time.
    return (b"\x7f" not in body and b"\xff" not in body) or _NOT_FINITE.search(body) is None


def check_finite(wrong: Violations, path: str, message: Message, body: bytes) -> None:
    """Refuse NaN and infinity in the Structs of a message that was read from `body`. At most MOST of them are named."""
    if not all_finite(body):
        found = _not_finite(body, 0, len(body), path, cast(Descriptor, message.DESCRIPTOR))
        for at, number in islice(found, MOST):
            wrong.add(at, f"is {number}: NaN and infinity are refused, JSON has no word for them")


def _not_finite(body: bytes, start: int, end: int, at: str, of: Descriptor) -> Iterator[tuple[str, float]]:
    """Numbers of a readable message that are not finite, with their paths.

    Found on the bytes, by going only where suspicious ones are: to make objects of a million numbers takes seconds.
    """
    suspect = _next_suspect(body, start, end)
    for index, (number, _, where, stop) in enumerate(fields_of(body, start, end)):
        if stop <= suspect:
            continue
        if suspect < where:
            suspect = _next_suspect(body, where, end)
            if stop <= suspect:
                continue
        field = of.fields_by_number.get(number)
        if field is None:
            continue
        if field.full_name == _NUMBER:
            (value,) = _DOUBLE.unpack_from(body, where)
            if not math.isfinite(value):
                yield at, value
        elif (inside := field.message_type) is not None and inside.full_name in _STRUCTS:
            yield from _not_finite(body, where, stop, _below(body, at, field, index, where, stop), inside)


def _next_suspect(body: bytes, start: int, end: int) -> int:
    found = _NOT_FINITE.search(body, start, end)
    return end if found is None else found.start()


def _below(body: bytes, at: str, field: FieldDescriptor, index: int, start: int, end: int) -> str:
    """The path as JSON has it: of a list's entry, of a key's value; a Value and what it holds have the same."""
    if field.full_name == "google.protobuf.ListValue.values":
        return f"{at}[{index}]"
    if field.full_name == "google.protobuf.Struct.fields":
        key = next((body[where:stop] for number, _, where, stop in fields_of(body, start, end) if number == 1), b"")
        return f"{at}.{key.decode(errors='replace')[:100]}"
    return at if field.full_name.startswith("google.protobuf.") else f"{at}.{field.name}"


_DOUBLE = struct.Struct("<d")
_NUMBER = "google.protobuf.Value.number_value"
_STRUCTS = {f"google.protobuf.{name}" for name in ("Struct", "Struct.FieldsEntry", "ListValue", "Value")}
