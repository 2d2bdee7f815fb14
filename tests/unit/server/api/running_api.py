"""The API on a port of its own, over a real store whose calls can be counted, held and lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from support.spied_store import SpiedStore
from tocsin.v1 import (
    job_service_pb2_grpc,
    queue_service_pb2_grpc,
    server_service_pb2_grpc,
    worker_service_pb2_grpc,
)
from tocsin_server.api.call_limits import CallLimits
from tocsin_server.api.connections import Connections
from tocsin_server.api.grpc_server import GrpcServer
from tocsin_server.api.health import Health
from tocsin_server.api.interceptors.call import Interceptor
from tocsin_server.api.payload_rules import NO_RULES, PayloadRules
from tocsin_server.api.server_service import ServerFacts
from tocsin_server.api.services import SERVICE_NAMES
from tocsin_server.domain.quotas import Quotas
from tocsin_server.operations.cancel_jobs import CancelJobs
from tocsin_server.operations.finishing import Finishing
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.reminders.reminders import Reminders
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.operations.watching import Watching
from tocsin_server.operations.working.working import Working
from tocsin_server.servicers import build_servicers

FACTS = ServerFacts(
    version="1.2.3",
    server="tests-1",
    start_time=datetime(2026, 1, 2, tzinfo=UTC),
    handled_types=("email_notification",),
    lease=timedelta(seconds=30),
    events_per_queue=100_000,
    quotas=Quotas(queues=5, jobs=3, payload_bytes=2_000),
)
LASTING = Connections()
LIMITS = {"calls": 100, "watches": 2, "transfers_per_client": 16, "deadline": timedelta(seconds=2)}


@dataclass
class Api:
    """A server that listens, and stubs that call it."""

    server: GrpcServer
    health: Health
    watching: Watching
    working: Working
    store: SpiedStore
    address: str
    channel: grpc.aio.Channel

    @property
    def jobs(self) -> Any:
        return job_service_pb2_grpc.JobServiceStub(self.channel)

    @property
    def queues(self) -> Any:
        return queue_service_pb2_grpc.QueueServiceStub(self.channel)

    @property
    def workers(self) -> Any:
        return worker_service_pb2_grpc.WorkerServiceStub(self.channel)

    @property
    def info(self) -> Any:
        return server_service_pb2_grpc.ServerServiceStub(self.channel)


@asynccontextmanager
async def running_api(
    spied: SpiedStore,
    *,
    connections: Connections = LASTING,
    leasing: bool = False,
    name: str = FACTS.server,
    auth: Interceptor | None = None,
    rules: PayloadRules = NO_RULES,
    **limits: Any,
) -> AsyncIterator[Api]:
    """Two watches and a hundred other calls may be open; calls without a deadline end after 2 s.

    With `leasing` jobs are leased to workers; else nothing asks the store but for calls.
    """
    store = spied.as_store
    settings = QueueSettingsCache(store)
    clock, wakeups = StoreClock(), Wakeups(store)
    ticker = Ticker(store, clock)
    wakeups.on_settings(settings.invalidate)
    wakeups.on_missed(ticker.read_all)
    seats = Leasing(store, Finishing(store), wakeups, ticker, clock)
    working = Working(store, seats, settings, wakeups, ticker, clock, server=name, silent_since=ticker.silent_since)
    scheduling, watching, health = ScheduleJobs(store, settings.get), Watching(store), Health(SERVICE_NAMES)
    reminders = Reminders(store, scheduling)
    server = GrpcServer(
        build_servicers(
            store, scheduling, CancelJobs(store), watching, settings, reminders, working, FACTS, rules=rules
        ),
        health,
        listen="127.0.0.1:0",
        limits=CallLimits(**{**LIMITS, **limits}),
        connections=connections,
        auth=auth,
    )
    port = await server.start()
    if leasing:
        wakeups.start()
        seats.start()
        ticker.start()
        working.start()
    await health.set_ready(True)
    address = f"127.0.0.1:{port}"
    async with grpc.aio.insecure_channel(address) as channel:
        yield Api(server, health, watching, working, spied, address, channel)
    for gate in spied.gates.values():  # a test that failed may have left one shut
        gate.set()
    await working.end(timedelta(0))
    await server.stop(timedelta(0))
    await working.close()
    await seats.close()
    await ticker.close()
    await wakeups.close()
    await watching.close()
    await reminders.close()
    await scheduling.close()
