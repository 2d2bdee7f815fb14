"""What is measured on: a server on a store of its own, clients in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from support.journal import Journal
from support.ports import free_port
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import request
from tocsin.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc, queue_service_pb2, queue_service_pb2_grpc

from bench.figures import Span, processor_seconds

#: The durability that the embedded store has, too.
REDIS_OPTIONS = ("--appendonly", "yes", "--appendfsync", "everysec")
#: About 110 bytes as JSON, five fields: what a service hands to a job.
DATA = {"user": 123456, "path": "uploads/2026/11/a.png", "width": 800.0, "formats": ["webp", "png"], "notify": True}
QUEUE = "bench"
BATCH = 1000


class Bed:
    """A fresh server on a fresh store. `store_seconds`: the store's processor time so far."""

    #: Between two looks at how far the jobs are, in seconds.
    look_every = 0.02

    def __init__(
        self,
        server: Server,
        journal: Journal,
        store_seconds: Callable[[], float],
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self.server, self.journal, self.store_seconds = server, journal, store_seconds
        self.channel = (
            grpc.aio.insecure_channel(server.address)
            if credentials is None
            else grpc.aio.secure_channel(server.address, credentials)
        )
        self.jobs: Any = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.queues: Any = queue_service_pb2_grpc.QueueServiceStub(self.channel)

    def span(self, jobs: int) -> Span:
        """Times `jobs` jobs of this bed."""
        return Span(jobs, partial(processor_seconds, self.server.pid), self.store_seconds)

    async def batches(self, requests: list[job_service_pb2.ScheduleJobRequest], in_flight: int = 4) -> None:
        """Schedule all by BatchScheduleJobs, 1,000 a call."""

        async def call(start: int) -> None:
            answer = await self.jobs.BatchScheduleJobs(
                job_service_pb2.BatchScheduleJobsRequest(requests=requests[start : start + BATCH])
            )
            if not all(result.HasField("response") for result in answer.results):
                raise RuntimeError("an item of a batch was refused")

        await flying(in_flight, [lambda start=start: call(start) for start in range(0, len(requests), BATCH)])

    async def stand(self, count: int) -> None:
        """Let `count` other jobs stand, of a type nothing else uses, due in a year."""
        for start in range(0, count, 20_000):
            part = min(20_000, count - start)
            await self.batches([request(QUEUE, "standing", DATA, delay=365 * 86_400)] * part)

    async def pause(self, paused: bool) -> None:
        """Pause or resume the queue."""
        if paused:
            await self.queues.PauseQueue(queue_service_pb2.PauseQueueRequest(queue=QUEUE))
        else:
            await self.queues.ResumeQueue(queue_service_pb2.ResumeQueueRequest(queue=QUEUE))

    async def counts(self) -> Any:
        """Jobs of the queue by state."""
        health = await self.queues.GetQueueHealth(queue_service_pb2.GetQueueHealthRequest(queue=QUEUE))
        return health.counts

    async def completed(self) -> int:
        """Jobs of the queue that are COMPLETED."""
        return int((await self.counts()).completed)

    async def until_completed(self, wanted: int, *, within: float = 300) -> None:
        """Wait until so many are COMPLETED."""
        end = time.monotonic() + within
        while (found := await self.completed()) < wanted:
            if time.monotonic() > end:
                raise TimeoutError(f"{found} of {wanted} completed after {within} s")
            await asyncio.sleep(self.look_every)

    async def empty(self, *states: int) -> None:
        """Delete all jobs in these states."""
        await self.queues.PurgeJobs(queue_service_pb2.PurgeJobsRequest(queue=QUEUE, states=states), timeout=300)

    async def times(self, states: tuple[int, ...] = (job_pb2.Job.COMPLETED,), type: str = "") -> list[job_pb2.Job]:
        """The jobs in these states, with their times by the store's clock."""
        found, token = [], ""
        while True:
            page = await self.jobs.ListJobs(
                job_service_pb2.ListJobsRequest(
                    queue=QUEUE, states=states, types=[type] if type else [], page_size=1000, page_token=token
                )
            )
            found += page.jobs
            token = page.next_page_token
            if not token:
                return found


class RedisBed(Bed):
    """On a Redis with an append-only file. Made by `bed()`."""

    def __init__(
        self,
        redis: RedisBackend,
        server: Server,
        journal: Journal,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self.redis = redis
        super().__init__(server, journal, self._redis_seconds, credentials)

    def _redis_seconds(self) -> float:
        cpu = self.redis.client.info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


@contextmanager
def bed(
    folder: Path,
    *,
    dispatch: bool = True,
    env: Mapping[str, str] | None = None,
    credentials: grpc.ChannelCredentials | None = None,
) -> Iterator[RedisBed]:
    """A fresh bed; everything is gone at its end. `credentials`: of its clients, where the server speaks TLS."""
    folder.mkdir(parents=True)
    journal = Journal(folder / "journal.tsv")
    with RedisBackend(folder / "redis", *REDIS_OPTIONS) as redis:
        flags = ["--handlers", "support.jobs.benchmark"] if dispatch else ["--no-dispatch"]
        plain = {"REDIS_URL": redis.url, "TOCSIN_CONCURRENCY": "200", "TOCSIN_LOG__LEVEL": "warning", **journal.env}
        probes = 0 if credentials is None else free_port()
        server = Server(folder, flags, {**plain, **(env or {})}, health_port=probes)
        try:
            server.start()
            yield RedisBed(redis, server, journal, credentials)
        finally:
            server.kill()


async def flying(in_flight: int, calls: list[Callable[[], Awaitable[Any]]]) -> None:
    """Make all calls, so many at a time."""
    waiting = iter(calls)

    async def fly() -> None:
        for call in waiting:
            await call()

    await asyncio.gather(*(fly() for _ in range(in_flight)))
