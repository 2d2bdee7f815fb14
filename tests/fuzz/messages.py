"""Hypothesis strategies for any message, read from its descriptor: edge values, hostile strings, unknown fields.

Half of the messages are tame, which is what gets past validation and into the store: likely values, with a wild one now
and then. The others are wild throughout.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
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
_NAMES = ["fuzz", "default", "noop", "standing", "ada@example.com"]
_ODD = [
    "",
    "\0",
    "a\0b",
    "{q}",
    "a:b",
    "\u202eab",
    "\u200f",
    "\U0001f514" * 200,
    "x" * 1_000,
    "x" * 65_536,
    "\r\n",
    "é",
]
_DEPTH = 4

_names = st.sampled_from(_NAMES)
_strings = st.one_of(st.sampled_from(_ODD), _names, st.text(max_size=12))
_doubles = st.one_of(st.floats(), st.sampled_from([float("nan"), float("inf"), -0.0, 2.0**53 + 2]))
_seconds = st.sampled_from([-1, 0, 2**31, 253_402_300_799, 253_402_300_800, -62_135_596_800, 2**63 - 1])
_nanos = st.sampled_from([0, 999_999_999, -1, 1_000_000_000, -(2**31)])
#: A few fields that no version knows: a varint, bytes, a fixed64.
_unknown = st.lists(
    st.sampled_from([b"\xf8\x7d\x01", b"\xfa\x7d\x03abc", b"\xf9\x7d" + bytes(8), b"\xfa\x7d\x00"]), max_size=2
).map(b"".join)


def _scalar(field: FieldDescriptor, tame: bool) -> st.SearchStrategy[Any]:
    if field.type in _INTS:
        low, high = _INTS[field.type]
        wild = st.one_of(st.integers(max(low, -2), 0), st.sampled_from([low, high]), st.integers(low, high))
        return st.integers(1, 3) if tame else wild
    match field.type:
        case _F.TYPE_BOOL:
            return st.booleans()
        case _F.TYPE_DOUBLE:
            return st.floats(0, 1) if tame else _doubles
        case _F.TYPE_STRING:
            return _names if tame else _strings
        case _F.TYPE_BYTES:
            return st.binary(max_size=20)
        case _F.TYPE_ENUM:
            known = [value.number for value in field.enum_type.values]
            return st.sampled_from(known[1:] or known if tame else [*known, 99, -1, 2**31 - 1])
    raise AssertionError(f"no strategy for {field.full_name}")


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = _DEPTH, tame: bool | None = None) -> Message:
    """Any message of this kind: each field absent or present, at most one of a oneof."""
    if tame is None:
        tame = draw(st.booleans())
    message = message_factory.GetMessageClass(descriptor)()
    if descriptor.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        message.seconds = draw(_calm(draw, tame, st.sampled_from([3600, 4_000_000]), _seconds))  # type: ignore[attr-defined]  # both have them
        message.nanos = draw(_calm(draw, tame, st.just(1), _nanos))  # type: ignore[attr-defined]
        return message
    taken = {draw(st.sampled_from(list(oneof.fields))).name for oneof in descriptor.oneofs if draw(st.booleans())}
    for field in descriptor.fields:
        likely = 1 if tame else 2  # of 3
        wanted = field.name in taken if field.containing_oneof else draw(st.integers(0, 2)) < likely
        if wanted or field.name in ("job", "job_id", "type"):
            _fill(draw, message, field, depth, tame)
    if extra := draw(_unknown):
        message.MergeFromString(extra)
    return message


def _calm(
    draw: st.DrawFn, tame: bool, likely: st.SearchStrategy[Any], wild: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """The likely values of a tame message, but for one in thirty."""
    return likely if tame and draw(st.integers(0, 29)) else wild


def _fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int, tame: bool) -> None:
    def scalar(one: FieldDescriptor) -> st.SearchStrategy[Any]:
        return _calm(draw, tame, _scalar(one, True), _scalar(one, False))

    if field.message_type is None:
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(scalar(field), min_size=1, max_size=3)))
        else:
            setattr(message, field.name, draw(scalar(field)))
    elif depth == 0:
        return
    elif field.message_type.GetOptions().map_entry:
        key_field, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        entries = getattr(message, field.name)
        for key in draw(st.lists(scalar(key_field), max_size=2)):
            if value.message_type is None:
                entries[key] = draw(scalar(value))
            else:
                entries[key].CopyFrom(draw(messages(value.message_type, depth - 1, tame)))
    elif field.is_repeated:
        found = draw(st.lists(messages(field.message_type, depth - 1, tame), min_size=1, max_size=2))
        getattr(message, field.name).extend(found)
    else:
        getattr(message, field.name).CopyFrom(draw(messages(field.message_type, depth - 1, tame)))
