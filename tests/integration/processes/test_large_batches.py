"""What large requests cost in memory, of a server process of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import Stubs, refusal
from tocsin.v1 import job_pb2, job_service_pb2

BATCHES = 20
#: What is let in at once, and what may become of it: messages, drafts, commands, and the bytes of those that are
#: refused, which is only once they are here. Seen were 450 to 690 MiB; without a bound it is 1,300 and more.
LET_IN, MOST = 40 << 20, 1_000 << 20
#: What a server keeps of them once they have their answers; it has 90 MiB before. Seen were 110 to 165 MiB; left to
#: itself glibc keeps 620.
LEFT = 180 << 20


def memory(pid: int, which: str) -> int:
    """Of a process, in bytes: VmHWM, the most that it ever had; VmRSS, what it has now."""
    said = re.search(rf"{which}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert said is not None
    return int(said[1]) << 10


def batch(number: int) -> job_service_pb2.BatchScheduleJobsRequest:
    """Just below 16 MiB."""
    request = job_service_pb2.BatchScheduleJobsRequest()
    for part in range(16):
        spec = job_pb2.JobSpec(queue=f"large{number}", type="large")
        spec.raw.body = bytes([number, part]) * ((1 << 19) - 1_000)
        one = request.requests.add(job=spec)
        one.delay.seconds = 3_600
    return request


@pytest.mark.timeout(300)
def test_twenty_batches_of_16_mib_at_once_are_taken_in_bounded_memory_which_is_given_back(
    redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_CALLS__REQUEST_BYTES=str(LET_IN))

    def schedule(number: int) -> int:
        """How many of its jobs stand. Where the server has its hands full, it asks again, as it is told to."""
        with Stubs(server.address) as stubs:
            while True:
                try:
                    answer = stubs.jobs.BatchScheduleJobs(batch(number), timeout=120)
                except grpc.RpcError as error:
                    if refusal(error).reason != "TOO_MANY_CALLS":
                        raise
                    continue
                return sum(result.HasField("response") for result in answer.results)

    with ThreadPoolExecutor(BATCHES) as pool:
        assert list(pool.map(schedule, range(BATCHES))) == [16] * BATCHES
    assert memory(server.pid, "VmHWM") < MOST
    until(lambda: memory(server.pid, "VmRSS") < LEFT, within=30, what="the memory is given back")
    assert server.stop() == 0
