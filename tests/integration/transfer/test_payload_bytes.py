"""Payloads and results come out of a move as the bytes that came in, whatever is in them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import Stubs
from tocsin.v1 import following_pb2

from integration.transfer.conftest import Tocsin


def field(number: int, body: bytes) -> bytes:
    """A length-delimited field on the wire, of less than 16,384 bytes."""
    tag = bytes([number << 3 & 0x7F | 2 | (0x80 if number > 15 else 0)]) + (
        bytes([number >> 4]) if number > 15 else b""
    )
    size = bytes([len(body)]) if len(body) < 0x80 else bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
    return tag + size + body


def entry(key: str, number: float) -> bytes:
    """One entry of a Struct's map, as a client of another language may write it."""
    return field(1, field(1, key.encode()) + field(2, b"\x11" + struct.pack("<d", number)))


UNSORTED = entry("zebra", 1) + entry("ant", 2) + entry("mole", 3) + entry("ant", 4)
UNKNOWN = field(1, b"ada@example.com") + field(6, b"Hello") + field(7, b"Hi Ada") + field(1999, b"from a later version")
OUT_OF_ORDER = field(2, b"body first \0\xff") + field(1, b"text/plain")
PAYLOADS = {
    "unsorted": (10, "resize_image", UNSORTED),
    "unknown": (12, "", UNKNOWN),
    "out-of-order": (11, "resize_image", OUT_OF_ORDER),
    "empty": (10, "resize_image", b""),
}


def schedule(stubs: Stubs) -> None:
    for job_id, (kind, type_, payload) in PAYLOADS.items():
        spec = field(1, b"q") + (field(2, type_.encode()) if type_ else b"") + field(kind, payload)
        asked = field(1, spec) + field(2, job_id.encode()) + field(4, b"\x08\x80\xa3\x05")  # delay 86,400 s
        stubs.channel.unary_unary("/tocsin.v1.JobService/ScheduleJob")(asked)


def shown(stubs: Stubs, job_id: str) -> bytes:
    """The job in view FULL, in bytes. GetJob would say, besides, how long it is until it is due."""
    asked = following_pb2.WaitJobRequest(queue="q", job_id=job_id)
    asked.wait.SetInParent()
    answer: bytes = stubs.channel.unary_unary("/tocsin.v1.JobService/WaitJob")(asked.SerializeToString())
    return answer


def test_the_bytes_are_the_same_after_two_moves(
    redis: RedisBackend, mongo_database: MongoBackend, serve: Callable[..., Server], tocsin: Tocsin, tmp_path: Path
) -> None:
    """From one store into the other and, through a packed file, back into an empty one."""
    with RedisBackend(tmp_path / "third") as third:
        servers = [serve(store.url, "--no-dispatch") for store in (redis, mongo_database, third)]
        with Stubs(servers[0].address) as stubs:
            schedule(stubs)
            before = {job_id: shown(stubs, job_id) for job_id in PAYLOADS}
        for job_id, (kind, _, payload) in PAYLOADS.items():
            assert field(kind, payload) in before[job_id]
        for name, here, there in (("a.jsonl", *servers[:2]), ("b.jsonl.gz", *servers[1:])):
            assert tocsin("export", name, server=here).returncode == 0
            assert tocsin("import", name, server=there).returncode == 0
        with Stubs(servers[2].address) as stubs:
            assert {job_id: shown(stubs, job_id) for job_id in PAYLOADS} == before
