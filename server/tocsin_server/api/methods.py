"""Puts a service's methods into a gRPC server: raw bytes are read and written here, inside the interceptors.

So a request that cannot be read, or never comes, is refused like any other, and JobService's messages are the shadow
ones of wire.py. To grpc each method takes a stream of requests: one that takes a single request would be read by grpc,
before the interceptors.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from tocsin_server.api import wire
from tocsin_server.api.interceptors.call import Call, CallerLeft, Context, Interceptor, Method, MethodKind, Work, around
from tocsin_server.api.permissions import check_request, shown
from tocsin_server.api.reading import METADATA_BYTES, RequestBytes, check_metadata, inflated, read, weight
from tocsin_server.domain.errors import (
    InvalidFields,
    NotAllowed,
    NotBuilt,
    RequestLate,
    TocsinError,
    TransferIdle,
    Violation,
)
from tocsin_server.operations.schedule_jobs import CancelledUnsent

#: Of a call that is refused before its request is read, for the audit log: so many seconds for what has mostly come
#: with the call already, and so many bytes at most.
_LOOK_WITHIN, _LOOKED_AT = 0.2, 64 << 10
_PATH_CHARACTERS = 200  # of a method that nobody knows, in the log and in its refusal
_Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"  # generic in the stubs only


@dataclass(frozen=True, slots=True)
class Gate:
    """What every call of a service passes."""

    interceptors: Sequence[Interceptor]
    in_flight: RequestBytes
    idle: timedelta  # for so long a request may be waited for, and an export not be read
    metadata_bytes: int = METADATA_BYTES  # of a call


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """What the server must know of a service that its descriptor does not say."""

    descriptor: ServiceDescriptor
    servicer: type  # whose instance has the methods, by their names
    reads: frozenset[str]  # methods that change nothing, so that their outcome is never unknown
    transfers: frozenset[str] = frozenset()  # methods that move any number of jobs
    working: frozenset[str] = frozenset()  # methods in which workers wait for jobs
    waits: frozenset[str] = frozenset()  # methods that stay open for a while, though they answer once
    opaque: bool = False  # its messages are the shadow ones of wire.py
    name: str = ""  # under which it is served, where that is not its descriptor's

    @property
    def served_as(self) -> str:
        """The full name by which it is called."""
        return self.name or self.descriptor.full_name

    def method(self, descriptor: MethodDescriptor) -> Method:
        """What its calls are treated by."""
        waits = descriptor.server_streaming or descriptor.name in self.waits
        kind = MethodKind.WATCH if waits else MethodKind.CALL
        if descriptor.name in self.transfers:
            kind = MethodKind.TRANSFER
        if descriptor.name in self.working:
            kind = MethodKind.WORKER
        return Method(f"/{self.served_as}/{descriptor.name}", kind, descriptor.name in self.reads)


def service_handler(service: Service, servicer: object, gate: Gate) -> grpc.GenericRpcHandler:
    """All methods of a service, as `servicer` has them."""
    methods = {
        descriptor.name: _method_handler(
            getattr(servicer, descriptor.name), service.method(descriptor), descriptor, gate, opaque=service.opaque
        )
        for descriptor in service.descriptor.methods
    }
    return grpc.method_handlers_generic_handler(service.served_as, methods)


def _method_handler(
    behaviour: Callable[[Any, Call], Any], method: Method, descriptor: MethodDescriptor, gate: Gate, *, opaque: bool
) -> _Handler:
    public = message_factory.GetMessageClass(descriptor.input_type)
    as_read = wire.shadow(public) if opaque else public
    transfers = method.kind is MethodKind.TRANSFER
    late = TransferIdle if transfers and descriptor.client_streaming else RequestLate
    idle_to_write = gate.idle if transfers else None  # a watch may be read as slowly as its caller likes
    # A worker may have nothing to say for hours, once it has said who it is.
    idle_to_read = None if method.kind is MethodKind.WORKER else gate.idle
    public_answer = message_factory.GetMessageClass(descriptor.output_type)

    def taken(call: Call, raw: bytes) -> Message:
        """The request, which its caller may make."""
        request = read(public, as_read, raw)
        if call.principal is not None:
            try:
                check_request(call.principal, public, raw)
            except NotAllowed:
                call.asked = request  # of several the one that was refused
                raise
        return request

    async def look(call: Call) -> None:
        """What is asked by one who may not, as far as it has come and is small."""
        with contextlib.suppress(TocsinError, TimeoutError):
            async with asyncio.timeout(_LOOK_WITHIN):
                raw = await call.context.read()
            if isinstance(raw, bytes) and weight(raw) <= _LOOKED_AT:
                call.asked = read(public, as_read, await inflated(raw))

    def given(call: Call, answer: Message) -> bytes:
        """The answer, as its caller may see it."""
        raw = answer.SerializeToString()
        return raw if call.principal is None else shown(call.principal, public_answer, raw)

    async def only_request(call: Call) -> bytes:
        check_metadata(call.context.invocation_metadata() or (), gate.metadata_bytes)
        try:
            raw = await _next(call.context, gate.idle, late)
        except asyncio.CancelledError:  # by the deadline: nothing was asked, so nothing was done
            raise CancelledUnsent from None
        if raw is None:
            raise InvalidFields([Violation("request", "is missing: the call ended without it")])
        return raw

    async def requests(call: Call) -> AsyncIterator[Message]:
        check_metadata(call.context.invocation_metadata() or (), gate.metadata_bytes)
        # One that cannot be read is refused where the behaviour comes to it: others may have been acted upon.
        idle: timedelta | None = gate.idle
        while True:
            raw = await _next(call.context, idle, late)
            if raw is None:
                return
            idle = idle_to_read
            weight(raw)
            yield taken(call, await inflated(raw))

    async def written(call: Call, answers: AsyncIterator[Message]) -> None:
        async with aclosing(cast(Any, answers)):
            async for answer in answers:
                await _write(call.context, given(call, answer), idle_to_write)

    async def unary(call: Call) -> bytes:
        raw = await only_request(call)
        with gate.in_flight.held(weight(raw), call):
            call.asked = taken(call, await inflated(raw))
            answer: Message = await behaviour(call.asked, call)
        call.answered = answer
        return given(call, answer)

    async def answers_stream(call: Call) -> None:
        raw = await only_request(call)
        with gate.in_flight.held(weight(raw), call):
            call.asked = taken(call, await inflated(raw))
            answers = behaviour(call.asked, call)
        await written(call, answers)

    async def asked_stream(call: Call) -> bytes:
        answer: Message = await behaviour(requests(call), call)
        return given(call, answer)

    async def both_streams(call: Call) -> None:
        await written(call, behaviour(requests(call), call))

    # Of one answer, too, a generator learns whether it could be written. On the wire that is the same.
    if descriptor.server_streaming or inspect.isasyncgenfunction(behaviour):
        return _handler(
            grpc.stream_stream_rpc_method_handler,
            method,
            around(gate.interceptors, both_streams if descriptor.client_streaming else answers_stream),
            None if descriptor.client_streaming else look,
        )
    work = asked_stream if descriptor.client_streaming else unary
    of_one = None if descriptor.client_streaming else look
    return _handler(grpc.stream_unary_rpc_method_handler, method, around(gate.interceptors, work), of_one)


async def _next(context: Context, idle: timedelta | None, late: type[TransferIdle]) -> bytes | None:
    """The next request; None where there is no further one, `late` where none comes in time."""
    if idle is None:
        raw: object = await context.read()
        return raw if isinstance(raw, bytes) else None
    try:
        async with asyncio.timeout(idle.total_seconds()):
            raw = await context.read()
    except TimeoutError:
        raise late(idle) from None
    return raw if isinstance(raw, bytes) else None


async def _write(context: Context, answer: bytes, idle: timedelta | None) -> None:
    """TransferIdle where it takes longer than `idle`; None: as long as it takes."""
    try:
        async with asyncio.timeout(None if idle is None else idle.total_seconds()):
            await context.write(answer)
    except TimeoutError:
        if idle is None:
            raise CallerLeft from None
        raise TransferIdle(idle) from None
    except grpc.aio.AbortError:
        raise
    except Exception as error:  # grpc's own, of several kinds; there is no other reason for it to fail
        raise CallerLeft from error


def _handler(
    make: Callable[..., Any], method: Method, work: Work, look: Callable[[Call], Awaitable[None]] | None = None
) -> _Handler:
    async def handle(_: object, context: Context) -> bytes | None:
        try:
            return await work(Call(method, context, look=look))
        except grpc.aio.AbortError as aborted:
            # grpc keeps it beside the call, and raises it again. With what it has come through it would keep the call
            # and the request in a ring, which stands until a collector comes by.
            aborted.__context__ = aborted.__cause__ = aborted.__traceback__ = None
            return None

    return cast("_Handler", make(handle))


class UnknownMethods(grpc.GenericRpcHandler):
    """Refuses what is called in Tocsin's package and not built here, with the reason that says so."""

    def __init__(self, package: str, gate: Gate) -> None:
        self._prefix = f"/{package}."
        self._gate = gate

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Handler | None:
        """A handler for methods that no other handler has taken."""
        path = handler_call_details.method
        if not path.startswith(self._prefix):
            return None
        path = path if len(path) <= _PATH_CHARACTERS else path[:_PATH_CHARACTERS] + "…"

        async def refuse(call: Call) -> bytes:
            raise NotBuilt(f"{path} is not built in this version of the server; nothing was changed.")

        method = Method(path, MethodKind.CALL, reads=True)
        return _handler(grpc.stream_unary_rpc_method_handler, method, around(self._gate.interceptors, refuse))
