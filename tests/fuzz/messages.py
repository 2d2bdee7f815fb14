"""Hypothesis strategies for any message, read from its descriptor: edge values, hostile strings, unknown fields."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

_F = FieldDescriptor
_INTS = {
    _F.TYPE_INT32: (-(2**31), 2**31 - 1),
    _F.TYPE_INT64: (-(2**63), 2**63 - 1),
    _F.TYPE_UINT32: (0, 2**32 - 1),
    _F.TYPE_UINT64: (0, 2**64 - 1),
}
_HOSTILE = [
    "",
    "\0",
    "a\0b",
    "{q}",
    "a:b",
    "\u202eabc",
    "\u200f",
    "\U0001f514" * 200,
    "x" * 1_000,
    "x" * 65_536,
    "\r\n",
]
_NAMES = ["default", "noop", "email_notification", "fuzz", "standing", "ada@example.com", "create_time desc", "payload"]
_DEPTH = 4

strings = st.one_of(st.sampled_from(_NAMES), st.sampled_from(_HOSTILE), st.text(max_size=12))
doubles = st.one_of(st.floats(0, 1), st.floats(), st.sampled_from([float("nan"), float("inf"), -0.0, 2.0**53 + 2]))
seconds = st.sampled_from([0, 1, 3600, -1, 2**31, 253_402_300_799, 253_402_300_800, -62_135_596_800, 2**63 - 1])
nanos = st.sampled_from([0, 1, 999_999_999, -1, 1_000_000_000, -(2**31)])
#: A few fields that no version knows: a varint, bytes, a fixed64.
unknown = st.lists(
    st.sampled_from([b"\xf8\x7d\x01", b"\xfa\x7d\x03abc", b"\xf9\x7d" + bytes(8), b"\xfa\x7d\x00"]), max_size=2
).map(b"".join)


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type in _INTS:
        low, high = _INTS[field.type]
        return st.one_of(st.integers(max(low, -2), 3), st.sampled_from([low, high]), st.integers(low, high))
    match field.type:
        case _F.TYPE_BOOL:
            return st.booleans()
        case _F.TYPE_DOUBLE:
            return doubles
        case _F.TYPE_STRING:
            return strings
        case _F.TYPE_BYTES:
            return st.binary(max_size=20)
        case _F.TYPE_ENUM:
            known = [value.number for value in field.enum_type.values]
            return st.one_of(st.sampled_from(known), st.sampled_from([99, -1, 2**31 - 1]))
    raise AssertionError(f"no strategy for {field.full_name}")


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = _DEPTH) -> Message:
    """Any message of this kind: each field absent or present, at most one of a oneof."""
    message = message_factory.GetMessageClass(descriptor)()
    if descriptor.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        message.seconds, message.nanos = draw(seconds), draw(nanos)  # type: ignore[attr-defined]  # both have them
        return message
    taken = {draw(st.sampled_from(oneof.fields)).name for oneof in descriptor.oneofs if draw(st.booleans())}
    for field in descriptor.fields:
        wanted = field.name in taken if field.containing_oneof else draw(st.integers(0, 2)) > 0
        if wanted:
            _fill(draw, message, field, depth)
    if extra := draw(unknown):
        message.MergeFromString(extra)
    return message


def _fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is None:
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(_scalar(field), max_size=3)))
        else:
            setattr(message, field.name, draw(_scalar(field)))
    elif depth == 0:
        return
    elif field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        entries = getattr(message, field.name)
        for key in draw(st.lists(strings, max_size=2)):
            if value.message_type is None:
                entries[key] = draw(_scalar(value))
            else:
                entries[key].CopyFrom(draw(messages(value.message_type, depth - 1)))
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(messages(field.message_type, depth - 1), max_size=2)))
    else:
        getattr(message, field.name).CopyFrom(draw(messages(field.message_type, depth - 1)))


def descriptor(full_name: str) -> Descriptor:
    """The descriptor of a message by its full name."""
    return descriptor_pool.Default().FindMessageTypeByName(full_name)
