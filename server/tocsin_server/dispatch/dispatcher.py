"""The embedded loop: the worker runtime with the store as its source, and the word of it in the store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields
from datetime import timedelta

import structlog
from tocsin.worker.registry import Handlers
from tocsin.worker.runtime import Figures, Runtime
from tocsin.worker.slots import Slots

from tocsin_server.dispatch.lease_keeper import LeaseKeeper
from tocsin_server.dispatch.pushing import PushHandlers, Pushing
from tocsin_server.dispatch.queue_limits import QueueLimits
from tocsin_server.dispatch.store_source import StoreSource
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import WorkerFigures
from tocsin_server.operations.finishing import Finishing
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: A change is told within _ANNOUNCE_EVERY; the same word is said again after _RENEW_AFTER, before it ends.
_ANNOUNCE_EVERY = timedelta(seconds=5)
_RENEW_AFTER = timedelta(seconds=9)
_ANNOUNCED_FOR = timedelta(seconds=15)
_TAKE_BACK_WITHIN = timedelta(seconds=1)


class Dispatcher:
    """Runs jobs in this process. Without any handler it claims nothing.

    name: how this process is called in leases and among the workers. queues: which to run jobs of; None: all.
    concurrency: how many jobs at a time, over all types; type_concurrency: of one type, where neither its handler nor
    the queue's settings say otherwise. push: what sends jobs on as HTTP requests, and push_concurrency how many of them
    at a time; None: they are left to other processes. tick: how often the store is asked in case a wake-up was lost.
    failed: called where it ends though nobody asked. keeper_store: makes another store on the same place, over which
    leases are renewed while this loop is too busy to. Subscribes to `wakeups` and `ticker`, so make it before those are
    started.
    """

    def __init__(
        self,
        store: JobStore,
        handlers: Handlers,
        wakeups: Wakeups,
        ticker: Ticker,
        clock: StoreClock,
        queue_settings: QueueSettingsCache,
        *,
        name: str,
        queues: Collection[str] | None = None,
        lease: timedelta = timedelta(seconds=30),
        concurrency: int = 20,
        type_concurrency: int = 5,
        push: PushHandlers | None = None,
        push_concurrency: int = 50,
        tick: timedelta = timedelta(seconds=1),
        warnings: Sequence[str] = (),
        failed: Callable[[], None] = lambda: None,
        keeper_store: Callable[[], JobStore] | None = None,
    ) -> None:
        self._store = store
        self._failed = failed
        self._warnings = tuple(warnings)  # of the handlers' settings; queue health shows them
        self._handlers = handlers
        self._name = name
        self._queues = tuple(sorted(queues or ()))
        self._ticker = ticker
        finishing = Finishing(store)
        slots = Slots(concurrency, handlers.concurrencies(), type_concurrency)
        self._leasing = Leasing(store, finishing, wakeups, ticker, clock, tick=tick)
        self._limits = QueueLimits(
            store, queue_settings, slots, wakeups, ticker, tick=tick, in_turn=self._leasing.in_turn
        )
        source = StoreSource(store, self._leasing, finishing, wakeups, lease, queues=queues, fresh=self._limits.fresh)
        self._runtimes = [Runtime(source, handlers, slots=slots)]
        sources = [source]
        self._pushing: Pushing | None = None
        if push is not None:
            self._pushing = Pushing(
                store,
                self._leasing,
                finishing,
                wakeups,
                ticker,
                queue_settings,
                push,
                lease=lease,
                queues=queues,
                concurrency=push_concurrency,
                tick=tick,
            )
            self._runtimes.append(self._pushing.runtime)
            sources.append(self._pushing.source)
        self._keeper = None
        if keeper_store is not None:
            self._keeper = LeaseKeeper(
                keeper_store, lambda age: [held for one in sources for held in one.overdue(age)], lease
            )
        self._running: list[asyncio.Task[None]] = []
        self._announcing: asyncio.Task[None] | None = None

    @property
    def last_tick(self) -> float | None:
        """time.monotonic() of the last tick in which this was alive and the store answered; None: not yet, or it
        should run jobs and does not."""
        if any(task.done() for task in self._running):
            return None
        return self._ticker.last_ok

    def figures(self) -> Figures:
        """Slots and what is in them."""
        all_ = [runtime.figures() for runtime in self._runtimes]
        return Figures(*(sum(getattr(one, field.name) for one in all_) for field in fields(Figures)))

    async def start(self) -> None:
        """Begin to run jobs."""
        if not len(self._handlers) and self._pushing is None:
            return
        self._leasing.start()
        if self._keeper is not None:
            self._keeper.start()
        for runtime in self._runtimes:
            task = asyncio.create_task(runtime.run(), name="runtime")
            task.add_done_callback(self._tell_end)
            self._running.append(task)
        self._announcing = asyncio.create_task(self._announce(), name="announce")

    async def stop(self, grace: timedelta) -> None:
        """Claim no more, let what runs end within `grace`, give back the rest without counting it as an attempt."""
        if self._announcing is None:
            return
        try:
            await asyncio.gather(*(self._drain(*one, grace) for one in zip(self._runtimes, self._running, strict=True)))
        finally:
            if self._keeper is not None:
                await self._keeper.close()
            await self._leasing.close()
            await self._limits.close()
            if self._pushing is not None:
                await self._pushing.targets.close()
            await self._take_back_word(self._announcing)

    def _tell_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("runtime_failed", exc_info=error)
            self._failed()

    async def _drain(self, runtime: Runtime, running: asyncio.Task[None], grace: timedelta) -> None:
        if running.done():
            return
        drained = await runtime.drain(grace)
        _log.info(
            "drained",
            ended=drained.ended,
            released=drained.released,
            abandoned=drained.abandoned,
            unflushed=drained.unflushed,
        )
        await asyncio.wait({running})

    async def _announce(self) -> None:
        last, renew = None, 0.0
        while True:
            words = self._words()
            if words != last or time.monotonic() >= renew:
                try:
                    for word in words:
                        await self._store.announce(word, _ANNOUNCED_FOR)
                    last, renew = words, time.monotonic() + _RENEW_AFTER.total_seconds()
                except TocsinError as error:
                    _log.debug("announce_failed", error=str(error))  # the ticker says aloud that the store is away
                except Exception:
                    _log.exception("announce_failed")
            await asyncio.sleep(_ANNOUNCE_EVERY.total_seconds())

    async def _take_back_word(self, announcing: asyncio.Task[None]) -> None:
        announcing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await announcing
        with contextlib.suppress(TocsinError, TimeoutError):
            async with asyncio.timeout(_TAKE_BACK_WITHIN.total_seconds()):
                for word in self._words():
                    await self._store.announce(word, timedelta(0))

    def _words(self) -> Sequence[WorkerFigures]:
        handlers, *push = [runtime.figures() for runtime in self._runtimes]
        warnings = list(self._warnings)
        if handlers.blocked_loops:
            warnings.append("a handler blocks its event loop: make it a plain function, or await")
        if handlers.abandoned:
            warnings.append("handlers that did not stop when asked keep their slots")
        words = [self._word(self._name, self._handlers, handlers, warnings)]
        if self._pushing is not None:
            # A name of its own: as one, many free slots of the handlers would hide that all requests hang.
            words.append(self._word(f"{self._name}/http", self._pushing.types, push[0], ()))
        return words

    def _word(self, name: str, types: Iterable[str], figures: Figures, warnings: Sequence[str]) -> WorkerFigures:
        return WorkerFigures(
            worker=name,
            types=tuple(sorted(types)),
            slots=figures.slots,
            busy=figures.busy,
            abandoned=figures.abandoned,
            queues=self._queues,
            warnings=tuple(warnings),
        )
