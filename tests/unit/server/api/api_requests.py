"""Requests for the tests of validation: read as the server reads them, and made of anything at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api import wire
from tocsin_server.domain.errors import InvalidFields

SHADOWED = {kind.__name__ for kind in vars(pb).values() if isinstance(kind, type)}


def as_read(request: Message) -> Any:
    """The request as the server reads it: with payload bytes where it is one of JobService."""
    kind = wire.shadow(type(request)) if type(request).__name__ in SHADOWED else type(request)
    return kind.FromString(request.SerializeToString())


def violations(check: Callable[[Any], None], request: Message) -> dict[str, str]:
    """What is wrong: path to description."""
    with pytest.raises(InvalidFields) as caught:
        check(as_read(request))
    return {v.field: v.description for v in caught.value.violations}


_TEXTS = (
    st.sampled_from(["", "q", "schedule_time", "payload", "type_defaults.x", "ada@example.com", "a" * 101])
    | st.text(max_size=20)
    | st.text(alphabet="\x00\r\n{}:\u202e\U0001f600é", max_size=210)
)
_INT32 = st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31), 10_001, 7]) | st.integers(-(2**31), 2**31 - 1)
_INT64 = st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), 253_402_300_799, 253_402_300_800]) | st.integers(
    -(2**63), 2**63 - 1
)
_BY_TYPE: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: _TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=40),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_ENUM: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
}


@st.composite
def anything(draw: st.DrawFn, kind: type[Message], depth: int = 6) -> Message:
    """A message of this class with any values in any of its fields."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        _fill(draw, message, field, depth)
    return message


def _fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    value = getattr(message, field.name)
    times = draw(st.integers(0, 3)) if field.is_repeated else 1
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    for _ in range(times):
        if is_map:
            key = draw(_TEXTS)
            inner = field.message_type.fields_by_name["value"]
            if inner.message_type is None:
                value[key] = draw(_BY_TYPE[inner.type])
            elif depth:
                value[key].CopyFrom(draw(anything(inner.message_type._concrete_class, depth - 1)))
        elif field.message_type is not None:
            if depth:
                made = draw(anything(field.message_type._concrete_class, depth - 1))
                value.append(made) if field.is_repeated else value.CopyFrom(made)
        elif field.is_repeated:
            value.append(draw(_BY_TYPE[field.type]))
        else:
            setattr(message, field.name, draw(_BY_TYPE[field.type]))
