"""The gRPC server: ports, options, services, and the order of interceptors.

    settings = QueueSettingsCache(store)
    scheduling = Scheduling(store, settings.get)
    watching = Watching(store)
    health = Health()
    reminders = Reminders(store, scheduling)
    services = build_services(store, scheduling, watching, settings, reminders, facts)
    server = GrpcServer(services, health, listen="127.0.0.1:50051")
    port = await server.start()
    await health.set_ready(True)       # and False whenever the store is away or the loop does not tick
    ...
    await server.drain()               # not ready, new calls are refused, watches end
    await server.stop(timedelta(seconds=5))
    await watching.close()
    await reminders.close()
    await scheduling.close()

All of it lives on one event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import grpc
from tocsin.v1 import job_service_pb2, queue_service_pb2, reminder_service_pb2, server_service_pb2

from tocsin_server.api.handlers import Gate, UnknownMethods, service_handler
from tocsin_server.api.health import SERVICE as HEALTH
from tocsin_server.api.health import Health
from tocsin_server.api.interceptors.call import Interceptor, Kind
from tocsin_server.api.interceptors.deadline import Deadline
from tocsin_server.api.interceptors.draining import DrainGate
from tocsin_server.api.interceptors.errors import Errors
from tocsin_server.api.interceptors.overload import Overload
from tocsin_server.api.interceptors.telemetry import Telemetry
from tocsin_server.api.job_service import JobService
from tocsin_server.api.listening import UNKNOWN, CannotListen, check_can_listen
from tocsin_server.api.queue_service import QueueService
from tocsin_server.api.reflection import reflection_handlers
from tocsin_server.api.reminder_service import ReminderService
from tocsin_server.api.requests import METADATA_BYTES, RequestBytes
from tocsin_server.api.server_service import ServerFacts, ServerService
from tocsin_server.domain import limits
from tocsin_server.operations.bulk import Bulk
from tocsin_server.operations.changing import Changing
from tocsin_server.operations.queues import Queues, QueueSettingsCache
from tocsin_server.operations.reminders.reminders import Reminders
from tocsin_server.operations.scheduling import Scheduling
from tocsin_server.operations.transfer.transfers import Transfers
from tocsin_server.operations.watching import Watching
from tocsin_server.store.interface import JobStore

_JOB = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
_QUEUE = queue_service_pb2.DESCRIPTOR.services_by_name["QueueService"]
_REMINDERS = reminder_service_pb2.DESCRIPTOR.services_by_name["ReminderService"]
_SERVER = server_service_pb2.DESCRIPTOR.services_by_name["ServerService"]

# Numbers of grpc's compression algorithms.
_IDENTITY, _GZIP = 0, 2

# Of these so many are let in, however few calls may be open: grpc refuses those beyond at random and without a reason.
_LEAST_STREAMS = 10_000

# A request a little over its limit is read, so that it is refused with a reason and not by the transport.
_RECEIVE_BYTES = limits.REQUEST_BYTES + (64 << 10)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How many calls may be open at once, by class of method; how many of those one client may have; and how much."""

    calls: int = 10_000
    watches: int = 1_000
    transfers: int = 16
    watches_per_client: int = 500
    transfers_per_client: int = 8
    request_bytes: int = 128 << 20  # of all requests under way
    idle: timedelta = timedelta(seconds=30)  # for so long a transfer may stand still, and a request not come


@dataclass(frozen=True, slots=True)
class Connections:
    """How long connections last."""

    max_age: timedelta = timedelta(minutes=30)  # a tenth more or less; then its client is asked to make another one
    max_age_grace: timedelta = timedelta(minutes=30)  # for calls on it that are open then
    max_idle: timedelta = timedelta(minutes=15)  # without any call


@dataclass(frozen=True, slots=True)
class Services:
    """What the server serves beside health and reflection."""

    jobs: JobService
    queues: QueueService
    reminders: ReminderService
    server: ServerService
    watching: Watching  # its streams are ended when the server drains, as are exports and imports
    transfers: Transfers


