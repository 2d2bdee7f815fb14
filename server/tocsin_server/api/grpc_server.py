"""The gRPC server: ports, options, services, and the order of interceptors. All of it lives on one event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import grpc

from tocsin_server.api.health import Health
from tocsin_server.api.interceptors.call import Interceptor, MethodKind
from tocsin_server.api.interceptors.call_log import CallLog
from tocsin_server.api.interceptors.counting import Counting
from tocsin_server.api.interceptors.deadline import Deadline
from tocsin_server.api.interceptors.draining import DrainGate
from tocsin_server.api.interceptors.errors import Errors
from tocsin_server.api.interceptors.overload import Overload
from tocsin_server.api.listening import UNKNOWN, CannotListen, check_can_listen
from tocsin_server.api.methods import Gate, UnknownMethods, service_handler
from tocsin_server.api.reading import METADATA_BYTES, RequestBytes
from tocsin_server.api.reflection import Reflection
from tocsin_server.api.services import ALL_NAMES, PATHS, PROBES, SERVICES
from tocsin_server.domain import limits
from tocsin_server.telemetry.metrics import Metrics

# Numbers of grpc's compression algorithms.
_IDENTITY, _GZIP = 0, 2

# Of these so many are let in, however few calls may be open: grpc refuses those beyond at random and without a reason.
_LEAST_STREAMS = 10_000

# A request a little over its limit is read, so that it is refused with a reason and not by the transport.
_RECEIVE_BYTES = limits.REQUEST_BYTES + (64 << 10)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How many calls may be open at once, by class of method; how many of those one client may have; how much of
    requests; and for how long."""

    calls: int = 10_000
    watches: int = 1_000
    workers: int = 2_000
    transfers: int = 16
    watches_per_client: int = 500
    transfers_per_client: int = 8
    request_bytes: int = 128 << 20  # of all requests under way
    idle: timedelta = timedelta(seconds=30)  # for so long a transfer may stand still, and a request not come
    deadline: timedelta = timedelta(seconds=30)  # of a unary call whose caller sets none


@dataclass(frozen=True, slots=True)
class Connections:
    """How long connections last."""

    max_age: timedelta = timedelta(minutes=30)  # a tenth more or less; then its client is asked to make another one
    max_age_grace: timedelta = timedelta(minutes=30)  # for calls on it that are open then
    max_idle: timedelta = timedelta(minutes=15)  # without any call


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
        limits: CallLimits = CallLimits(),
        connections: Connections = Connections(),
        reuse_port: bool = False,
        metrics: Metrics | None = None,
    ) -> None:
        """`listen` is host:port, port 0 takes a free one. With `credentials` TLS is spoken, else plaintext.

        `reuse_port` lets several processes share the port; off, a port that is taken is refused. `metrics`: counts the
        calls.
        """
        self._health = health
        self._drained = servicers.drained
        self._listen = listen
        self._reuse_port = reuse_port
        self._credentials = credentials
        self._gate = DrainGate()
        self._server = grpc.aio.server(options=_options(limits, connections, reuse_port=reuse_port))
        # Around every call, health and reflection too: what must hold for all stands here.
        counting = [] if metrics is None else [Counting(metrics, PATHS)]
        every: list[Interceptor] = [CallLog(), *counting, Errors()]
        overload = Overload(
            {
                MethodKind.CALL: limits.calls,
                MethodKind.WATCH: limits.watches,
                MethodKind.WORKER: limits.workers,
                MethodKind.TRANSFER: limits.transfers,
            },
            {MethodKind.WATCH: limits.watches_per_client, MethodKind.TRANSFER: limits.transfers_per_client},
        )
        in_flight = RequestBytes(limits.request_bytes)
        gate = Gate([*every, self._gate, overload, Deadline(limits.deadline)], in_flight, limits.idle)
        # Probes go on while the server drains, and while it has too many calls, or too many bytes of them.
        probes = Gate(every, RequestBytes(limits.request_bytes), limits.idle)
        by_class = {type(one): one for one in (*servicers.each, health, Reflection(ALL_NAMES))}
        self._server.add_generic_rpc_handlers(
            (
                *(service_handler(service, by_class[service.servicer], gate) for service in SERVICES),
                *(service_handler(service, by_class[service.servicer], probes) for service in PROBES),
                UnknownMethods(SERVICES[0].descriptor.file.package, gate),
            )
        )

    async def start(self) -> int:
        """Listen; the port. CannotListen."""
        await self._health.begin()
        check_can_listen(self._listen, reuse_port=self._reuse_port)
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(self._listen)
            else:
                port = self._server.add_secure_port(self._listen, self._credentials)
        except RuntimeError as error:
            raise CannotListen(self._listen, UNKNOWN) from error
        await self._server.start()
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


def _options(calls: CallLimits, connections: Connections, *, reuse_port: bool) -> list[tuple[str, int]]:
    most = max(calls.calls + calls.watches + calls.workers + calls.transfers, _LEAST_STREAMS)
    return [
        ("grpc.max_receive_message_length", _RECEIVE_BYTES),
        # Requests are inflated in reading.py, which asks first whether there is room; gzip is what it knows.
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", 1 << _IDENTITY | 1 << _GZIP),
        # grpc ends calls that it could not hand over yet as CANCELLED, at random from 1,000 on: let ours refuse them.
        ("grpc.server.max_pending_requests", 2 * most),
        ("grpc.server.max_pending_requests_hard_limit", 3 * most),
        ("grpc.max_concurrent_streams", most),
        # Of one frame; refused at random from half as much. Of all frames of a call reading.py says it once more.
        ("grpc.max_metadata_size", METADATA_BYTES // 2),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.max_connection_age_ms", _ms(connections.max_age)),
        ("grpc.max_connection_age_grace_ms", _ms(connections.max_age_grace)),
        ("grpc.max_connection_idle_ms", _ms(connections.max_idle)),
        ("grpc.so_reuseport", int(reuse_port)),
        # A peer that went away without a word is noticed within a minute and a half, and its watches end.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Clients behind proxies ping too: every 10 s is allowed, also while they have no call open.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
