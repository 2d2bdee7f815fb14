"""Sends calls over one channel of one event loop: deadlines, errors, repeats, gathering."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from tocsin import _calls, _forking
from tocsin._access import TlsChoice, chosen_tls, chosen_token
from tocsin._calls import PreparedCall
from tocsin._channel import open_channel, resolve_address, token_metadata
from tocsin._gathering import Gathering
from tocsin._refusals import from_rpc_error
from tocsin._repeats import repeating
from tocsin._times import Span, span
from tocsin.errors import TocsinError, Unavailable, UnusableClient
from tocsin.jobs import Job
from tocsin.v1 import job_service_pb2 as pb

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")


_LONGEST_REST = 1.0  # seconds that a fork waits for another thread's event loop


class Connection:
    """The way to one server. Opens with the first call; belongs to the event loop of that call while that is open."""

    def __init__(
        self, address: str | None, *, tls: TlsChoice, token: str | None, deadline: Span, retries: bool
    ) -> None:
        self.address = resolve_address(address)
        self.deadline = span(deadline, "deadline")
        self.retries = retries
        self._tls = chosen_tls(tls)
        self._where = f"{self.address}{' with TLS' if self._tls is not None else ''}"
        self._metadata = token_metadata(chosen_token(token), self.address, self._tls)
        self._channel: grpc.aio.Channel | None = None
        self._owner: weakref.finalize[..., Connection] | None = None  # of the channel
        self._pid = 0
        self._under_way = 0  # calls of any kind
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathered: _Gathered | None = None  # on that loop

    async def invoke(self, call: PreparedCall[Answer, Result], deadline: Span | None = None) -> Result:
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
            lambda left: self._gathering().schedules.send(request, left),
            seconds=self._seconds(deadline),
            repeatable=_calls.may_schedule_twice(request),
            enabled=self.retries,
        )

    async def cancel(self, request: pb.CancelJobRequest, deadline: Span | None = None) -> Job:
        """The job as it stands now; travels with other cancel calls under way. A second time changes nothing."""
        return await repeating(
            lambda left: self._gathering().cancels.send(request, left),
            seconds=self._seconds(deadline),
            repeatable=True,
            enabled=self.retries,
        )

    async def stream(
        self, path: str, request: Message, answer: type[Answer], *, patient: bool = False
    ) -> AsyncGenerator[Answer | None, None]:
        """None once the server has taken the call, then its answers; cancelled when the caller stops reading. patient:
        where no server is reached it waits for one, and is there as soon as it is."""
        refusal: TocsinError
        call = self._open().unary_stream(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )(request, metadata=self._metadata, wait_for_ready=patient)
        self._under_way += 1
        try:
            await call.initial_metadata()
            if not call.done():
                yield None
            async for message in call:
                yield message
            return
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error, self._where)
        except asyncio.CancelledError:
            self._refuse_if_closed()
            raise
        finally:
            self._under_way -= 1
            call.cancel()
            del call  # who keeps an error keeps this frame, and with a call all of gRPC
        raise refusal

    async def close(self) -> None:
        """End open calls and disconnect. Scheduling and cancelling that are under way are waited for."""
        if not self._closed:
            if self._gathered is not None and self._is_here:
                await self._gathered.schedules.close()
                await self._gathered.cancels.close()
            self._closed = True
            await self.disconnect()

    async def disconnect(self) -> None:
        """Give back all that is held of gRPC; the next call connects anew, on whatever loop it is made."""
        if self._channel is not None and self._is_here:
            channel = self._forget()
            await channel.close()

    def rest(self) -> None:
        """Before a fork: disconnect if no call is under way. Only for a connection without a thread of its own."""
        loop = self._loop
        if self._channel is None or loop is None or self._under_way or not self._is_here:
            return
        if loop.is_running() and loop is not _running_loop():
            asyncio.run_coroutine_threadsafe(self._disconnect_if_idle(), loop).result(_LONGEST_REST)
        else:
            self._forget()  # nobody else can be in the midst of something; freed, it closes

    def clock(self, deadline: Span | None) -> Clock:
        """A clock that counts down from `deadline`, for what takes several calls."""
        return Clock(self._seconds(deadline))

    async def _once(self, call: PreparedCall[Answer, Result], seconds: float) -> Result:
        channel = self._open()
        self._under_way += 1
        try:
            # What generated stubs do too; this way a call carries its own types.
            answer = await channel.unary_unary(
                call.path,
                request_serializer=type(call.request).SerializeToString,
                response_deserializer=call.answer.FromString,
            )(call.request, timeout=seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error, self._where)
        except asyncio.CancelledError:
            self._refuse_if_closed()
            raise
        else:
            return call.read(answer)
        finally:
            self._under_way -= 1
            del channel  # who keeps an error keeps this frame, and with a channel all of gRPC
        raise refusal

    async def _schedule_one(self, request: pb.ScheduleJobRequest, seconds: float) -> Job:
        return await self._once(_calls.schedule_one(request), seconds)

    async def _schedule_batch(
        self, requests: Sequence[pb.ScheduleJobRequest], seconds: float
    ) -> list[Job | TocsinError]:
        return await self._once(_calls.schedule_batch(requests), seconds)

    async def _cancel_one(self, request: pb.CancelJobRequest, seconds: float) -> Job:
        return await self._once(_calls.cancel_one(request), seconds)

    async def _cancel_batch(
        self, requests: Sequence[pb.CancelJobRequest], seconds: float
    ) -> Sequence[Job | TocsinError]:
        return (await self._once(_calls.cancel_batch(requests), seconds)).results

    @property
    def _is_here(self) -> bool:
        return self._pid == os.getpid()

    def _open(self) -> grpc.aio.Channel:
        self._gathering()
        if self._channel is None or not self._is_here:
            _forking.check()
            channel = open_channel(self.address, self._tls)
            key = _forking.opened(channel)
            self._channel, self._pid = channel, os.getpid()
            self._owner = weakref.finalize(self, _forking.gone, key)
            self._owner.atexit = False
        return self._channel

    def _gathering(self) -> _Gathered:
        """What gathers on the running loop. A loop that was closed is followed by that of the next call."""
        if self._closed:
            raise UnusableClient("this client is closed")
        loop = asyncio.get_running_loop()
        if self._gathered is None or self._loop is not loop:
            if self._channel is not None and self._loop is not None and self._is_here:
                if not self._loop.is_closed():
                    raise UnusableClient(
                        "this client belongs to another event loop, that of its first call: make an AsyncClient for "
                        "each loop that runs at the same time"
                    )
                self._forget()
            self._loop = loop
            self._gathered = _Gathered(
                Gathering(self._schedule_one, self._schedule_batch, lambda _: None),
                Gathering(self._cancel_one, self._cancel_batch, _calls.of_one_batch),
            )
        return self._gathered

    def _forget(self) -> grpc.aio.Channel:
        """The channel, which is ours no more."""
        channel, self._channel = self._channel, None
        assert channel is not None  # noqa: S101 - the caller has looked
        if self._owner is not None:
            self._owner()
        return channel

    async def _disconnect_if_idle(self) -> None:
        if not self._under_way:
            await self.disconnect()

    def _refuse_if_closed(self) -> None:
        # gRPC cancels calls whose channel is closed; that is no wish to cancel the task which made them.
        task = asyncio.current_task()
        if self._closed and (task is None or not task.cancelling()):
            raise Unavailable("the client was closed during the call") from None

    def _seconds(self, deadline: Span | None, patience: timedelta | None = None) -> float:
        if deadline is not None:
            return span(deadline, "deadline").total_seconds()
        return max(self.deadline, patience or self.deadline).total_seconds()


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What gathers on one event loop."""

    schedules: Gathering[pb.ScheduleJobRequest]
    cancels: Gathering[pb.CancelJobRequest]


class Clock:
    """Counts down."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left; 0 or less: none."""
        return self._end - time.monotonic()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
