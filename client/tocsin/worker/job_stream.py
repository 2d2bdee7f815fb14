"""One stream of WorkerService.StreamJobs, from its hello to its end."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf.message import Message

from tocsin import _forking
from tocsin._access import Tls
from tocsin._channel import open_channel, token_metadata
from tocsin._refusals import from_rpc_error
from tocsin.errors import Unavailable
from tocsin.v1 import worker_service_pb2 as pb

#: Seconds from connecting to the server's welcome. A server that is there answers within milliseconds; an address
#: behind which nothing answers, not even with a refusal, must not keep a worker from the next one.
WELCOME_WITHIN = 10.0

#: Seconds that the server may take to take back what came too late.
RELEASE_WITHIN = 2.0

#: A server that is frozen or cut off must be noticed before leases run out: within 18 s. Servers forbid pings more
#: often than every 10 s.
_OPTIONS = (("grpc.keepalive_time_ms", 12_000), ("grpc.keepalive_timeout_ms", 6_000))

#: Seconds in which gRPC ends what waits in a call that was cancelled.
ENDS_WITHIN = 2.0

_SERVICE = "/tocsin.v1.WorkerService/"


@dataclass(frozen=True, slots=True)
class Route:
    """How servers are reached: TLS, and what says who calls."""

    tls: Tls | None = None
    token: str | None = None


class Listener(ABC):
    """What a stream asks for its messages, and tells of what it hears. All calls are made on the stream's loop."""

    @abstractmethod
    def hello(self) -> pb.StreamJobsRequest:
        """The first message."""

    @abstractmethod
    def next_message(self) -> pb.StreamJobsRequest | None:
        """What is to be sent now; None: nothing is."""

    @abstractmethod
    def heard(self, message: pb.StreamJobsResponse) -> None:
        """The server says this."""

    @abstractmethod
    def moves(self) -> bool:
        """Whether to leave a server that is shutting down at once, for there are others."""

    @abstractmethod
    def late(self) -> Sequence[bytes]:
        """Tokens of jobs that came too late to begin, or that nobody asked for; said once."""


class JobStream:
    """Opened by `run`, which returns when it has ended. Whoever has something to send rings.

    Everything that waits when the way is free goes in one message, so the busier the stream, the fewer messages.
    """

    def __init__(self, address: str, route: Route, listener: Listener) -> None:
        self.welcomed = False
        self.drains: timedelta | None = None  # the server is shutting down: when it may be asked again
        self._address = address
        self._route = route
        self._listener = listener
        self._bell = asyncio.Event()
        self._closing = False
        self._ended = asyncio.Event()
        self._cancel: Callable[[], object] = lambda: None

    def ring(self) -> None:
        """There may be something to send."""
        self._bell.set()

    async def close(self, grace: float) -> None:
        """Send what waits, say that nothing more comes, and wait for the server to end the stream."""
        self._closing = True
        self.ring()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._ended.wait()
        self._cancel()

    async def run(self) -> None:
        """Until the server or `close` ends it. Raises TocsinError where it was refused or cut."""
        _forking.check()
        channel = open_channel(self._address, self._route.tls, options=_OPTIONS)
        key = _forking.opened(channel)
        try:
            await self._talk(channel)
            if tokens := self._listener.late():
                await self._release(channel, tokens)
        finally:
            self._ended.set()
            _forking.gone(key)
            await channel.close()

    async def _talk(self, channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream(
            f"{_SERVICE}StreamJobs",
            request_serializer=pb.StreamJobsRequest.SerializeToString,
            response_deserializer=pb.StreamJobsResponse.FromString,
        )(metadata=token_metadata(self._route.token, self._address, self._route.tls))
        writing = asyncio.create_task(self._write(call))
        reading = asyncio.create_task(self._read(call))
        self._cancel = call.cancel
        try:
            await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and (fault := _fault(writing)) is not None:
                raise fault
            await asyncio.wait({reading})
            if not reading.cancelled():  # by `close`, through gRPC
                await reading
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error, f"{self._address}{' with TLS' if self._route.tls is not None else ''}")
        except TimeoutError:
            refusal = Unavailable(f"{self._address} does not answer", never_sent=True)
        else:
            return
        finally:
            # What waits within gRPC ends by itself then. Cancelled instead it would be heard of after the loop's end.
            call.cancel()
            self._closing = True
            self.ring()
            ended, late = await asyncio.wait({writing, reading}, timeout=ENDS_WITHIN)
            for task in late:
                task.cancel()
            for task in ended:
                _fault(task)  # else asyncio would complain that nobody looked
            self._cancel = lambda: None
            del call  # who keeps an error keeps this frame, and with a call all of gRPC
        raise refusal

    async def _write(self, call: grpc.aio.StreamStreamCall[Message, pb.StreamJobsResponse]) -> None:
        await call.write(self._listener.hello())
        while True:
            self._bell.clear()
            while (message := self._listener.next_message()) is not None:
                await call.write(message)
            if self._closing:
                await call.done_writing()
                return
            await self._bell.wait()

    async def _read(self, call: grpc.aio.StreamStreamCall[Message, pb.StreamJobsResponse]) -> None:
        async with asyncio.timeout(WELCOME_WITHIN):
            message = await call.read()
        while isinstance(message, pb.StreamJobsResponse):  # else it is the end
            self._heard(message)
            if self.drains is not None and self._listener.moves():
                return
            message = await call.read()

    def _heard(self, message: pb.StreamJobsResponse) -> None:
        self.welcomed = True
        if message.HasField("drain"):
            self.drains = message.drain.retry_after.ToTimedelta()
        self._listener.heard(message)

    async def _release(self, channel: grpc.aio.Channel, tokens: Sequence[bytes]) -> None:
        request = pb.ReportOutcomesRequest(worker=self._listener.hello().hello.worker)
        for token in tokens:
            request.outcomes.add(token=token).released.reason = "it came too late to begin"
        report = channel.unary_unary(
            f"{_SERVICE}ReportOutcomes",
            request_serializer=pb.ReportOutcomesRequest.SerializeToString,
            response_deserializer=pb.ReportOutcomesResponse.FromString,
        )
        with contextlib.suppress(grpc.aio.AioRpcError):  # their leases run out then
            await report(
                request,
                timeout=RELEASE_WITHIN,
                metadata=token_metadata(self._route.token, self._address, self._route.tls),
            )


def _fault(task: asyncio.Task[None]) -> BaseException | None:
    """What it raised, but for what gRPC says of a call that has ended."""
    fault = None if task.cancelled() else task.exception()
    return None if isinstance(fault, grpc.RpcError | asyncio.InvalidStateError) else fault
