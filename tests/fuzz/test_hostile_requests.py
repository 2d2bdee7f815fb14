"""Requests of any bytes, large ones too: each ends for a reason, and a job beside them is run once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import State, Stubs

from fuzz.test_any_request import ALLOWED, RPCS

LEASE = {"TOCSIN_LEASE__DURATION": "3s"}
#: What a hostile request repeats: fields, texts that are none, groups, numbers too long, plain bytes.
_PIECES = [
    b"\x0a\x00",
    b"\x12\x00",
    b"\x1a\x01\xff",
    b"\x10\x01",
    b"\x0b",
    b"\x0a\x03\x12\x01\xff",
    b"\x2a\x02\x0a\x00",
]
_MOST_GROWTH = 150 << 20


def hostile(choice: random.Random) -> bytes:
    """Small as a rule; one in fifty has megabytes."""
    times = choice.choice([0, 1, 3, 50]) if choice.random() < 0.98 else choice.choice([100_000, 2_000_000])
    piece = choice.choice([*_PIECES, choice.randbytes(5)])
    raw = piece * times + choice.randbytes(choice.randrange(4))
    return raw if choice.random() < 0.5 else b"\x0a" + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


class _Left:
    """A stream that was good, and that we left as soon as it stood."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    def details(self) -> str:
        return ""


def ended(channel: grpc.Channel, rpc: Any, choice: random.Random) -> Any:
    """A call with hostile bytes, after its end: one request, or some in a stream. A watch that stands is left."""
    path = f"/{rpc.containing_service.full_name}/{rpc.name}"
    if rpc.client_streaming:
        some = [hostile(choice) for _ in range(choice.randrange(4))]
        call = channel.stream_unary(path).future(iter(some), timeout=60)
    elif rpc.server_streaming:
        call = channel.unary_stream(path)(hostile(choice), timeout=60)
        call.initial_metadata()  # once the server has taken it, or refused it
        if call.is_active() and call.cancel():
            return _Left()
    else:
        call = channel.unary_unary(path).future(hostile(choice), timeout=60)
    return call


@pytest.mark.parametrize("requests", [600, pytest.param(10_000, marks=[pytest.mark.full, pytest.mark.timeout(1800)])])
def test_hostile_requests_end_for_a_reason_in_flat_memory_beside_a_job_that_is_run_once(
    tmp_path: Path, serve: Callable[..., Server], journal: Journal, requests: int
) -> None:
    choice = random.Random(requests)
    with RedisBackend(tmp_path / "redis") as redis:
        server = serve(redis.url, handlers="support.jobs.uncollected", **LEASE, **journal.env)
        options = [("grpc.default_compression_algorithm", 2)]
        with Stubs(server.address) as stubs, grpc.insecure_channel(server.address, options=options) as channel:
            seconds = requests / 60
            stubs.schedule("work", "steady", {"seconds": seconds}, job_id="a")
            before = 0
            seen: Counter[str] = Counter()
            for number in range(requests):
                rpc = choice.choice(RPCS)
                call = ended(channel, rpc, choice)
                seen[rpc.name] += call.code() is not grpc.StatusCode.OK
                assert call.code() in {*ALLOWED, grpc.StatusCode.OK}, (rpc.name, call.code(), call.details())
                if number == requests // 5:
                    before = resident(server.pid)
            assert resident(server.pid) - before < _MOST_GROWTH
            assert {"WatchJobs", "ExportJobs", "ImportJobs"} <= set(seen), "no stream was refused"
            job = stubs.wait_for("work", "a", State.COMPLETED, within=seconds + 30)
    assert (job.attempt, job.crashes) == (1, 0)
    assert journal.starts() == {"a": 1}
