"""What one client can do to a server by small requests: others are answered meanwhile, a job that runs keeps its lease,
and the memory stays bounded. Each script is one that once stopped a server."""

from __future__ import annotations

import contextlib
import logging
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import State, Stubs, request
from tocsin.v1 import job_service_pb2 as pb

logger = logging.getLogger(__name__)

MIB = 1 << 20
JOBS = "/tocsin.v1.JobService/"
Script = Callable[[str], None]


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def number_of(message: str, name: str) -> int:
    return int(pb.DESCRIPTOR.message_types_by_name[message].fields_by_name[name].number)


#: Requests of megabytes whose gzip has some kilobytes, and what they are sent to.
LARGE = {
    "states": ("ListJobs", field(number_of("ListJobsRequest", "states"), b"\x01" * (15 * MIB))),
    "wrong states": ("ListJobs", field(number_of("ListJobsRequest", "states"), b"\x7f" * (15 * MIB))),
    "types that are no text": ("ListJobs", field(number_of("ListJobsRequest", "types"), b"\xff") * (5 * MIB)),
    "empty items": ("BatchScheduleJobs", b"\x0a\x00" * (8 * MIB)),
    "broken items": ("BatchScheduleJobs", b"\x0a\x05\x12\x03\xff\xff\xff" * (2 * MIB)),
    "ids": ("BatchCancelJobs", field(number_of("BatchCancelJobsRequest", "job_ids"), b"") * (8 * MIB)),
    "a struct of nulls": (
        "ScheduleJob",
        field(1, field(2, b"t") + field(4, field(1, b"\x0a\x00\x12\x02\x08\x00") * MIB)),
    ),
}


def large_requests(address: str) -> None:
    """Each of them ten times, four at once."""
    options = [("grpc.default_compression_algorithm", 2)]
    with grpc.insecure_channel(address, options=options) as channel, ThreadPoolExecutor(4) as pool:
        calls = [channel.unary_unary(JOBS + method) for method, _ in LARGE.values() for _ in range(10)]
        bodies = [body for _, body in LARGE.values() for _ in range(10)]

        def send(call: grpc.UnaryUnaryMultiCallable, body: bytes) -> None:
            with contextlib.suppress(grpc.RpcError):
                call(body, timeout=60)

        list(pool.map(send, calls, bodies))


def many_watches(address: str) -> None:
    """400 watches of queues that never were, and of one that is."""
    with Stubs(address) as stubs:
        watches = [stubs.jobs.WatchJobs(pb.WatchJobsRequest(queue=f"made-up-{number}")) for number in range(400)]
        with Stubs(address) as other:
            watch = other.jobs.WatchJobs(pb.WatchJobsRequest(queue="work", send_start=True), timeout=30)
            next(watch)  # another's watch stands
            watch.cancel()
        for watch in watches:
            watch.cancel()


def silent_imports(address: str) -> None:
    """32 imports that send nothing."""
    stop = threading.Event()

    def nothing() -> Iterator[bytes]:
        stop.wait(30)
        yield from ()

    with grpc.insecure_channel(address) as channel:
        calls = [channel.stream_unary(JOBS + "ImportJobs").future(nothing(), timeout=60) for _ in range(32)]
        try:
            with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as other:
                for call in calls[8:]:  # one client has 8 at most
                    with contextlib.suppress(grpc.RpcError):
                        call.result()
                other.unary_unary(JOBS + "ListJobs")(pb.ListJobsRequest().SerializeToString(), timeout=10)
        finally:
            stop.set()
            for call in calls:
                call.cancel()


def many_queues(address: str) -> None:
    """3,000 names of queues, by batches."""
    with Stubs(address) as stubs:
        for begin in range(0, 3_000, 1_000):
            items = [request(f"made-up-{begin + number}", "t", delay=86_400) for number in range(1_000)]
            stubs.jobs.BatchScheduleJobs(pb.BatchScheduleJobsRequest(requests=items), timeout=60)


def unknown_methods(address: str) -> None:
    """4,000 calls of methods whose names have 12,000 letters."""
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(8) as pool:
        call = channel.unary_unary("/tocsin.v1." + "x" * 12_000 + "/Y")

        def send(_: int) -> None:
            with contextlib.suppress(grpc.RpcError):
                call(b"", timeout=30)

        list(pool.map(send, range(4_000)))


SCRIPTS: list[Script] = [large_requests, many_watches, silent_imports, many_queues, unknown_methods]


class Probe(threading.Thread):
    """Asks for health all the time, over a connection of its own."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address, self._ending = address, threading.Event()
        self.took: list[float] = []
        self.failed: list[grpc.RpcError] = []

    def run(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._address, options=options) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while not self._ending.wait(0.02):
                began = time.monotonic()
                try:
                    health.Check(health_pb2.HealthCheckRequest(service="live"), timeout=10)
                except grpc.RpcError as error:
                    self.failed.append(error)
                self.took.append(time.monotonic() - began)

    def end(self) -> None:
        self._ending.set()
        self.join()


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
@pytest.mark.timeout(300)
def test_others_are_served_a_job_keeps_its_lease_and_memory_is_bounded(
    redis: RedisBackend,
    serve: Callable[..., Server],
    journal: Journal,
    script: Script,
) -> None:
    server = serve(redis.url, handlers="support.jobs.uncollected", TOCSIN_LEASE__DURATION="5s", **journal.env)
    with Stubs(server.address) as stubs:
        stubs.schedule("work", "steady", {"seconds": 15}, job_id="a")
        stubs.wait_for("work", "a", State.ACTIVE)
        before = resident(server.pid)
        probe = Probe(server.address)
        probe.start()
        script(server.address)
        probe.end()
        grown = resident(server.pid) - before
        job = stubs.wait_for("work", "a", State.COMPLETED, within=60)
    # The figures of docs/reliability.md are read here: --log-cli-level=info.
    ms = [f"{seconds * 1000:.0f} ms" for seconds in (statistics.median(probe.took), max(probe.took))]
    logger.info("%s: health %s, worst %s of %d; memory +%d MiB", script.__name__, *ms, len(probe.took), grown // MIB)
    assert probe.failed == []
    assert statistics.median(probe.took) < 0.2
    assert max(probe.took) < 3  # less than a lease, whatever else the machine has to do
    assert grown < 200 * MIB
    assert (job.attempt, job.crashes) == (1, 0)
    assert journal.starts() == {"a": 1}
