"""Server reflection, v1 and v1alpha.

grpcio-reflection has v1alpha only and does not find methods by their names. The messages of v1 are those of v1alpha
field for field, so one servicer answers for both.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any

from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from tocsin_server.api.interceptors.call import Call

_Request = reflection_pb2.ServerReflectionRequest
_Response = reflection_pb2.ServerReflectionResponse


class Reflection:
    """Lets clients ask which services there are, and what their messages are. Answers for methods too: with the file of
    their service."""

    def __init__(self, services: Sequence[str]) -> None:
        self._servicer = reflection.aio.ReflectionServicer(services)

    async def ServerReflectionInfo(self, requests: AsyncIterable[_Request], call: Call) -> AsyncIterator[_Response]:
        """An answer to each request."""
        async for asked in requests:
            # The stubs take this async generator for a coroutine.
            answers: Any = self._servicer.ServerReflectionInfo(_one(_findable(asked)), call.context)
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
