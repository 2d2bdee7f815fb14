"""google.protobuf.Struct from plain Python values, as its bytes on the wire: half the time that filling the message
takes, which is most of what a client spends on a job.

https://protobuf.dev/programming-guides/encoding: a field is its tag (number and wire type) and what it holds; lengths
are varints.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Mapping

#: The largest integer up to which a double holds every one.
MAX_INTEGER = 2**53

#: A Struct nested deeper than this is refused by protobuf parsers on the way.
MAX_DEPTH = 32

_NULL, _FALSE, _TRUE = b"\x08\x00", b"\x20\x00", b"\x20\x01"  # fields of Value: 1 null_value, 4 bool_value
_NUMBER = struct.Struct("<cd").pack  # 2 number_value
_SHORT = [bytes((length,)) for length in range(128)]


class CannotTravel(Exception):
    """A value that cannot travel, and where it stands: ".a[0].b", a part before each raise through a level."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what, self.path = what, ""

    def at(self, part: str) -> CannotTravel:
        """The same, one level further out."""
        self.path = part + self.path
        return self


def struct_bytes(data: Mapping[str, object], depth: int = MAX_DEPTH) -> bytes:
    """A Struct. Raises CannotTravel."""
    if depth == 0:
        raise CannotTravel(f"is nested more than {MAX_DEPTH} deep")
    parts: list[bytes] = []
    for key, value in data.items():
        if not isinstance(key, str):
            raise CannotTravel(f"has the key {key!r}; keys must be strings")
        head = _key_bytes(key)
        try:
            held = value_bytes(value, depth)
        except CannotTravel as refused:
            raise refused.at(f".{key}") from None
        size = len(held)
        entry = len(head) + 1 + size  # of the map: 1 key, 2 value
        if entry < 126:
            parts += (b"\x0a", _SHORT[entry + 1], head, b"\x12", _SHORT[size], held)
        else:
            length = _varint(size)
            parts += (b"\x0a", _varint(entry + len(length)), head, b"\x12", length, held)
    return b"".join(parts)


def value_bytes(value: object, depth: int) -> bytes:
    """A Value. Raises CannotTravel."""
    # bool before int: True is an int in Python.
    if isinstance(value, str):
        return b"\x1a" + _measured(_utf8(value))
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise CannotTravel(
                "is an integer above 2^53, which a number in JSON cannot hold exactly; "
                "send it as a string, or the whole payload as bytes (raw)"
            )
        return _NUMBER(b"\x11", value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CannotTravel(f"is {value}; only finite numbers can be sent")
        return _NUMBER(b"\x11", value)
    if isinstance(value, Mapping):
        return b"\x2a" + _measured(struct_bytes(value, depth - 1))
    if isinstance(value, list | tuple):
        return b"\x32" + _measured(_list_bytes(value, depth))
    raise CannotTravel(f"is a {type(value).__name__}; a payload holds None, bool, int, float, str, dict and list")


def _list_bytes(items: list[object] | tuple[object, ...], depth: int) -> bytes:
    if depth == 1:
        raise CannotTravel(f"is nested more than {MAX_DEPTH} deep")
    parts: list[bytes] = []
    for index, item in enumerate(items):
        try:
            parts += (b"\x0a", _measured(value_bytes(item, depth - 1)))
        except CannotTravel as refused:
            raise refused.at(f"[{index}]") from None
    return b"".join(parts)


@functools.lru_cache(maxsize=1024)
def _short_key_bytes(key: str) -> bytes:
    return b"\x0a" + _measured(_utf8(key))


def _key_bytes(key: str) -> bytes:
    # Keys of a program are few; those that are data, and may be long, are not to be kept.
    return _short_key_bytes(key) if len(key) <= 32 else b"\x0a" + _measured(_utf8(key))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise CannotTravel("holds half of a surrogate pair, which is not valid text") from None


def _measured(held: bytes) -> bytes:
    size = len(held)
    return (_SHORT[size] if size < 128 else _varint(size)) + held


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)
