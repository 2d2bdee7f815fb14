"""Server reflection, v1 and v1alpha.

grpcio-reflection has v1alpha only and does not find methods by their names. The messages of v1 are those of v1alpha
field for field, so one servicer answers for both.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from tocsin_server.api.handlers import Gate, method_handler

NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_Request = reflection_pb2.ServerReflectionRequest
_Response = reflection_pb2.ServerReflectionResponse


class _Methods:
    """Answers for methods too: with the file of their service."""

    def __init__(self, services: Sequence[str]) -> None:
        self._servicer = reflection.aio.ReflectionServicer([*services, *NAMES])

    async def info(self, requests: AsyncIterable[_Request], context: object) -> AsyncIterator[_Response]:
        async for asked in requests:
            # The stubs take this async generator for a coroutine.
            answers: Any = self._servicer.ServerReflectionInfo(_one(_findable(asked)), context)
            async for response in answers:
                response.original_request.CopyFrom(asked)
                yield response


def _findable(asked: _Request) -> _Request:
    """The request, asking for the service where it asks for a method, which the descriptor pool does not look up."""
    name = asked.file_containing_symbol
    service, _, method = name.rpartition(".")
    if not method or _known(name) or not _known(service):
        return asked
    return _Request(host=asked.host, file_containing_symbol=service)


def _known(name: str) -> bool:
    try:
        descriptor_pool.Default().FindFileContainingSymbol(name)
    except KeyError:
        return False
    return True


async def _one(request: _Request) -> AsyncIterator[_Request]:
    yield request


def reflection_handlers(gate: Gate, services: Sequence[str]) -> list[grpc.GenericRpcHandler]:
    """Both versions of the service, which let clients ask which services there are, and what their messages are."""
    methods = _Methods(services)
    service = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
    descriptor = cast(MethodDescriptor, service.methods_by_name["ServerReflectionInfo"])
    return [
        grpc.method_handlers_generic_handler(
            name,
            {
                descriptor.name: method_handler(
                    methods.info, f"/{name}/{descriptor.name}", descriptor, gate, opaque=False
                )
            },
        )
        for name in NAMES
    ]
