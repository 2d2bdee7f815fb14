"""The server, assembled: what is made of what, and in which order it starts and stops.

Start: handlers are loaded, the store is opened, gRPC listens (not ready), the loops begin, health says ready.
Stop:  health says not ready and nothing new is claimed or taken; running jobs get their grace and the rest is given
       back; calls under way end; the store is closed, an embedded one stopped.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from base64 import b64encode
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from tocsin.worker.context import JobContext
from tocsin.worker.loading import HandlersNotFound, load_handlers
from tocsin.worker.registry import Handlers

from tocsin_server.api.grpc_server import GrpcServer
from tocsin_server.api.health import Health
from tocsin_server.api.lease_tokens import token_of
from tocsin_server.api.listening import CannotListen, CannotServeDashboard
from tocsin_server.api.parents_of import ParentsOf
from tocsin_server.api.payload_rules import PayloadRules
from tocsin_server.api.probe_server import ProbeServer
from tocsin_server.api.server_service import ServerFacts
from tocsin_server.api.services import SERVICE_NAMES
from tocsin_server.dispatch.dispatcher import Dispatcher
from tocsin_server.dispatch.pushing import PushHandlers
from tocsin_server.domain.lease import Lease
from tocsin_server.domain.words import counted
from tocsin_server.doors import Doors
from tocsin_server.handlers.builtin import Housekeeping, Outlets, builtin_handlers, http_handler, outlets
from tocsin_server.handlers.hello import hello_handlers
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.maintenance.calendar_follower import CalendarFollower
from tocsin_server.maintenance.cross_checker import CrossChecker
from tocsin_server.maintenance.due_promoter import DuePromoter
from tocsin_server.maintenance.errand_runner import errand_runners
from tocsin_server.maintenance.lease_reaper import LeaseReaper
from tocsin_server.maintenance.queue_forgetter import QueueForgetter
from tocsin_server.maintenance.retention_trimmer import RetentionTrimmer
from tocsin_server.maintenance.runner import ChoreRunner
from tocsin_server.maintenance.schedule_firer import ScheduleFirer
from tocsin_server.maintenance.shared_limit_keeper import SharedLimitKeeper
from tocsin_server.messages.errors import MessageSettingsError
from tocsin_server.metering import Metering
from tocsin_server.operations.cancel_jobs import CancelJobs
from tocsin_server.operations.finishing import Finishing
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.reminders.fence import ReminderFence
from tocsin_server.operations.reminders.reminders import Reminders
from tocsin_server.operations.reporting.retention import Retained
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.operations.watching import Watching
from tocsin_server.operations.working.working import Working
from tocsin_server.readiness import Readiness
from tocsin_server.security.reloading import Unusable
from tocsin_server.servicers import build_servicers
from tocsin_server.settings import Settings
from tocsin_server.settings.job_defaults import server_defaults
from tocsin_server.settings.production import store_unfit_for_production, unfit_for_production
from tocsin_server.store.interface import Durability, JobStore
from tocsin_server.store.open import MadeStore, StoreUnfit, joined_store, made_store, open_store, quotas_of
from tocsin_server.telemetry.audit_log import AuditUnusable
from tocsin_server.telemetry.metrics import Metrics
from tocsin_server.telemetry.metrics_endpoint import CannotServeMetrics
from tocsin_server.version import VERSION

if TYPE_CHECKING:
    from tocsin_server.web.serving import Dashboard

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")

_CALLS_GRACE = timedelta(seconds=5)  # for calls under way, once no job runs any more


class CannotStart(Exception):
    """The server cannot start as it is set up. A line each: why, and what to do. Exit code 2."""


@dataclass(frozen=True, slots=True)
class _Loops:
    """What runs beside the calls."""

    wakeups: Wakeups
    ticker: Ticker
    runner: ChoreRunner
    leasing: Leasing
    dispatcher: Dispatcher | None
    working: Working
    readiness: Readiness
    metering: Metering | None


class Server:
    """One server. Make, start and stop it on one event loop, best in the main thread (store/redis/embedded says why).

    `hello` adds the handler of `tocsin dev`'s first job. `beside`: others serve on the same address, and share an
    embedded store that runs already.
    """

    def __init__(self, settings: Settings, *, hello: bool = False, beside: bool = False) -> None:
        self._settings = settings
        self._hello = hello
        self._beside = beside
        self._stack = AsyncExitStack()
        self._grpc: GrpcServer | None = None
        self._loops: _Loops | None = None
        self._closed = asyncio.Event()
        self.failed = asyncio.Event()  # it runs no jobs any more, unasked; only a restart mends that
        self.address = ""
        self.metrics_address = ""  # of the endpoint of metrics, where they are served
        self.dashboard_address = ""  # its address in a browser, where it is served
        self._metrics = Metrics(settings.metrics.queues) if settings.metrics.listen is not None else None

    async def start(self) -> None:
        """Serve. Waits for a store that is away. CannotStart; after it, or a cancel, nothing is left running."""
        try:
            await self._start()
        except (
            HandlersNotFound,
            MessageSettingsError,
            StoreUnfit,
            CannotListen,
            CannotServeMetrics,
            Unusable,
            AuditUnusable,
            CannotServeDashboard,
        ) as error:
            await self._abandon()
            raise CannotStart(str(error)) from error
        except BaseException:
            await self._abandon()
            raise

    async def wait_closed(self) -> None:
        """Return when `stop` is done."""
        await self._closed.wait()

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Stop, as said at the top. Once `hurry` is set, running jobs get no further grace."""
        try:
            if self._loops is not None and self._grpc is not None:
                await self._grpc.drain()
                hurry = hurry or asyncio.Event()
                await self._stop_jobs(self._loops.dispatcher, hurry)
                await self._loops.working.end(timedelta(0) if hurry.is_set() else _CALLS_GRACE)
        finally:
            await self._abandon()

    async def _start(self) -> None:
        settings = self._settings
        doors = Doors(settings)
        self._stack.push_async_callback(doors.close)
        unfit = [] if self._hello else unfit_for_production(settings)
        _refuse_in_production(settings, unfit)
        out, own = outlets(settings.mail, settings.sms), self._own_handlers()  # what is wrong is said before a store
        make = joined_store if self._beside else made_store
        made = await self._stack.enter_async_context(make(settings))
        store = made.store
        push = self._push_handlers()
        handlers, warnings = self._handlers(store, out, own, push)
        handled = sorted({*handlers, *push})
        await open_store(made)
        if not self._hello:
            found = store_unfit_for_production(keeps_nothing=(await store.info()).durability is Durability.NONE)
            _refuse_in_production(settings, found)
            unfit += found

        name = f"{socket.gethostname()}:{secrets.token_hex(4)}"
        queue_settings = QueueSettingsCache(store, ttl=settings.tick)
        scheduling = ScheduleJobs(
            store,
            queue_settings.get,
            server_defaults=server_defaults(settings),
            linger=settings.gather.wait,
        )
        self._stack.push_async_callback(scheduling.close)
        cancelling = CancelJobs(store, linger=settings.gather.wait)
        self._stack.push_async_callback(cancelling.close)
        reminders = Reminders(store, scheduling)
        self._stack.push_async_callback(reminders.close)
        watching = Watching(store)
        self._stack.push_async_callback(watching.close)
        facts = ServerFacts(
            version=VERSION,
            server=name,
            start_time=datetime.now(UTC),
            handled_types=tuple(handled),
            lease=settings.lease.duration,
            events_per_queue=settings.events.per_queue,
            quotas=quotas_of(settings),
            unfit_for_production=tuple(unfit),
            calls=doors.limits,
        )
        health = Health(SERVICE_NAMES)
        self._loops = loops = self._make_loops(made, handlers, push, warnings, queue_settings, health, name)
        scheduling.ride = loops.leasing.ride
        operations = scheduling, cancelling, watching, queue_settings, reminders, loops.working
        servicers = build_servicers(
            store,
            *operations,
            facts,
            loops.ticker.silent_since,
            loops.readiness.writes_refused,
            PayloadRules(out.mailer.rules, out.texter.rules, settings.quotas.payload_bytes),
        )
        dashboard = self._dashboard(doors)
        self._grpc = GrpcServer(
            servicers,
            health,
            listen=settings.listen,
            credentials=doors.credentials,
            auth=doors.auth,
            audit=doors.audit(name),
            reuse_port=self._beside,
            limits=doors.limits,
            connections=doors.connections,
            reflection=settings.reflects,
            metrics=self._metrics,
            spans=doors.spans,
            inside=None if dashboard is None else dashboard.socket,
        )
        await self._start_probes(health)
        port = await self._grpc.start()
        self._stack.push_async_callback(self._grpc.stop, _CALLS_GRACE)
        doors.start()
        self.address = f"{settings.listen.rpartition(':')[0]}:{port}"
        await self._start_loops(self._loops)
        if dashboard is not None:
            self.dashboard_address = await dashboard.start(self.address)
        if unfit:
            _log.warning("not set up for a production", conditions=unfit)
        await self._tell(store, name, [*made.warnings(), *warnings, *doors.warnings()], handled)

    async def _start_probes(self, health: Health) -> None:
        """The port for probes, which answers until all else has stopped."""
        if self._settings.health_listen is not None:
            probes = ProbeServer(health, self._settings.health_listen, reuse_port=self._beside)
            await probes.start()
            self._stack.push_async_callback(probes.stop, timedelta(0))

    def _dashboard(self, doors: Doors) -> Dashboard | None:
        """The dashboard, where it is on. It is loaded for that alone: 4 MB."""
        if self._settings.web.listen is None:
            return None
        from tocsin_server.web.serving import Dashboard

        shown = (lambda: doors.certificates), (lambda: doors.token_hashes)
        dashboard = Dashboard(self._settings, *shown, self._beside, self._hello)
        self._stack.push_async_callback(dashboard.close)
        return dashboard

    def _own_handlers(self) -> Sequence[Handlers]:
        """The user's handlers, and that of the first job of `tocsin dev`. HandlersNotFound."""
        if not self._settings.dispatch:
            return ()
        groups = [load_handlers(spec) for spec in self._settings.handlers]
        return [*groups, hello_handlers()] if self._hello else groups

    def _push_handlers(self) -> PushHandlers:
        """What makes requests, and sends jobs to push targets."""
        requests = http_handler(self._settings.http, _wire_token)
        handlers = Handlers()
        if self._settings.dispatch:
            requests.register(handlers)
        return PushHandlers(handlers, requests.push)

    def _handlers(
        self, store: JobStore, out: Outlets, own: Sequence[Handlers], push: PushHandlers
    ) -> tuple[Handlers, Sequence[str]]:
        if not self._settings.dispatch:
            return Handlers(), ()
        loop = ServerLoop(asyncio.get_running_loop())
        builtin = builtin_handlers(out, store, ReminderFence(store), loop, _housekeeping(self._settings))
        try:
            Handlers.merged(push, *own)  # they run beside the others, and no type has two handlers
            return Handlers.merged(builtin.handlers, *own), builtin.warnings
        except ValueError as error:
            raise HandlersNotFound(str(error)) from error

    def _make_loops(
        self,
        made: MadeStore,
        handlers: Handlers,
        push: PushHandlers,
        warnings: Sequence[str],
        queue_settings: QueueSettingsCache,
        health: Health,
        name: str,
    ) -> _Loops:
        settings, store, metrics = self._settings, made.store, self._metrics
        clock = StoreClock()
        wakeups = Wakeups(store)
        ticker = Ticker(store, clock, settings.tick)
        wakeups.on_settings(queue_settings.invalidate)
        wakeups.on_work(lambda queue, _: ticker.know(queue))
        wakeups.on_missed(ticker.read_all)
        wakeups.on_moved(ticker.read_all_now)
        retention = settings.retention
        chores = [
            DuePromoter(store, clock),
            LeaseReaper(store, clock, settings.tick, metrics),
            RetentionTrimmer(store, clock, completed_max=retention.completed_max, failed_max=retention.failed_max),
            CrossChecker(store),
            ScheduleFirer(store, clock, metrics, queue_settings.get),
            CalendarFollower(store),
            SharedLimitKeeper(store),
            QueueForgetter(store, unused_for=settings.quotas.forget_unused_for),
        ]
        runner = ChoreRunner(ticker, clock, [*chores, *errand_runners(store, clock)], hurried=store.manual_clock)
        wakeups.on_errands(runner.notice)
        leasing = Leasing(store, Finishing(store, metrics), wakeups, ticker, clock, tick=settings.tick, metrics=metrics)
        dispatcher = None
        if settings.dispatch:
            dispatcher = Dispatcher(
                store,
                handlers,
                leasing,
                wakeups,
                ticker,
                queue_settings,
                name=name,
                version=settings.worker_version,
                queues=settings.queues or None,
                lease=settings.lease.duration,
                concurrency=settings.concurrency,
                type_concurrency=settings.type_concurrency,
                push=push,
                push_concurrency=settings.http.concurrency,
                tick=settings.tick,
                warnings=warnings,
                failed=self.failed.set,
                keeper_store=made.another,
                parents=ParentsOf(store),
            )
        working = Working(
            store,
            leasing,
            queue_settings,
            wakeups,
            ticker,
            clock,
            server=name,
            embedded=dispatcher.words if dispatcher is not None else lambda: (),
            silent_since=ticker.silent_since,
            linger=settings.gather.wait,
        )
        readiness = Readiness(health, ticker, dispatcher, store, settings.tick)
        metering = None
        if metrics is not None:
            workers = working.workers
            metering = Metering(settings.metrics, metrics, store, clock, ticker, runner, dispatcher, workers, readiness)
        return _Loops(wakeups, ticker, runner, leasing, dispatcher, working, readiness, metering)

    async def _start_loops(self, loops: _Loops) -> None:
        # Closed in the reverse order, each only where it was started.
        if loops.metering is not None:
            self.metrics_address = await loops.metering.start()
            self._stack.push_async_callback(loops.metering.close)
        loops.wakeups.start()
        self._stack.push_async_callback(loops.wakeups.close)
        loops.ticker.start()
        self._stack.push_async_callback(loops.ticker.close)
        loops.runner.start()
        self._stack.push_async_callback(loops.runner.close)
        loops.leasing.start()
        self._stack.push_async_callback(loops.leasing.close)
        self._stack.push_async_callback(loops.working.close)
        if loops.dispatcher is not None:
            await loops.dispatcher.start()
            self._stack.push_async_callback(loops.dispatcher.stop, timedelta(0))
        loops.working.start()
        loops.readiness.start()
        self._stack.push_async_callback(loops.readiness.close)

    async def _stop_jobs(self, dispatcher: Dispatcher | None, hurry: asyncio.Event) -> None:
        if dispatcher is None:
            return
        if running := dispatcher.figures().busy:
            jobs = counted(running, "job runs and gets", "jobs run and get")
            _log.info(
                f"{jobs} up to {self._settings.drain.grace.total_seconds():g} s to end; a second signal stops at once"
            )
        stopping = asyncio.create_task(dispatcher.stop(self._settings.drain.grace))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        if hurried.done():
            await dispatcher.stop(timedelta(0))
        hurried.cancel()
        await stopping

    async def _abandon(self) -> None:
        await self._stack.aclose()
        self._closed.set()

    async def _tell(self, store: JobStore, name: str, warnings: Sequence[str], handled: Sequence[str]) -> None:
        info = await store.info()
        _log.info(
            "serving",
            address=self.address,
            **{name: at for name in ("metrics", "dashboard") if (at := getattr(self, f"{name}_address"))},
            server=name,  # as callers see it
            pid=os.getpid(),
            provider=f"{info.provider} ({info.version}{', embedded' if info.embedded else ''})",
            durability=info.durability.name.lower().replace("_", " "),
            handlers=", ".join(handled) or "none",
            queues=", ".join(self._settings.queues) or "all",
            version=VERSION,
        )
        for warning in warnings:
            _log.warning(warning)


def _wire_token(job: JobContext) -> str:
    """The right to a job's attempt, for whoever ends it by WorkerService."""
    return b64encode(token_of(Lease(job.queue, job.job_id, job.attempt, job.token), job.type)).decode()


def _refuse_in_production(settings: Settings, conditions: Sequence[str]) -> None:
    """CannotStart where there are some, and none may be."""
    if settings.production and conditions:
        raise CannotStart("\n".join(conditions))


def _housekeeping(settings: Settings) -> Housekeeping:
    retained = Retained(server_defaults(settings), settings.retention.completed_max, settings.retention.failed_max)
    return Housekeeping(settings.reports.folder or settings.data / "reports", retained)
