"""Messages of workers, in the fewest words, and a stream as a test holds one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import job_pb2
from tocsin.v1 import worker_service_pb2 as pb

ME = pb.Worker(name="w1", version="1.2", language="go", labels={"host": "a"})


def span(length: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(length)
    return message


def seconds(count: float) -> Duration:
    return span(timedelta(seconds=count))


def poll(queue: str = "q", *types: str, most: int = 10, wait: float = 10, worker: pb.Worker = ME, **more: Any) -> Any:
    """A wish for jobs of a queue ("": of all)."""
    ask = pb.LeaseAsk(queue=queue, types=types or ("t",), max_jobs=most, all_queues=not queue)
    return pb.LeaseJobsRequest(worker=worker, asks=[ask], wait=seconds(wait), **more)


def completed(token: bytes, result: str | None = None) -> pb.Outcome:
    done = pb.Outcome.Completed()
    if result is not None:
        done.result.raw.body = result.encode()
    return pb.Outcome(token=token, completed=done)


def failed(token: bytes, message: str = "planted", **more: Any) -> pb.Outcome:
    return pb.Outcome(token=token, failed=pb.Outcome.Failed(type="Planted", message=message, **more))


def released(token: bytes) -> pb.Outcome:
    return pb.Outcome(token=token, released=pb.Outcome.Released(reason="the worker shuts down"))


def report(*outcomes: pb.Outcome, worker: pb.Worker = ME) -> pb.ReportOutcomesRequest:
    return pb.ReportOutcomesRequest(worker=worker, outcomes=outcomes)


def extend(*tokens: bytes, lease: float = 30, **more: Any) -> pb.ExtendLeasesRequest:
    beats = [pb.Heartbeat(token=token, **more) for token in tokens]
    return pb.ExtendLeasesRequest(worker=ME, heartbeats=beats, lease=seconds(lease))


def progress(fraction: float, message: str = "") -> job_pb2.Progress:
    return job_pb2.Progress(fraction=fraction, message=message)


def hello(
    *types: str, queue: str = "q", worker: pb.Worker = ME, lease: float = 30, held: Sequence[bytes] = ()
) -> pb.StreamJobsRequest.Hello:
    ask = pb.LeaseAsk(queue=queue, types=types or ("t",), all_queues=not queue)
    return pb.StreamJobsRequest.Hello(worker=worker, asks=[ask], lease=seconds(lease), held_tokens=held)


def credit(count: int, type_: str = "") -> pb.StreamJobsRequest.Credit:
    return pb.StreamJobsRequest.Credit(type=type_, n=count)


class Stream:
    """A worker's end of a stream: what came, by kind."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.welcome: pb.StreamJobsResponse.Welcome | None = None
        self.leased: deque[pb.LeasedJob] = deque()
        self.cancels: list[pb.StreamJobsResponse.Cancel] = []
        self.acks: list[pb.ReportOutcomesResponse.Result] = []
        self.lost: list[bytes] = []
        self.drained = False
        self.messages = 0

    async def say(self, **fields: Any) -> None:
        """Send one message."""
        await self._call.write(pb.StreamJobsRequest(**fields))

    async def close(self) -> None:
        """Say no more."""
        await self._call.done_writing()

    def cut(self) -> None:
        """Be gone."""
        self._call.cancel()

    async def read(self) -> None:
        """Take the next message. EOFError at the end."""
        message = await self._call.read()
        if message is grpc.aio.EOF:
            raise EOFError
        self.messages += 1
        if message.HasField("welcome"):
            self.welcome = message.welcome
        self.leased += message.leased
        self.cancels += message.cancels
        self.acks += message.acks
        self.lost += message.lost
        self.drained |= message.HasField("drain")

    async def until(self, there: Callable[[], object], within: float = 10) -> None:
        """Read until something is there."""
        async with asyncio.timeout(within):
            while not there():
                await self.read()

    async def next_jobs(self, count: int, within: float = 10) -> list[pb.LeasedJob]:
        """The next jobs."""
        await self.until(lambda: len(self.leased) >= count, within)
        return [self.leased.popleft() for _ in range(count)]

    async def code(self) -> grpc.StatusCode:
        """How it ended."""
        code: grpc.StatusCode = await self._call.code()
        return code

    async def trailing(self) -> grpc.aio.AioRpcError:
        """The refusal that it ended with."""
        try:
            while True:
                await self.read()
        except grpc.aio.AioRpcError as error:
            return error


@asynccontextmanager
async def streaming(workers: Any, **first: Any) -> AsyncIterator[Stream]:
    """A stream that begins with this message; cut at the end."""
    stream = Stream(workers.StreamJobs())
    try:
        if first:
            await stream.say(**first)
        yield stream
    finally:
        stream.cut()
