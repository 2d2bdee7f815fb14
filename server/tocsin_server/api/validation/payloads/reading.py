"""Payloads read as they will be read: not too deep, and without NaN and infinity."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, cast

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from tocsin.v1 import job_pb2, job_service_pb2

from tocsin_server.api.validation.violations import Violations
from tocsin_server.api.wire import PAYLOAD_FIELDS

_SPEC_FIELDS = job_pb2.JobSpec.DESCRIPTOR.fields_by_name

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


def check_finite(wrong: Violations, path: str, message: Message, body: bytes) -> None:
    """Refuse NaN and infinity in the Structs of a message that was read from `body`."""
    if not _NOT_FINITE.search(body):
        return
    if isinstance(message, Struct):
        roots = [(path, message)]
    else:
        roots = [(f"{path}.{field.name}", value) for field, value in message.ListFields() if isinstance(value, Struct)]
    for root, struct in roots:
        for at, number in _numbers(root, struct):
            if not math.isfinite(number):
                wrong.add(at, f"is {number}: NaN and infinity are refused, JSON has no word for them")


def _numbers(path: str, root: Struct) -> Iterator[tuple[str, float]]:
    """All numbers with their paths, without recursion."""
    left: list[tuple[str, Struct | ListValue | Value]] = [(path, root)]
    while left:
        at, node = left.pop()
        if isinstance(node, Struct):
            left += [(f"{at}.{key[:100]}", value) for key, value in node.fields.items()]
        elif isinstance(node, ListValue):
            left += [(f"{at}[{i}]", value) for i, value in enumerate(node.values)]
        elif (kind := node.WhichOneof("kind")) == "number_value":
            yield at, node.number_value
        elif kind == "struct_value":
            left.append((at, node.struct_value))
        elif kind == "list_value":
            left.append((at, node.list_value))
