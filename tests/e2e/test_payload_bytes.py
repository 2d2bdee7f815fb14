"""A payload comes back as the bytes that came: never re-encoded, whatever is in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.servers import Server
from support.stubs import Stubs, request
from tocsin.v1 import job_pb2, job_service_pb2


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number: int, body: bytes) -> bytes:
    """A length-delimited field on the wire."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and body of each length-delimited field of a message; others are passed over."""

    def read(at: int) -> tuple[int, int]:
        number = shift = 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number, at

    at = 0
    while at < len(message):
        tag, at = read(at)
        if tag & 7 == 2:
            size, at = read(at)
            yield tag >> 3, message[at : at + size]
            at += size
        elif tag & 7 == 0:
            _, at = read(at)
        else:
            at += {1: 8, 5: 4}[tag & 7]


def one(message: bytes, *path: int) -> bytes:
    """The field at a path of numbers."""
    for number in path:
        [message] = [body for found, body in fields(message) if found == number]
    return message


def entry(key: str, number: float) -> bytes:
    """One entry of a Struct's map, as a client of another language may write it."""
    import struct

    return field(1, field(1, key.encode()) + field(2, b"\x11" + struct.pack("<d", number)))


UNSORTED_STRUCT = entry("zebra", 1) + entry("ant", 2) + entry("mole", 3)
UNKNOWN_FIELD = (
    field(1, b"ada@example.com") + field(6, b"Hello") + field(7, b"Hi Ada") + field(1999, b"from a later version")
)
NOT_CANONICAL = field(2, b"body first") + field(1, b"text/plain")  # fields out of order, as some encoders write
PAYLOADS = {
    "a Struct with unsorted keys": (10, "resize_image", UNSORTED_STRUCT),
    "a typed payload with an unknown field": (12, "", UNKNOWN_FIELD),
    "raw bytes with its fields out of order": (11, "resize_image", NOT_CANONICAL),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_comes_back_byte_for_byte(shared_server: Server, stubs: Stubs, queue: str, name: str) -> None:
    kind, type_, payload = PAYLOADS[name]
    spec = field(1, queue.encode()) + (field(2, type_.encode()) if type_ else b"") + field(kind, payload)
    asked = field(1, spec) + field(2, b"bytes") + field(4, b"\x08\x80\xa3\x05")  # delay 86,400 s

    raw_schedule = stubs.channel.unary_unary("/tocsin.v1.JobService/ScheduleJob")
    raw_get = stubs.channel.unary_unary("/tocsin.v1.JobService/GetJob")
    scheduled = raw_schedule(asked)
    got = raw_get(job_service_pb2.GetJobRequest(queue=queue, job_id="bytes").SerializeToString())

    assert one(got, 1, 3, kind) == payload  # GetJobResponse.job.spec.payload
    assert kind not in [number for number, _ in fields(one(scheduled, 1, 3))]  # BASIC has none
    assert payload not in job_pb2.JobSpec.FromString(spec).SerializeToString(deterministic=True) or kind == 12


def test_an_empty_payload_is_still_a_payload(stubs: Stubs, queue: str) -> None:
    stubs.schedule(queue, "resize_image", {}, job_id="empty", delay=3600)
    stubs.schedule(queue, "resize_image", job_id="none", delay=3600)
    assert stubs.get(queue, "empty").spec.WhichOneof("payload") == "data"
    assert stubs.get(queue, "none").spec.WhichOneof("payload") is None


def test_a_payload_of_a_list_page_in_full_view_is_the_same(stubs: Stubs, queue: str) -> None:
    stubs.jobs.ScheduleJob(request(queue, "resize_image", {"path": "a.png"}, delay=3600))
    [basic] = stubs.list(queue)
    [full] = stubs.list(queue, view=job_pb2.Job.FULL)
    assert basic.spec.WhichOneof("payload") is None
    assert dict(full.spec.data) == {"path": "a.png"}
