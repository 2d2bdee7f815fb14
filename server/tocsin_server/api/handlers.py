"""Puts a service's methods into a gRPC server: raw bytes are read and written here, inside the interceptors.

So a request that cannot be read is refused like any other, and JobService's messages are the shadow ones of wire.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from tocsin_server.api import wire
from tocsin_server.api.interceptors.call import Asked, Call, Context, Interceptor, Kind, Method, Work, around
from tocsin_server.api.unreadable import violations
from tocsin_server.domain import limits
from tocsin_server.domain.errors import InvalidFields, NotBuilt, TooLarge

_READS = ("Get", "List", "Watch", "Export")  # what the names of methods begin with that change nothing
_TRANSFERS = ("ExportJobs", "ImportJobs")
_Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"  # generic in the stubs only


def service_handler(
    servicer: object, service: ServiceDescriptor, interceptors: Sequence[Interceptor], *, opaque: bool
) -> grpc.GenericRpcHandler:
    """All methods of a service. `opaque`: its messages are the shadow ones."""
    methods = {
        method.name: _method(getattr(servicer, method.name), service, method, interceptors, opaque=opaque)
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _kind(descriptor: MethodDescriptor) -> Kind:
    if descriptor.name in _TRANSFERS:
        return Kind.TRANSFER
    return Kind.WATCH if descriptor.server_streaming else Kind.CALL


def _method(
    behaviour: Callable[[Any, Context], Any],
    service: ServiceDescriptor,
    descriptor: MethodDescriptor,
    interceptors: Sequence[Interceptor],
    *,
    opaque: bool,
) -> _Handler:
    public = message_factory.GetMessageClass(descriptor.input_type)
    request_class = wire.shadow(public) if opaque else public
    path = f"/{service.full_name}/{descriptor.name}"
    method = Method(path, _kind(descriptor), descriptor.name.startswith(_READS))

    def read(raw: bytes) -> Message:
        if len(raw) > limits.REQUEST_BYTES:
            raise TooLarge("request", len(raw), limits.REQUEST_BYTES)
        try:
            return request_class.FromString(raw)
        except DecodeError:
            raise InvalidFields(violations(public, raw)) from None

    async def unary(call: Call, raw: bytes) -> bytes:
        answer: Message = await behaviour(read(raw), call.context)
        return answer.SerializeToString()

    async def answers_stream(call: Call, raw: bytes) -> None:
        async with aclosing(behaviour(read(raw), call.context)) as answers:
            async for answer in answers:
                await call.context.write(answer.SerializeToString())

    async def asked_stream(call: Call, raws: AsyncIterator[bytes]) -> bytes:
        # One that cannot be read is refused where the behaviour comes to it: others may have been acted upon.
        answer: Message = await behaviour((read(raw) async for raw in raws), call.context)
        return answer.SerializeToString()

    if descriptor.client_streaming:
        return _handler(grpc.stream_unary_rpc_method_handler, method, around(interceptors, asked_stream))
    if descriptor.server_streaming:
        return _handler(grpc.unary_stream_rpc_method_handler, method, around(interceptors, answers_stream))
    return _handler(grpc.unary_unary_rpc_method_handler, method, around(interceptors, unary))


def _handler(make: Callable[..., Any], method: Method, work: Work[Asked]) -> _Handler:
    async def handle(asked: Asked, context: Context) -> bytes | None:
        return await work(Call(method, context), asked)

    return cast("_Handler", make(handle))


class UnknownMethods(grpc.GenericRpcHandler):
    """Refuses what is called in Tocsin's package and not built here, with the reason that says so."""

    def __init__(self, package: str, interceptors: Sequence[Interceptor]) -> None:
        self._prefix = f"/{package}."
        self._interceptors = interceptors

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Handler | None:
        """A handler for methods that no other handler has taken."""
        path = handler_call_details.method
        if not path.startswith(self._prefix):
            return None

        async def refuse(call: Call, raw: bytes) -> bytes:
            raise NotBuilt(f"{path} is not built in this version of the server; nothing was changed.")

        method = Method(path, Kind.CALL, reads=True)
        return _handler(grpc.unary_unary_rpc_method_handler, method, around(self._interceptors, refuse))
