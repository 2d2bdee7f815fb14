"""Tocsin's own client, in a process of its own, with uvloop.

Settings: the defaults of AsyncClient. `bulk` sends BatchScheduleJobs of messages built before, four at a time over
plain stubs; `plain` the same jobs by schedule_many, which builds them; `single` and `cancel` are calls of 100 callers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.stubs import request
from tocsin import AsyncClient, Job, JobRequest
from tocsin.v1 import job_service_pb2, job_service_pb2_grpc, queue_service_pb2, queue_service_pb2_grpc

from bench.bed import QUEUE
from bench.peers.python.driver import Item, Peer, Questions, Step, now, run

_SERVING = health_pb2.HealthCheckResponse.SERVING
_HOUR = 3_600_000


def _time(item: Item) -> datetime | None:
    return None if item.due is None else datetime.fromtimestamp(item.due / 1000, UTC)


class Tocsin(Peer):
    packages = ("tocsin", "grpcio", "protobuf", "uvloop")
    settings = "AsyncClient; embedded handlers, TOCSIN_CONCURRENCY 200; ended jobs are kept, as by default"

    async def open(self, url: str) -> None:
        self._channel = grpc.aio.insecure_channel(url)
        watch = health_pb2_grpc.HealthStub(self._channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        async for answer in watch:
            if answer.status == _SERVING:
                break
        self._jobs: Any = job_service_pb2_grpc.JobServiceStub(self._channel)
        self._queues: Any = queue_service_pb2_grpc.QueueServiceStub(self._channel)
        self.client = AsyncClient(url)

    async def add(self, item: Item) -> Job:
        return await self.client.schedule("noop", item.data, queue=QUEUE, at=_time(item))

    def build(self, items: Sequence[Item]) -> job_service_pb2.BatchScheduleJobsRequest:
        requests = [request(QUEUE, "noop", item.data, at=_time(item)) for item in items]
        return job_service_pb2.BatchScheduleJobsRequest(requests=requests)

    async def bulk(self, built: job_service_pb2.BatchScheduleJobsRequest) -> None:
        answer = await self._jobs.BatchScheduleJobs(built)
        if not all(result.HasField("response") for result in answer.results):
            raise RuntimeError("an item of a batch was refused")

    async def plain(self, items: Sequence[Item]) -> None:
        """The same from plain values."""
        wanted = [JobRequest("noop", item.data, queue=QUEUE, at=_time(item)) for item in items]
        if not all(isinstance(one, Job) for one in await self.client.schedule_many(wanted)):
            raise RuntimeError("a job was refused")

    async def cancel(self, handle: Job) -> None:
        await self.client.cancel(handle)

    async def count(self) -> int:
        health = await self._queues.GetQueueHealth(queue_service_pb2.GetQueueHealthRequest(queue=QUEUE))
        return int(health.counts.scheduled + health.counts.waiting)

    async def work(self, started: Callable[[], None]) -> None:
        """The queue's jobs may run; the server's process tells when they began."""
        await self._queues.ResumeQueue(queue_service_pb2.ResumeQueueRequest(queue=QUEUE))

    async def hold(self) -> None:
        """They may not, until then."""
        await self._queues.PauseQueue(queue_service_pb2.PauseQueueRequest(queue=QUEUE))


class TocsinQuestions(Questions):
    """What is asked of Tocsin alone, too."""

    _peer: Tocsin

    async def plain(self, jobs: int, batch: int, in_flight: int, warm: int) -> Step:
        await self._each(in_flight, self._groups(warm, batch), self._peer.plain)
        groups = self._groups(jobs, batch)
        return lambda: self._each(in_flight, groups, self._peer.plain)

    async def cancel_many(self, jobs: int, batch: int, in_flight: int) -> Step:
        items = self._items(jobs, now() + _HOUR)
        made = [
            one
            for one in await self._peer.client.schedule_many(
                [JobRequest("noop", item.data, queue=QUEUE, at=_time(item)) for item in items]
            )
            if isinstance(one, Job)
        ]
        groups = [made[start : start + batch] for start in range(0, len(made), batch)]
        return lambda: self._each(in_flight, groups, self._peer.client.cancel_many)

    async def hold(self) -> Step:
        return self._peer.hold

    def _groups(self, count: int, size: int) -> list[list[Item]]:
        return [self._items(min(size, count - start)) for start in range(0, count, size)]


if __name__ == "__main__":
    run(Tocsin(), TocsinQuestions)
