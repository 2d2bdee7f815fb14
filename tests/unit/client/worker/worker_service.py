"""A real gRPC server whose WorkerService does as a test says; and a tocsin.Worker that works for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.rpc import status_pb2
from tocsin import Handlers, Worker
from tocsin.payloads import struct_from_dict
from tocsin.v1 import error_reason_pb2, job_pb2, worker_service_pb2_grpc
from tocsin.v1 import worker_service_pb2 as pb

_numbers = itertools.count(1)

LOST = pb.ReportOutcomesResponse.Result(
    error=status_pb2.Status(code=grpc.StatusCode.ABORTED.value[0]), error_reason=error_reason_pb2.LEASE_LOST
)
AWAY = pb.ReportOutcomesResponse.Result(
    error=status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="the store is away"),
    error_reason=error_reason_pb2.STORE_AWAY,
)
RECORDED = pb.ReportOutcomesResponse.Result(state=job_pb2.Job.State.COMPLETED)


def a_lease(type: str = "t", data: dict[str, object] | None = None, **fields: Any) -> pb.LeasedJob:
    """A leased job, as it is sent."""
    number = next(_numbers)
    leased = pb.LeasedJob(token=f"token-{number}".encode())
    job = leased.job
    job.queue, job.job_id, job.attempt, job.spec.type = "q", f"job-{number}", 1, type
    for name, value in fields.items():
        setattr(job, name, value)
    if data is not None:
        job.spec.data.CopyFrom(struct_from_dict(data))
    job.create_time.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
    job.schedule_time.CopyFrom(job.create_time)
    leased.lease_end.FromDatetime(datetime(2031, 1, 2, tzinfo=UTC))  # the store's clock is five years ahead
    leased.lease.seconds = 30
    return leased


class ServedStream:
    """One worker's stream. `messages` has all that came, `credits` what the worker may still be sent."""

    def __init__(self, service: ScriptedWorkerService) -> None:
        self.messages: list[pb.StreamJobsRequest] = []
        self.credits: dict[str, int] = {}
        self.over = False
        self._service = service
        self._out: asyncio.Queue[pb.StreamJobsResponse | grpc.StatusCode | None] = asyncio.Queue()

    @property
    def hello(self) -> pb.StreamJobsRequest.Hello:
        """How it began."""
        return self.messages[0].hello

    @property
    def outcomes(self) -> list[pb.Outcome]:
        """All that were reported on it."""
        return [outcome for message in self.messages for outcome in message.outcomes]

    @property
    def heartbeats(self) -> list[pb.Heartbeat]:
        """All that came on it."""
        return [beat for message in self.messages for beat in message.heartbeats]

    def lease(self, *leased: pb.LeasedJob) -> None:
        """Send jobs, in one message."""
        for one in leased:
            for kind in {"", one.job.spec.type} & self.credits.keys():
                self.credits[kind] -= 1
        self.say(pb.StreamJobsResponse(leased=leased))

    def say(self, message: pb.StreamJobsResponse) -> None:
        """Send anything."""
        self._out.put_nowait(message)

    def end(self, code: grpc.StatusCode | None = grpc.StatusCode.UNAVAILABLE) -> None:
        """End it. None: well."""
        self._out.put_nowait(code)

    async def serve(
        self, requests: AsyncIterator[pb.StreamJobsRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.StreamJobsResponse]:
        hearing = asyncio.create_task(self._hear(requests))
        try:
            while isinstance(message := await self._out.get(), pb.StreamJobsResponse):
                yield message
            if message is not None:
                await context.abort(message, "as the test says")
        finally:
            hearing.cancel()
            self.over = True
            self._service.tell()

    async def _hear(self, requests: AsyncIterator[pb.StreamJobsRequest]) -> None:
        async for message in requests:
            self.messages.append(message)
            if message.HasField("hello"):
                welcome = pb.StreamJobsResponse.Welcome(server="scripted")
                welcome.lease.seconds = 30
                welcome.heartbeat_every.FromTimedelta(self._service.heartbeat_every)
                self.say(pb.StreamJobsResponse(welcome=welcome))
            for credit in message.credits:
                self.credits[credit.type] = self.credits.get(credit.type, 0) + credit.n
            acks = [self._service.answer(outcome) for outcome in message.outcomes]
            if acks and self._service.acking:
                self.say(pb.StreamJobsResponse(acks=acks))
            if message.HasField("goodbye"):
                self._service.at_goodbye(self)
            self._service.tell()
        self.end(None)


class ScriptedWorkerService(worker_service_pb2_grpc.WorkerServiceServicer):
    """`answer` says what becomes of each outcome; `acking` False: nothing is said of them. `refusing` refuses streams,
    `refused` of them so far. `at_goodbye` is called for each. `reported` are outcomes that came by ReportOutcomes."""

    def __init__(self) -> None:
        self.streams: list[ServedStream] = []
        self.answer: Callable[[pb.Outcome], pb.ReportOutcomesResponse.Result] = lambda outcome: RECORDED
        self.acking = True
        self.heartbeat_every = timedelta(seconds=10)
        self.at_goodbye: Callable[[ServedStream], None] = lambda stream: None
        self.refusing: grpc.StatusCode | None = None
        self.refused = 0
        self.reported: list[pb.Outcome] = []
        self.address = ""
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has come."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, true: Callable[[], object], within: float = 15.0) -> None:
        """Return when `true` is, looked at after all that comes."""
        async with asyncio.timeout(within):
            while not true():
                await self._changed.wait()

    async def stream(self, number: int = 1) -> ServedStream:
        """The stream that was opened as the first, the second, ..., once its hello is there."""
        await self.until(lambda: len(self.streams) >= number and self.streams[number - 1].messages)
        return self.streams[number - 1]

    async def outcomes(self, count: int, stream: ServedStream | None = None) -> Sequence[pb.Outcome]:
        """The outcomes on the last stream, once there are so many."""
        at = stream or self.streams[-1]
        await self.until(lambda: len(at.outcomes) >= count)
        return at.outcomes

    async def StreamJobs(
        self, requests: AsyncIterator[pb.StreamJobsRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.StreamJobsResponse]:
        if self.refusing is not None:
            self.refused += 1
            self.tell()
            await context.abort(self.refusing, "refused, as the test says")
        stream = ServedStream(self)
        self.streams.append(stream)
        async for message in stream.serve(requests, context):
            yield message

    async def ReportOutcomes(
        self, request: pb.ReportOutcomesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReportOutcomesResponse:
        self.reported.extend(request.outcomes)
        self.tell()
        return pb.ReportOutcomesResponse(results=[RECORDED] * len(request.outcomes))


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[ScriptedWorkerService]:
    """The service, at its `address`."""
    service = ScriptedWorkerService()
    server = grpc.aio.server()
    worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    service.address = f"127.0.0.1:{bound}"
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)


@asynccontextmanager
async def working(address: str | Sequence[str], handlers: Handlers, **settings: Any) -> AsyncIterator[Worker]:
    """A worker that runs; stopped without grace at the end."""
    worker = Worker(address, handlers, **settings)
    running = asyncio.create_task(worker.run_async())
    try:
        yield worker
    finally:
        worker.stop(0)
        await running