def build_services(
    store: JobStore,
    scheduling: Scheduling,
    watching: Watching,
    settings: QueueSettingsCache,
    reminders: Reminders,
    facts: ServerFacts,
    silent_since: Callable[[], datetime | None] = lambda: None,
    writes_refused: Callable[[], str] = lambda: "",
) -> Services:
    """The services over a store. `silent_since`: since when it is known not to answer; None: it does.
    `writes_refused`: why it takes no writes; "": it does."""
    bulk, queues = Bulk(store), Queues(store, settings)
    transfers = Transfers(store, queues)
    return Services(
        jobs=JobService(store, scheduling, watching, bulk, Changing(store), transfers),
        queues=QueueService(store, queues, bulk, silent_since, writes_refused),
        reminders=ReminderService(reminders),
        server=ServerService(store, facts),
        watching=watching,
        transfers=transfers,
    )


class GrpcServer:
    """Serves Tocsin's services, health and reflection on one address."""

    def __init__(
        self,
        services: Services,
        health: Health,
        *,
        listen: str = "127.0.0.1:50051",
        credentials: grpc.ServerCredentials | None = None,
        limits: CallLimits = CallLimits(),
        connections: Connections = Connections(),
        default_deadline: timedelta = timedelta(seconds=30),
        reuse_port: bool = False,
    ) -> None:
        """`listen` is host:port, port 0 takes a free one. With `credentials` TLS is spoken, else plaintext.

        `default_deadline` holds for unary calls whose caller sets none. `reuse_port` lets several processes share the
        port; off, a port that is taken is refused.
        """
        self._health = health
        self._watching = services.watching
        self._transfers = services.transfers
        self._listen = listen
        self._reuse_port = reuse_port
        self._credentials = credentials
        self._gate = DrainGate()
        self._server = grpc.aio.server(options=_options(limits, connections, reuse_port=reuse_port))
        # Around every call, health and reflection too: what must hold for all stands here.
        every: list[Interceptor] = [Telemetry(), Errors()]
        overload = Overload(
            {Kind.CALL: limits.calls, Kind.WATCH: limits.watches, Kind.TRANSFER: limits.transfers},
            {Kind.WATCH: limits.watches_per_client, Kind.TRANSFER: limits.transfers_per_client},
        )
        in_flight = RequestBytes(limits.request_bytes)
        gate = Gate([*every, self._gate, overload, Deadline(default_deadline)], in_flight, limits.idle)
        # Probes go on while the server drains, and while it has too many calls, or too many bytes of them.
        probes = Gate(every, RequestBytes(limits.request_bytes), limits.idle)
        served = [_JOB, _QUEUE, _REMINDERS, _SERVER, HEALTH]
        self._server.add_generic_rpc_handlers(
            (
                service_handler(services.jobs, _JOB, gate, opaque=True),
                service_handler(services.queues, _QUEUE, gate, opaque=False),
                service_handler(services.reminders, _REMINDERS, gate, opaque=False),
                service_handler(services.server, _SERVER, gate, opaque=False),
                health.handler(probes),
                *reflection_handlers(probes, [service.full_name for service in served]),
                UnknownMethods(_JOB.file.package, gate),
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
        self._watching.drain()
        self._transfers.drain()

    async def stop(self, grace: timedelta) -> None:
        """Drain, let calls under way end within `grace`, cut off those that have not, and close the port."""
        await self.drain()
        await self._server.stop(grace.total_seconds())


def _options(calls: CallLimits, connections: Connections, *, reuse_port: bool) -> list[tuple[str, int]]:
    most = max(calls.calls + calls.watches + calls.transfers, _LEAST_STREAMS)
    return [
        ("grpc.max_receive_message_length", _RECEIVE_BYTES),
        # Requests are inflated in requests.py, which asks first whether there is room; gzip is what it knows.
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", 1 << _IDENTITY | 1 << _GZIP),
        # grpc ends calls that it could not hand over yet as CANCELLED, at random from 1,000 on: let ours refuse them.
        ("grpc.server.max_pending_requests", 2 * most),
        ("grpc.server.max_pending_requests_hard_limit", 3 * most),
        ("grpc.max_concurrent_streams", most),
        # Of one frame; refused at random from half as much. Of all frames of a call requests.py says it once more.
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
