"""The gRPC server: ports, options, services, and the order of interceptors. All of it lives on one event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import grpc

from tocsin_server.api.call_limits import CallLimits
from tocsin_server.api.connection_guard import ConnectionGuard, room_for_connections
from tocsin_server.api.connections import Connections, options
from tocsin_server.api.health import Health
from tocsin_server.api.interceptors.call import Interceptor
from tocsin_server.api.interceptors.call_log import CallLog
from tocsin_server.api.interceptors.counting import Counting
from tocsin_server.api.interceptors.deadline import Deadline
from tocsin_server.api.interceptors.draining import DrainGate
from tocsin_server.api.interceptors.errors import Errors
from tocsin_server.api.interceptors.overload import Overload
from tocsin_server.api.interceptors.request_rate import RequestRate
from tocsin_server.api.listening import UNKNOWN, CannotListen, check_can_listen
from tocsin_server.api.methods import Gate, UnknownMethods, service_handler
from tocsin_server.api.reading import RequestBytes
from tocsin_server.api.reflection import Reflection
from tocsin_server.api.services import ALL_NAMES, PATHS, PROBES, SERVICES
from tocsin_server.telemetry.metrics import Metrics

_CONNECTIONS, _LIMITS = Connections(), CallLimits()


class Drainable(Protocol):
    """What has streams that end when the server drains."""

    def drain(self) -> None:
        """End them."""


@dataclass(frozen=True, slots=True)
class Servicers:
    """What answers the calls."""

    each: Sequence[object]  # one of each class in the table of services
    drained: Sequence[Drainable]


class GrpcServer:
    """Serves Tocsin's services, health and reflection on one address."""

    def __init__(
        self,
        servicers: Servicers,
        health: Health,
        *,
        listen: str = "127.0.0.1:50051",
        credentials: grpc.ServerCredentials | None = None,
        auth: Interceptor | None = None,
        audit: Interceptor | None = None,
        limits: CallLimits = _LIMITS,
        connections: Connections = _CONNECTIONS,
        reuse_port: bool = False,
        reflection: bool = True,
        metrics: Metrics | None = None,
        spans: Interceptor | None = None,
        inside: Path | None = None,
    ) -> None:
        """`listen` is host:port, port 0 takes a free one. With `credentials` TLS is spoken, else plaintext.
        With `auth` those alone may call whom it lets in; `audit` sees whom it does not, too.

        `reuse_port` lets several processes share the port; off, a port that is taken is refused. Without `reflection`
        it does not tell what its services and messages are. `metrics`: counts the calls; `spans`: traces them. `inside`
        is a Unix socket on which the same is served without TLS, for parts of this process: whoever can open it needs
        no certificate.
        """
        self._health = health
        self._drained = servicers.drained
        self._listen = listen
        self._inside = inside
        self._reuse_port = reuse_port
        self._credentials = credentials
        self._gate = DrainGate()
        self._connections = connections
        self._room = room_for_connections()
        self._guard: ConnectionGuard | None = None
        self._server = grpc.aio.server(
            options=options(connections, open_calls=limits.open, room=self._room, reuse_port=reuse_port)
        )
        # Around every call, health and reflection too: what must hold for all stands here.
        counting = [] if metrics is None else [Counting(metrics, PATHS)]
        every: list[Interceptor] = [CallLog(), *counting, Errors(), *(one for one in (audit, auth) if one is not None)]
        tracing = [] if spans is None else [spans]
        bounds: list[Interceptor] = [Overload(limits)]
        if limits.per_second_per_client is not None or auth is not None:  # a principal may have its own
            bounds.insert(0, RequestRate(limits))
        in_flight = RequestBytes(limits.request_bytes, limits)
        metadata = connections.max_metadata_bytes
        gate = Gate(
            [*tracing, *every, self._gate, *bounds, Deadline(limits.deadline)], in_flight, limits.idle, metadata
        )
        # Probes go on while the server drains, and while it has too many calls, or too many bytes of them.
        probes = Gate(every, RequestBytes(limits.request_bytes), limits.idle, metadata)
        by_class = {type(one): one for one in (*servicers.each, health, Reflection(ALL_NAMES))}
        open_probes = [service for service in PROBES if reflection or service.servicer is not Reflection]
        self._server.add_generic_rpc_handlers(
            (
                *(service_handler(service, by_class[service.servicer], gate) for service in SERVICES),
                *(service_handler(service, by_class[service.servicer], probes) for service in open_probes),
                UnknownMethods(SERVICES[0].descriptor.file.package, gate),
            )
        )

    async def start(self) -> int:
        """Listen; the port. CannotListen."""
        await self._health.begin()
        port = bound(self._server, self._listen, self._credentials, reuse_port=self._reuse_port)
        if self._inside is not None:
            self._server.add_insecure_port(f"unix:{self._inside}")
        await self._server.start()
        self._guard = ConnectionGuard(port, self._room, self._connections.per_address)
        self._guard.start()
        return port

    async def drain(self) -> None:
        """Health says NOT_SERVING, then new calls are refused; watches, exports and imports end, and
        other calls under way go on."""
        await self._health.enter_shutdown()
        self._gate.close()
        for streams in self._drained:
            streams.drain()

    async def stop(self, grace: timedelta) -> None:
        """Drain, let calls under way end within `grace`, cut off those that have not, and close the port."""
        await self.drain()
        await self._server.stop(grace.total_seconds())
        if self._guard is not None:
            await self._guard.close()


def bound(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None, *, reuse_port: bool) -> int:
    """The port that the server listens on once it is started. CannotListen."""
    check_can_listen(listen, reuse_port=reuse_port)
    try:
        if credentials is None:
            return server.add_insecure_port(listen)
        return server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        raise CannotListen(listen, UNKNOWN) from error
