"""Passes a worker's calls on to the server; notes each message in the journal, and alters what a check wants so."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import Message
from tocsin.v1 import error_reason_pb2
from tocsin.v1 import worker_service_pb2 as pb

from tocsin_server.conformance.journal import Journal

#: Takes a message that passes; what it gives passes in its place: nothing, one, or several.
Alter = Callable[[Any], list[Any]]
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_SERVICE = pb.DESCRIPTOR.services_by_name["WorkerService"]
_TYPES: dict[str, tuple[type[Message], type[Message]]] = {
    f"/{_SERVICE.full_name}/{method.name}": (
        cast(type[Message], getattr(pb, method.input_type.name)),
        cast(type[Message], getattr(pb, method.output_type.name)),
    )
    for method in _SERVICE.methods
}
_UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
_DEFAULT_LEASE = 30.0  # seconds, where a message has none


class Relay(grpc.GenericRpcHandler):
    """A gRPC server that serves every method by calling another server. Any kind of call passes as a stream of streams,
    which on the wire is the same."""

    def __init__(self, target: str, journal: Journal) -> None:
        self._journal = journal
        self._channel = grpc.aio.insecure_channel(target, options=_UNLIMITED)
        options = (
            *_UNLIMITED,
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.so_reuseport", 0),
        )
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self,))
        self._up: list[Alter] = []
        self._down: list[Alter] = []
        self.port = 0

    async def open(self) -> None:
        """Serve on a free loopback port."""
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def close(self) -> None:
        """Serve no more."""
        await self._server.stop(None)
        await self._channel.close()

    @contextmanager
    def altering(self, *, up: Alter | None = None, down: Alter | None = None) -> Iterator[None]:
        """Meanwhile messages of WorkerService pass through these: up to the server, down to the worker."""
        self._up += [up] if up else []
        self._down += [down] if down else []
        try:
            yield
        finally:
            if up:
                self._up.remove(up)
            if down:
                self._down.remove(down)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """A handler for whatever is called."""
        method = str(handler_call_details.method)
        asked, answered = _TYPES.get(method, (None, None))
        return grpc.stream_stream_rpc_method_handler(
            partial(self._pass, method),
            request_deserializer=asked.FromString if asked else None,
            response_serializer=answered.SerializeToString if answered else None,
        )

    async def _pass(
        self, method: str, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        asked, answered = _TYPES.get(method, (None, None))
        open_call = self._channel.stream_stream(
            method,
            request_serializer=asked.SerializeToString if asked else None,
            response_deserializer=answered.FromString if answered else None,
        )
        left = context.time_remaining()
        kept = [pair for pair in context.invocation_metadata() or () if not _is_grpcs_own(pair[0])]
        call = open_call(metadata=kept, timeout=left if left is not None and left < 1e9 else None)
        passing = _Passing(self._journal, asked is not None)
        sending = asyncio.ensure_future(self._send(call, requests, passing))
        try:
            async for message in call:
                passing.down(message)
                for altered in self._altered(self._down, message, known=asked is not None):
                    passing.seen_down(altered)
                    await context.write(altered)
            context.set_code(await call.code())
            context.set_details(await call.details() or "")
            context.set_trailing_metadata(tuple(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as error:
            context.set_trailing_metadata(tuple(error.trailing_metadata()))
            await context.abort(error.code(), error.details() or "")
        finally:
            sending.cancel()
            call.cancel()

    async def _send(self, call: Any, requests: AsyncIterator[Any], passing: _Passing) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended: `_pass` sees it
            async for message in requests:
                passing.up(message)
                for altered in self._altered(self._up, message, known=passing.known):
                    passing.passed_up(altered)
                    await call.write(altered)
            await call.done_writing()

    @staticmethod
    def _altered(alters: list[Alter], message: Any, *, known: bool) -> list[Any]:
        messages = [message]
        if known:
            for alter in list(alters):
                messages = [result for one in messages for result in alter(one)]
        return messages


class _Passing:
    """One call's messages, and what they tell the journal."""

    def __init__(self, journal: Journal, known: bool) -> None:
        self._journal = journal
        self.known = known  # a method of WorkerService
        self._lease = _DEFAULT_LEASE
        self._reported: deque[bytes] = deque()  # tokens of outcomes that the server was sent and has not answered
        self._extended: list[bytes] = []

    def up(self, message: Any) -> None:
        """The worker said this."""
        if not self.known:
            return
        journal = self._journal
        journal.messages += 1
        if isinstance(message, pb.StreamJobsRequest):
            if message.HasField("hello"):
                journal.hellos.append(message.hello)
                journal.heard(message.hello.worker)
                journal.asks(list(message.hello.asks))
                self._lease = message.hello.lease.ToTimedelta().total_seconds() or _DEFAULT_LEASE
                # What is held goes on, for as long as a new lease lasts.
                journal.kept(list(message.hello.held_tokens), self._lease)
            journal.beats(list(message.heartbeats), self._lease)
            journal.ended(list(message.outcomes))
            if message.HasField("goodbye"):
                journal.goodbyes.append(message.goodbye)
                journal.ring()
            return
        if isinstance(message, pb.LeaseJobsRequest | pb.ExtendLeasesRequest | pb.ReportOutcomesRequest):
            journal.heard(message.worker)
        if isinstance(message, pb.LeaseJobsRequest):
            journal.asks(list(message.asks))
        elif isinstance(message, pb.ExtendLeasesRequest):
            lease = message.lease.ToTimedelta().total_seconds() or _DEFAULT_LEASE
            journal.beats(list(message.heartbeats), lease)
        elif isinstance(message, pb.ReportOutcomesRequest):
            journal.ended(list(message.outcomes))

    def passed_up(self, message: Any) -> None:
        """The server is sent this."""
        if isinstance(message, pb.StreamJobsRequest | pb.ReportOutcomesRequest):
            self._reported += [outcome.token for outcome in message.outcomes]
        elif isinstance(message, pb.ExtendLeasesRequest):
            self._extended = [beat.token for beat in message.heartbeats]

    def down(self, message: Any) -> None:
        """The server said this."""
        if isinstance(message, pb.StreamJobsResponse):
            for ack in message.acks:
                self._journal.answered(self._reported.popleft(), ack, _reason(ack))
        elif isinstance(message, pb.ReportOutcomesResponse):
            for result in message.results:
                self._journal.answered(self._reported.popleft(), result, _reason(result))

    def seen_down(self, message: Any) -> None:
        """The worker is sent this."""
        journal = self._journal
        if isinstance(message, pb.StreamJobsResponse):
            journal.leased(list(message.leased))
            for cancel in message.cancels:
                journal.told(cancel.token, cancel=True)
            for token in message.lost:
                journal.told(token, lost=True)
        elif isinstance(message, pb.LeaseJobsResponse):
            journal.leased(list(message.jobs))
        elif isinstance(message, pb.ExtendLeasesResponse):
            for token, result in zip(self._extended, message.results, strict=False):
                journal.told(token, lost=result.lost, cancel=result.HasField("cancel"))


def _reason(result: pb.ReportOutcomesResponse.Result) -> str:
    if not result.HasField("error"):
        return ""
    return error_reason_pb2.ErrorReason.Name(result.error_reason) or "refused"


def _is_grpcs_own(key: str) -> bool:
    return key.startswith(("grpc-", ":")) or key in ("user-agent", "te", "content-type")
