"""What one client can do to a server by small requests: others are answered meanwhile, a job that runs keeps its lease,
and the memory stays bounded. Each script is one that once stopped a server."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import State, Stubs, request
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin.v1 import reminder_service_pb2, reminder_service_pb2_grpc

logger = logging.getLogger(__name__)

MIB = 1 << 20
JOBS, QUEUES = "/tocsin.v1.JobService/", "/tocsin.v1.QueueService/"
Script = Callable[[str], None]


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def number_of(message: type[Message], name: str) -> int:
    return int(message.DESCRIPTOR.fields_by_name[name].number)


#: A job with a payload of nulls, and one NaN at its end, for which all of them are looked through.
NULLS = field(1, b"\x0a\x00\x12\x02\x08\x00")
NAN = field(1, b"\x0a\x00" + field(2, b"\x11\x00\x00\x00\x00\x00\x00\xf8\x7f"))
SPEC_OF_NULLS = field(1, field(2, b"t") + field(4, NULLS * 100_000 + NAN))

#: Requests of megabytes whose gzip has some kilobytes, and what they are sent to.
LARGE = {
    "states": (JOBS + "ListJobs", field(number_of(pb.ListJobsRequest, "states"), b"\x01" * (15 * MIB))),
    "wrong states": (JOBS + "ListJobs", field(number_of(pb.ListJobsRequest, "states"), b"\x7f" * (15 * MIB))),
    "states to cancel": (
        JOBS + "BatchCancelJobs",
        field(number_of(pb.BatchCancelJobsRequest, "states"), b"\x01" * (15 * MIB)),
    ),
    "states to purge": (QUEUES + "PurgeJobs", field(number_of(qpb.PurgeJobsRequest, "states"), b"\x01" * (15 * MIB))),
    "a mask": (
        JOBS + "UpdateJob",
        field(number_of(pb.UpdateJobRequest, "update_mask"), field(1, b"") * (7 * MIB)),
    ),
    "types that are no text": (JOBS + "ListJobs", field(number_of(pb.ListJobsRequest, "types"), b"\xff") * (5 * MIB)),
    "empty items": (JOBS + "BatchScheduleJobs", b"\x0a\x00" * (8 * MIB)),
    "broken items": (JOBS + "BatchScheduleJobs", b"\x0a\x05\x12\x03\xff\xff\xff" * (2 * MIB)),
    "items of nulls": (JOBS + "BatchScheduleJobs", field(1, SPEC_OF_NULLS) * 15),
    "ids": (JOBS + "BatchCancelJobs", field(number_of(pb.BatchCancelJobsRequest, "job_ids"), b"") * (8 * MIB)),
    "a struct of nulls": (
        JOBS + "ScheduleJob",
        field(1, field(2, b"t") + field(4, field(1, b"\x0a\x00\x12\x02\x08\x00") * MIB)),
    ),
    "records of nothing": (JOBS + "ImportJobs", field(1, b"") * MIB),
}


def large_requests(address: str) -> None:
    """Each of them four times, at once, as gzip."""
    options = [("grpc.default_compression_algorithm", 2)]
    with grpc.insecure_channel(address, options=options) as channel, ThreadPoolExecutor(4) as pool:
        calls = [channel.unary_unary(path) for path, _ in LARGE.values() for _ in range(4)]
        bodies = [body for _, body in LARGE.values() for _ in range(4)]

        def send(call: grpc.UnaryUnaryMultiCallable, body: bytes) -> None:
            with contextlib.suppress(grpc.RpcError):
                call(body, timeout=60)

        list(pool.map(send, calls, bodies))


def large_requests_at_once(address: str, number: int = 100) -> None:
    """So many of 15 MiB, of some kilobytes each on the way, over twenty connections: 100 are seven times what may
    stay in memory."""
    options = [("grpc.default_compression_algorithm", 2), ("grpc.use_local_subchannel_pool", 1)]
    body = field(1_000, b"\x00" * (15 * MIB))  # a field that nobody knows
    with ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(address, options=options)) for _ in range(20)]
        asked = [channel.unary_unary(JOBS + "GetJob") for channel in channels]
        for call in [one.future(body, timeout=60) for one in asked for _ in range(number // len(asked))]:
            with contextlib.suppress(grpc.RpcError):
                call.result()


def more_large_requests_at_once(address: str) -> None:
    """400 of them; docs/reliability.md has the figures."""
    large_requests_at_once(address, 400)


def calls_without_a_request(address: str) -> None:
    """5,000 that end before they have said anything, and 5,000 that are cancelled at once."""
    with grpc.insecure_channel(address) as channel:
        empty, one = channel.stream_unary(JOBS + "GetJob"), channel.unary_unary(JOBS + "GetJob")
        for _ in range(50):
            silent = [empty.future(iter(()), timeout=30) for _ in range(100)]
            for call in [one.future(b"", timeout=30) for _ in range(100)]:
                call.cancel()
            for call in silent:
                with contextlib.suppress(grpc.RpcError):
                    call.result()


def large_reminders(address: str) -> None:
    """Fifteen sets of twenty reminders each, whose template data is a megabyte that is a kilobyte on the way."""
    options = [("grpc.default_compression_algorithm", 2)]
    with grpc.insecure_channel(address, options=options) as channel:
        service: Any = reminder_service_pb2_grpc.ReminderServiceStub(channel)
        for number in range(15):
            asked = reminder_service_pb2.ScheduleBookingRemindersRequest(queue="reminders")
            asked.reminder.booking_id, asked.reminder.time_zone = f"b-{number}", "UTC"
            asked.reminder.email_to.append("ada@example.com")
            asked.reminder.booking_time.FromDatetime(datetime.now(UTC) + timedelta(days=90))
            asked.reminder.template_data.update({"x": "y" * 1_000_000})
            for hours in range(20):
                asked.offsets.add().FromTimedelta(timedelta(hours=hours + 1))
            with contextlib.suppress(grpc.RpcError):  # once the queue has all it may have
                service.ScheduleBookingReminders(asked, timeout=60)


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


SCRIPTS: list[Script] = [
    large_requests,
    large_requests_at_once,
    large_reminders,
    calls_without_a_request,
    many_watches,
    silent_imports,
    many_queues,
    unknown_methods,
]
#: Where a script is over in an instant.
_ASKED_AT_LEAST = 50

#: What keeps a store from being filled by one of them.
QUOTA = {"TOCSIN_QUOTAS__JOBS_IN_QUEUES": "reminders=100"}


class Probe(threading.Thread):
    """Asks for health and for a job all the time, over a connection of its own."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address, self._ending = address, threading.Event()
        self.took: list[float] = []
        self.took_job: list[float] = []
        self.failed: list[grpc.RpcError] = []

    def run(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._address, options=options) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            job = channel.unary_unary(JOBS + "GetJob")
            named = pb.GetJobRequest(queue="work", job_id="a").SerializeToString()
            while not self._ending.wait(0.02) or len(self.took) < _ASKED_AT_LEAST:
                self._timed(self.took, lambda: health.Check(health_pb2.HealthCheckRequest(service="live"), timeout=10))
                self._timed(self.took_job, lambda: job(named, timeout=10))

    def _timed(self, took: list[float], call: Callable[[], object]) -> None:
        began = time.monotonic()
        try:
            call()
        except grpc.RpcError as error:
            self.failed.append(error)
        took.append(time.monotonic() - began)

    def end(self) -> None:
        self._ending.set()
        self.join()


