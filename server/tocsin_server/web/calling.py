"""The way from a page to the API: the public stubs over one channel, each call with the visitor's own token.

So who may do what is decided where it is for all other callers, and the audit log and limits hold here, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
from tocsin import Unavailable
from tocsin._refusals import from_rpc_error
from tocsin.v1 import (
    bulk_service_pb2_grpc,
    job_service_pb2_grpc,
    queue_service_pb2_grpc,
    reminder_service_pb2_grpc,
    schedule_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
    worker_service_pb2_grpc,
)

#: Seconds in which a page has what it asks for, and in which something that touches many jobs is done.
_SECONDS, _SECONDS_FOR_MANY = 5.0, 60.0

# A connection that the server ends for its age is made anew at once; there is no way on which it could be lost.
_OPTIONS = (
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class Backend:
    """The API's stubs. Make, use and close it on one event loop."""

    def __init__(self, socket: Path) -> None:
        """`socket`: the Unix socket on which this process serves gRPC to itself."""
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS)
        self.jobs: job_service_pb2_grpc.JobServiceAsyncStub = job_service_pb2_grpc.JobServiceStub(self._channel)
        self.bulk: bulk_service_pb2_grpc.BulkServiceAsyncStub = bulk_service_pb2_grpc.BulkServiceStub(self._channel)
        self.queues: queue_service_pb2_grpc.QueueServiceAsyncStub = queue_service_pb2_grpc.QueueServiceStub(
            self._channel
        )
        self.schedules: schedule_service_pb2_grpc.ScheduleServiceAsyncStub = (
            schedule_service_pb2_grpc.ScheduleServiceStub(self._channel)
        )
        self.reminders: reminder_service_pb2_grpc.ReminderServiceAsyncStub = (
            reminder_service_pb2_grpc.ReminderServiceStub(self._channel)
        )
        self.workers: worker_service_pb2_grpc.WorkerServiceAsyncStub = worker_service_pb2_grpc.WorkerServiceStub(
            self._channel
        )
        self.server: server_service_pb2_grpc.ServerServiceAsyncStub = server_service_pb2_grpc.ServerServiceStub(
            self._channel
        )

    async def close(self) -> None:
        """Disconnect."""
        await self._channel.close()

    async def caller(self, token: str | None) -> Visitor:
        """Who shows this token; None: nobody has to show one. Raises what `tocsin` raises: Unauthenticated."""
        anybody = Visitor(token, "", frozenset(), True, ())
        info = await anybody.ask(self.server.GetServerInfo, server_service_pb2.GetServerInfoRequest())
        who = info.caller
        return Visitor(token, who.name, frozenset(who.scopes), who.all_queues, tuple(who.queues), info)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody at a browser, as the API knows them."""

    token: str | None
    name: str
    scopes: frozenset[str]
    all_queues: bool
    queues: Sequence[str]
    info: server_service_pb2.GetServerInfoResponse | None = None  # as it was told them

    async def ask(self, method: Callable[..., Any], request: Any) -> Any:
        """The answer of an RPC. Raises what `tocsin`'s clients raise."""
        try:
            return await method(request, timeout=_SECONDS, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async def follow(self, method: Callable[..., Any], request: Any) -> AsyncGenerator[Any, None]:
        """The answers of an RPC that streams them, until it ends or is closed. Raises the same."""
        call = method(request, timeout=_SECONDS_FOR_MANY, metadata=self._metadata)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def may(self, scope: str) -> bool:
        """Whether they have the scope."""
        return scope in self.scopes

    @property
    def sees_files(self) -> bool:
        """Whether files in folders of this server are theirs to see: they have no queue and hold what payloads hold."""
        return self.all_queues and self.may("read_payload")

    @property
    def key(self) -> str:
        """The same for the same token, and without it."""
        return "" if self.token is None else sha256(self.token.encode()).hexdigest()


def is_away(error: Exception) -> bool:
    """Whether the store, or this server's own end of the API, does not answer at the moment."""
    return isinstance(error, Unavailable)
