"""Sends calls over one channel of one event loop: deadlines, errors, repeats, gathering."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from tocsin import _calls
from tocsin._calls import Call
from tocsin._channel import Tls, open_channel, resolve_address, token_metadata
from tocsin._gathering import Gathering
from tocsin._refusals import from_rpc_error
from tocsin._repeats import repeating
from tocsin._times import Span, span
from tocsin.errors import TocsinError, Unavailable
from tocsin.jobs import Job
from tocsin.v1 import job_service_pb2 as pb

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")


class Connection:
    """The way to one server. Opens with the first call; belongs to the event loop of that call."""

    def __init__(
        self, address: str | None, *, tls: Tls | None, token: str | None, deadline: Span, retries: bool
    ) -> None:
        self.address = resolve_address(address)
        self.deadline = span(deadline, "deadline")
        self.retries = retries
        self._tls = tls
        self._metadata = token_metadata(token)
        self._channel: grpc.aio.Channel | None = None
        self._closed = False
        self._gathering = Gathering(self._schedule_one, self._schedule_batch)

    async def invoke(self, call: Call[Answer, Result], deadline: Span | None = None) -> Result:
        """The result of a call. `deadline` bounds it with all its repeats."""
        return await repeating(
            lambda left: self._once(call, left),
            seconds=self._seconds(deadline, call.patience),
            repeatable=call.repeatable,
            enabled=self.retries,
        )

    async def schedule(self, request: pb.ScheduleJobRequest, deadline: Span | None = None) -> Job:
        """The job that stands now; travels with other schedule calls under way."""
        return await repeating(
            lambda left: self._gathering.send(request, left),
            seconds=self._seconds(deadline),
            repeatable=_calls.may_schedule_twice(request),
            enabled=self.retries,
        )

    async def stream(
        self, path: str, request: Message, answer: type[Answer], *, patient: bool = False
    ) -> AsyncGenerator[Answer | None, None]:
        """None once the server has taken the call, then its answers; cancelled when the caller stops reading. patient:
        where no server is reached it waits for one, and is there as soon as it is."""
        call = self._open().unary_stream(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )(request, metadata=self._metadata, wait_for_ready=patient)
        try:
            await call.initial_metadata()
            if not call.done():
                yield None
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        except asyncio.CancelledError:
            self._refuse_if_closed()
            raise
        finally:
            call.cancel()

    async def close(self) -> None:
        """End open calls and disconnect. Scheduling that is under way is waited for."""
        if not self._closed:
            await self._gathering.close()
            self._closed = True
            if self._channel is not None:
                await self._channel.close()

    def clock(self, deadline: Span | None) -> Clock:
        """A clock that counts down from `deadline`, for what takes several calls."""
        return Clock(self._seconds(deadline))

    async def _once(self, call: Call[Answer, Result], seconds: float) -> Result:
        # What generated stubs do too; this way a call carries its own types.
        send = self._open().unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.answer.FromString,
        )
        try:
            return call.read(await send(call.request, timeout=seconds, metadata=self._metadata))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        except asyncio.CancelledError:
            self._refuse_if_closed()
            raise

    async def _schedule_one(self, request: pb.ScheduleJobRequest, seconds: float) -> Job:
        return await self._once(_calls.schedule_one(request), seconds)

    async def _schedule_batch(
        self, requests: Sequence[pb.ScheduleJobRequest], seconds: float
    ) -> list[Job | TocsinError]:
        return await self._once(_calls.schedule_batch(requests), seconds)

    def _open(self) -> grpc.aio.Channel:
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._channel is None:
            self._channel = open_channel(self.address, self._tls)
        return self._channel

    def _refuse_if_closed(self) -> None:
        # gRPC cancels calls whose channel is closed; that is no wish to cancel the task which made them.
        task = asyncio.current_task()
        if self._closed and (task is None or not task.cancelling()):
            raise Unavailable("the client was closed during the call") from None

    def _seconds(self, deadline: Span | None, patience: timedelta | None = None) -> float:
        if deadline is not None:
            return span(deadline, "deadline").total_seconds()
        return max(self.deadline, patience or self.deadline).total_seconds()


class Clock:
    """Counts down."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left; 0 or less: none."""
        return self._end - time.monotonic()