def share(took: list[float], part: float) -> float:
    """So long took the slowest of this part of them."""
    return sorted(took)[min(int(len(took) * part), len(took) - 1)]


def resident(pid: int, name: str = "VmRSS") -> int:
    """Bytes of memory that a process has; VmHWM: the most that it has had."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    "script",
    [*SCRIPTS, pytest.param(more_large_requests_at_once, marks=pytest.mark.full)],
    ids=lambda script: script.__name__,
)
@pytest.mark.timeout(300)
def test_others_are_served_a_job_keeps_its_lease_and_memory_is_bounded(
    redis: RedisBackend,
    serve: Callable[..., Server],
    journal: Journal,
    script: Script,
) -> None:
    server = serve(redis.url, handlers="support.jobs.uncollected", TOCSIN_LEASE__DURATION="10s", **QUOTA, **journal.env)
    with Stubs(server.address) as stubs:
        stubs.schedule("work", "steady", {"seconds": 15}, job_id="a")
        stubs.wait_for("work", "a", State.ACTIVE)
        before = resident(server.pid)
        probe = Probe(server.address)
        probe.start()
        script(server.address)
        probe.end()
        grown, most = (resident(server.pid, name) - before for name in ("VmRSS", "VmHWM"))
        job = stubs.wait_for("work", "a", State.COMPLETED, within=60)
    # The figures of docs/reliability.md are read here: --log-cli-level=info.
    for what, took in (("health", probe.took), ("a job", probe.took_job)):
        median, late, worst = (f"{share(took, part) * 1000:.0f} ms" for part in (0.5, 0.99, 1))
        logger.info("%s: %s %s, 99 %% %s, worst %s of %d", script.__name__, what, median, late, worst, len(took))
    logger.info("%s: memory +%d MiB, meanwhile +%d MiB", script.__name__, grown // MIB, most // MIB)
    assert probe.failed == []
    assert share(probe.took, 0.5) < 0.2
    assert share(probe.took_job, 0.5) < 0.2
    assert max(probe.took + probe.took_job) < 6  # less than a lease, whatever else the machine has to do
    assert grown < 200 * MIB
    assert most < 300 * MIB
    assert (job.attempt, job.crashes) == (1, 0)
    assert journal.starts() == {"a": 1}
