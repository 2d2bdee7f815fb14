"""Metadata beyond the limit is refused however it is cut into frames. Written by hand, as no client would."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import grpc
import pytest
from support.stubs import request
from tocsin.v1 import job_service_pb2 as pb
from unit.server.api.running_api import Api

DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
FRAME = 16_384
KIB = 1 << 10


def literal(name: str, value: str) -> bytes:
    """A header field without indexing (RFC 7541, 6.2.2), its texts as they are."""
    return b"\0" + b"".join(_length(len(text)) + text.encode() for text in (name, value))


def _length(number: int) -> bytes:
    if number < 127:
        return bytes([number])
    out, number = b"\x7f", number - 127
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def call(path: str, message: bytes, metadata: Iterable[tuple[str, str]]) -> bytes:
    """A whole call on stream 1, its header block cut into a HEADERS frame and CONTINUATION frames."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers")]
    block = b"".join(literal(*field) for field in [*fields, ("content-type", "application/grpc"), *metadata])
    first, *more = (block[at : at + FRAME] for at in range(0, len(block), FRAME))
    frames = [frame(HEADERS, 0, 1, first), *(frame(CONTINUATION, 0, 1, part) for part in more)]
    data = b"\0" + struct.pack(">I", len(message)) + message
    return b"".join([*frames, frame(CONTINUATION, END_HEADERS, 1), frame(DATA, END_STREAM, 1, data)])


@asynccontextmanager
async def connected(api: Api) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = api.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
    yield reader, writer
    writer.close()


async def until_answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Return when the call is over: by its trailers, by a reset of its stream, or with its connection."""
    while True:
        try:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        if kind == SETTINGS and not flags & ACK:
            writer.write(frame(SETTINGS, ACK, 0))
        if kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and stream == 1 and flags & END_STREAM):
            return


async def stands(api: Api, job_id: str) -> bool:
    code = await api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id=job_id)).code()
    return {grpc.StatusCode.OK: True, grpc.StatusCode.NOT_FOUND: False}[code]


@pytest.mark.parametrize(
    ("metadata", "acts"),
    [
        ([("a", "x" * 100)] * 80, True),
        ([("a", "x" * 10_000)] * 50, False),
        ([("a", "x" * 500 * KIB)], False),
        ([("a", "x" * 100)] * 5_000, False),
    ],
    ids=["8 KB", "50 of 10 KB", "one of 500 KB", "5,000 of 100 B"],
)
async def test_half_a_megabyte_of_metadata_in_continuation_frames_is_refused(
    api: Api, metadata: list[tuple[str, str]], acts: bool
) -> None:
    message = request("q", "t", job_id="a", delay=60).SerializeToString()
    async with connected(api) as (reader, writer):
        writer.write(call("/tocsin.v1.JobService/ScheduleJob", message, metadata))
        await asyncio.wait_for(until_answered(reader, writer), 20)
    assert await stands(api, "a") is acts
