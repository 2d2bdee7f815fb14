"""Requests from the bytes that came: how many may be held at once, inflated here, bounded, and made into messages."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from tocsin_server.api.aside import aside
from tocsin_server.api.bounds import bounds
from tocsin_server.api.unreadable import broken, violations
from tocsin_server.api.wire_fields import Broken
from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, TooLarge, TooManyBytes, Violation

_MessageT = TypeVar("_MessageT", bound=Message)

# What a gzip member begins with. No message does: the number of its first field would have wire type 7.
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31  # zlib's word for "a gzip header, and the largest window"


#: Bytes of a call's metadata, counted as HTTP/2 does.
METADATA_BYTES = 32 << 10
_AROUND_ENTRY = 32  # counted of each entry beside its name and value


def check_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> None:
    """TooLarge. grpc holds each frame to this limit, but a call's metadata may come in any number of them."""
    size = sum(len(name) + len(value) + _AROUND_ENTRY for name, value in metadata)
    if size > METADATA_BYTES:
        raise TooLarge("metadata", size, METADATA_BYTES)


class RequestBytes:
    """How many bytes the requests under way have, compressed ones as they are and as they become; at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """So many more. TooManyBytes."""
        if self._held + size > self._most:
            raise TooManyBytes(self._most)
        self._held += size
        try:
            yield
        finally:
            self._held -= size


def weight(raw: bytes) -> int:
    """Bytes to hold for a request, inflated. TooLarge.

    grpc would inflate all requests as they arrive, before anything of ours is asked. So it is told to leave that.
    """
    if raw.startswith(_GZIP):
        return len(raw) + _bounded(_inflated_bytes(raw))
    return _bounded(len(raw))


def _inflated_bytes(raw: bytes) -> int:
    """By the word of the request itself, to which it is held."""
    return int.from_bytes(raw[-4:], "little")


def _bounded(size: int) -> int:
    if size > limits.REQUEST_BYTES:
        raise TooLarge("request", size, limits.REQUEST_BYTES)
    return size


async def inflated(raw: bytes) -> bytes:
    """The request as it was before it was compressed. InvalidFields where it does not inflate to what it says."""
    if not raw.startswith(_GZIP):
        return raw
    size = _bounded(_inflated_bytes(raw))
    return await aside(size, lambda: _inflate(raw, size))


def _inflate(raw: bytes, size: int) -> bytes:
    inflating = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = inflating.decompress(raw, size + 1)
    except zlib.error:
        plain = b""
    if len(plain) != size or not inflating.eof or inflating.unused_data:
        raise InvalidFields([Violation("request", "is compressed, and does not inflate to what it says")])
    return plain


def read(public: type[Message], as_read: type[_MessageT], raw: bytes) -> _MessageT:
    """The message in the bytes, of the class `as_read`; `public` is its public one. InvalidFields, TooLarge."""
    try:
        bounds(cast(Descriptor, public.DESCRIPTOR)).check(raw)
    except Broken:
        raise InvalidFields([broken(public)]) from None
    try:
        return as_read.FromString(raw)
    except DecodeError:
        raise InvalidFields(violations(public, raw)) from None
