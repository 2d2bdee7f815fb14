"""Metrics, assembled: what is counted on the way, what the server's parts are asked, and the endpoint that shows it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

from tocsin_server.background import Loop
from tocsin_server.dispatch.dispatcher import Dispatcher
from tocsin_server.maintenance.runner import ChoreRunner
from tocsin_server.operations.standing import StandingFigures
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.working.workers import Workers
from tocsin_server.readiness import Readiness
from tocsin_server.settings import MetricsSettings
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import metrics as names
from tocsin_server.telemetry import process_figures
from tocsin_server.telemetry.metrics import Metrics
from tocsin_server.telemetry.metrics_endpoint import MetricsEndpoint
from tocsin_server.telemetry.queue_gauges import QueueGauges
from tocsin_server.version import VERSION

_PROBE_EVERY = 0.5  # seconds


class Metering:
    """Counts into `metrics`, which the server's parts are given, and asks those parts themselves at each scrape.

    A scrape asks the store nothing: figures of queues are read beside it. Subscribes to `ticker`, so make it before
    that is started.
    """

    def __init__(
        self,
        settings: MetricsSettings,
        metrics: Metrics,
        store: JobStore,
        clock: StoreClock,
        ticker: Ticker,
        runner: ChoreRunner,
        dispatcher: Dispatcher | None,
        workers: Workers,
        readiness: Readiness,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._clock = clock
        self._ticker = ticker
        self._runner = runner
        self._dispatcher = dispatcher
        self._workers = workers
        self._readiness = readiness
        self._gauges = gauges = QueueGauges(settings.queues)
        self._standing = StandingFigures(store, ticker, settings.every, take=gauges.take, drop=gauges.drop)
        self._endpoint = MetricsEndpoint(settings.listen or "127.0.0.1:0", self.text)
        self._probing = Loop(self._probe, "loop_probe")
        self._began = time.monotonic()
        self._stack = AsyncExitStack()

    async def start(self) -> str:
        """Begin; the address of the endpoint. CannotServeMetrics."""
        address = await self._endpoint.start()
        self._stack.push_async_callback(self._endpoint.close)
        self._standing.start()
        self._stack.push_async_callback(self._standing.close)
        self._probing.start()
        self._stack.push_async_callback(self._probing.close)
        return address

    async def close(self) -> None:
        """Count and show no more."""
        await self._stack.aclose()

    def text(self) -> str:
        """All metrics as they are now, as Prometheus reads them."""
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from names.INFO.lines([((VERSION,), 1)])
        yield from names.READY.lines([((), int(self._readiness.ready))])
        yield from self._gauges.lines(self._clock.now())
        yield from names.FIGURES_PENDING.lines([((), self._standing.stale)])
        yield from self._metrics.lines()
        yield from self._of_runners()
        yield from self._of_store()
        yield from process_figures.lines()

    def _of_runners(self) -> Iterator[str]:
        parts = {} if self._dispatcher is None else self._dispatcher.figures_by_part()
        yield from names.SLOTS.lines(((part,), one.slots) for part, one in parts.items())
        yield from names.SLOTS_BUSY.lines(((part,), one.busy) for part, one in parts.items())
        yield from names.SLOTS_ABANDONED.lines(((part,), one.abandoned) for part, one in parts.items())
        yield from names.UNRECORDED.lines([((), sum(one.unrecorded for one in parts.values()))])
        here, free, held = self._workers.counted()
        yield from names.WORKERS.lines([((), here)])
        yield from names.CREDITS.lines([((), free)])
        yield from names.WORKER_ATTEMPTS.lines([((), held)])

    def _of_store(self) -> Iterator[str]:
        trips, chores = self._store.trips, self._runner.figures
        yield from names.trips(trips.row)
        yield from names.STORE_ERRORS.lines(((error,), count) for error, count in trips.errors.items())
        heard = self._ticker.last_ok
        silence = time.monotonic() - (self._began if heard is None else heard)
        yield from names.STORE_SILENCE.lines([((), round(silence, 3))])
        yield from names.MENDED.lines(((what,), count) for what, count in self._runner.mended.items())
        yield from names.CHORE_STEPS.lines(((chore,), one.steps) for chore, one in chores.items())
        yield from names.CHORE_FAILURES.lines(((chore,), one.failures) for chore, one in chores.items())
        busy = (((chore,), round(one.busy.total_seconds(), 6)) for chore, one in chores.items())
        yield from names.CHORE_BUSY.lines(busy)

    async def _probe(self) -> None:
        loop, lag = asyncio.get_running_loop(), self._metrics.loop_lag
        while True:
            asked = loop.time()
            await asyncio.sleep(_PROBE_EVERY)
            lag.observe(max(0.0, loop.time() - asked - _PROBE_EVERY), "server")
            if self._dispatcher is not None:
                lag.observe(max(0.0, self._dispatcher.handler_lag), "handlers")
