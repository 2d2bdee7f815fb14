"""The fields of a message, read from its bytes without making anything of them; and what fields begin with."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor

#: Wire types. A LENGTH is a text, bytes, a message, or numbers side by side.
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

_LONGEST_VARINT = 10


class Broken(Exception):
    """The bytes are no message: cut off, or not of this format."""


def fields_of(raw: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, and where the value begins and ends, of each field between `at` and `end`. Broken.

    Groups are taken for broken: no message of ours has any.
    """
    try:
        while at < end:
            key = raw[at]
            at += 1
            if key > 0x7F:
                key, at = _varint(raw, at - 1)
            wire_type = key & 7
            start = at
            if wire_type == LENGTH:
                size = raw[at]
                start = at = at + 1
                if size > 0x7F:
                    size, start = _varint(raw, at - 1)
                at = start + size
            elif wire_type == VARINT:
                while raw[at] > 0x7F:
                    at += 1
                    if at - start >= _LONGEST_VARINT:
                        raise Broken
                at += 1
            elif wire_type == FIXED64:
                at += 8
            elif wire_type == FIXED32:
                at += 4
            else:
                raise Broken
            if at > end:
                raise Broken
            yield key >> 3, wire_type, start, at
    except IndexError:
        raise Broken from None


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    value = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Broken


def varint(value: int) -> bytes:
    """The bytes of a number that is not negative."""
    if value < len(_SMALL):
        return _SMALL[value]
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def tag(message: Descriptor, name: str) -> bytes:
    """What a text, bytes or message field begins with; its length and value follow."""
    return varint(message.fields_by_name[name].number << 3 | LENGTH)


_SMALL = [bytes([value]) for value in range(0x80)]
_SMALL += [bytes([value & 0x7F | 0x80, value >> 7]) for value in range(0x80, 1 << 12)]
