"""The embedded loop: the worker runtime with the store as its source, and the word of it in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import structlog
from tocsin.worker.registry import Handlers
from tocsin.worker.runtime import Drained, Figures, Runtime
from tocsin.worker.slots import Slots

from tocsin_server.dispatch.lease_keeper import LeaseKeeper
from tocsin_server.dispatch.pushing import PushHandlers, Pushing
from tocsin_server.dispatch.queue_slots import QueueSlots
from tocsin_server.dispatch.store_source import StoreSource
from tocsin_server.domain.bulk_actions import BULK_QUEUE, BULK_TYPE
from tocsin_server.domain.queues import WorkerFigures
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Dispatcher:
    """Runs jobs in this process, at a seat of `leasing`. Without any handler it takes none.

    name, version: how this process is called among the workers, and its handlers' version. queues: which to run jobs
    of; None: all.
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
        leasing: Leasing,
        wakeups: Wakeups,
        ticker: Ticker,
        queue_settings: QueueSettingsCache,
        *,
        name: str,
        version: str = "",
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
        parents: Callable[[str, str], Awaitable[Sequence[bytes | None]]] | None = None,
    ) -> None:
        if queues and BULK_TYPE in set(handlers):  # who acts on a queue need not know which servers serve it
            queues = {*queues, BULK_QUEUE}
        self._store = store
        self._failed = failed
        self._warnings = tuple(warnings)  # of the handlers' settings; queue health shows them
        self._handlers = handlers
        self._name, self._version = name, version
        self._queues = tuple(sorted(queues or ()))
        self._ticker = ticker
        slots = Slots(concurrency, handlers.concurrencies(), type_concurrency)
        self._slots = QueueSlots(
            store, queue_settings, slots, wakeups, ticker, version=version, tick=tick, in_turn=leasing.in_turn
        )
        source = StoreSource(store, leasing, lease, queues=queues, fresh=self._slots.fresh, parents=parents)
        self._runtimes = [Runtime(source, handlers, slots=slots)]
        self._sources = [source]
        self._pushing: Pushing | None = None
        if push is not None:
            self._pushing = Pushing(
                store,
                leasing,
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
            self._sources.append(self._pushing.source)
        self._keeper = None
        if keeper_store is not None:
            self._keeper = LeaseKeeper(
                keeper_store, lambda age: [held for one in self._sources for held in one.overdue(age)], lease
            )
        self._running: list[asyncio.Task[None]] = []
        self._since: datetime | None = None

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

    def figures_by_part(self) -> Mapping[str, Figures]:
        """The same of the handlers here, and of the requests that are made for jobs (http)."""
        return dict(zip(("handlers", "http"), (runtime.figures() for runtime in self._runtimes), strict=False))

    @property
    def handler_lag(self) -> float:
        """As Runtime.handler_lag, of all that run here."""
        return max(runtime.handler_lag for runtime in self._runtimes)

    async def start(self) -> None:
        """Begin to run jobs."""
        if not len(self._handlers) and self._pushing is None:
            return
        if self._keeper is not None:
            self._keeper.start()
        for runtime in self._runtimes:
            task = asyncio.create_task(runtime.run(), name="runtime")
            task.add_done_callback(self._tell_end)
            self._running.append(task)
        self._since = datetime.now(UTC)

    async def stop(self, grace: timedelta) -> None:
        """Claim no more, let what runs end within `grace`, give back the rest without counting it as an attempt."""
        if not self._running:
            return
        try:
            live = [one for one in zip(self._runtimes, self._running, strict=True) if not one[1].done()]
            drained = await asyncio.gather(*(self._drain(*one, grace) for one in live))
            if live:  # else it was stopped before
                _log.info("drained", **{f.name: sum(getattr(one, f.name) for one in drained) for f in fields(Drained)})
        finally:
            if self._keeper is not None:
                await self._keeper.close()
            await self._slots.close()
            if self._pushing is not None:
                await self._pushing.targets.close()

    def _tell_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("runtime_failed", exc_info=error)
            self._failed()

    async def _drain(self, runtime: Runtime, running: asyncio.Task[None], grace: timedelta) -> Drained:
        drained = await runtime.drain(grace)
        await asyncio.wait({running})
        return drained

    def words(self) -> list[WorkerFigures]:
        """Who runs jobs in this process, where it does."""
        if all(task.done() for task in self._running):  # none began, or all have ended
            return []
        handlers, *push = [runtime.figures() for runtime in self._runtimes]
        warnings = list(self._warnings)
        if handlers.blocked_loops:
            warnings.append("a handler blocks its event loop: make it a plain function, or await")
        if handlers.abandoned:
            warnings.append("handlers that did not stop when asked keep their slots")
        words = [self._word("", self._handlers, handlers, warnings)]
        if self._pushing is not None:
            # A name of its own: as one, many free slots of the handlers would hide that all requests hang.
            words.append(self._word("/http", self._pushing.types, push[0], ()))
        return words

    def _word(self, part: str, types: Iterable[str], figures: Figures, warnings: Sequence[str]) -> WorkerFigures:
        return WorkerFigures(
            worker=f"{self._name}{part}",
            types=tuple(sorted(types)),
            slots=figures.slots,
            busy=figures.busy,
            abandoned=figures.abandoned,
            queues=self._queues,
            warnings=tuple(warnings),
            version=self._version,
            since=self._since,
            held=self._sources[1 if part else 0].held(),
            free=max(0, figures.slots - figures.busy - figures.abandoned),
        )
