"""Requests from the bytes that came: how many may be held at once, inflated here, bounded, and made into messages."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from tocsin_server.api.aside import aside
from tocsin_server.api.bounds import bounds
from tocsin_server.api.call_limits import CallLimits
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.unreadable import broken, violations
from tocsin_server.api.wire_fields import Broken
from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, TooLarge, TooManyBytes, Violation

_MessageT = TypeVar("_MessageT", bound=Message)

# What a gzip member begins with. No message does: the number of its first field would have wire type 7.
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31  # zlib's word for "a gzip header, and the largest window"

#: Bytes of a call's metadata, counted as HTTP/2 does, where nothing else is said.
METADATA_BYTES = 32 << 10
_AROUND_ENTRY = 32  # counted of each entry beside its name and value


def check_metadata(metadata: Iterable[tuple[str, str | bytes]], most: int = METADATA_BYTES) -> None:
    """TooLarge. grpc holds each frame to this limit, but a call's metadata may come in any number of them."""
    size = sum(len(name) + len(value) + _AROUND_ENTRY for name, value in metadata)
    if size > most:
        raise TooLarge("metadata", size, most)


#: So many bytes of requests under way at once are many; what they leave is given back so many seconds after,
#: once in that time at most.
_MUCH, _GIVE_BACK_AFTER = 16 << 20, 2.0
#: Of those that were many, so many are worth another time where they end later.
_STILL_SOME = 4 << 20


class RequestBytes:
    """How many bytes the requests under way have, compressed ones as they are and as they become; at most `most`, and
    of one client what the limits say.

    Shortly after there were many at once, the memory that they leave is given back to the system.
    """

    def __init__(self, most: int, limits: CallLimits | None = None) -> None:
        self._most = most
        self._limits = limits
        self._held = 0
        self._of_clients: Counter[str] = Counter()
        self._many, self._giving_back = False, False

    @contextmanager
    def held(self, size: int, call: Call | None = None) -> Iterator[None]:
        """So many more, of a call. TooManyBytes."""
        if self._held + size > self._most:
            raise TooManyBytes(self._most)
        client = None if self._limits is None or call is None else self._counted(call, size, self._limits)
        self._held += size
        self._many = self._many or self._held >= _MUCH
        try:
            yield
        finally:
            self._held -= size
            if client is not None:
                self._of_clients[client] -= size
                if not self._of_clients[client]:
                    del self._of_clients[client]
            if self._many and self._held < _MUCH and not self._giving_back:
                self._giving_back = True
                asyncio.get_running_loop().call_later(_GIVE_BACK_AFTER, self._give_back)

    def _counted(self, call: Call, size: int, limits: CallLimits) -> str | None:
        """The client, whose bytes these are now; None where it has no limit. TooManyBytes."""
        most = limits.request_bytes_per_client
        if call.principal is not None:
            most = call.principal.limits.request_bytes or most
        if most is None or limits.is_exempt(client := call.client):
            return None
        if self._of_clients[client] + size > most:
            raise TooManyBytes(most, of_client=True)
        self._of_clients[client] += size
        return client

    def _give_back(self) -> None:
        # Where some of them are under way still, and no further one comes, their end must lead here again.
        self._many, self._giving_back = self._held >= _STILL_SOME, False
        loop = asyncio.get_running_loop()
        # What goes with the last of them, their answers, say, may be freed a little later, or more than that.
        for times in range(3):
            loop.call_later(times * _GIVE_BACK_AFTER, loop.run_in_executor, None, _give_memory_back)


def _give_memory_back() -> None:
    """C's library keeps what was freed for its next use, and what is left in between keeps it from being returned: of
    twenty batches of 16 MiB at once a server kept 620 MiB. Takes some milliseconds."""
    gc.collect()  # a server looks for rings rarely by itself, and requests may hang in some
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):  # musl has a library of another kind
            libc.malloc_trim(0)


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
