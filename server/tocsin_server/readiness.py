"""Tells the health service, once a tick, whether this server is ready and whether it is alive."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import structlog

from tocsin_server.api.health import Health
from tocsin_server.background import Loop
from tocsin_server.dispatch.dispatcher import Dispatcher
from tocsin_server.domain.errors import StoreAway, StoreFull, TocsinError
from tocsin_server.operations.ticking import Ticker
from tocsin_server.store.interface import JobStore

_WHILE_NOT_READY = 0.05  # seconds
_CHECK_WHILE_NOT_READY = 0.2

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")


class Readiness:
    """Ready: the store answered a tick and took writes lately, and jobs are run if they should be. Alive: the loops
    tick.

    A store that is away, or takes no writes, makes the server not ready, and ready again by itself when it is back.
    Restarting would not help then, so the server stays alive; it is not alive when the loop that runs jobs, or the one
    that ticks, has ended without being asked to, which only a restart mends.
    """

    def __init__(
        self, health: Health, ticker: Ticker, dispatcher: Dispatcher | None, store: JobStore, tick: timedelta
    ) -> None:
        self._health = health
        self._store = store
        self._ticker = ticker
        self._dispatcher = dispatcher
        # A tick may wait for one slow answer; two in a row are "not lately".
        self._lately = max(3.0, 3 * tick.total_seconds())
        self._every = min(0.5, tick.total_seconds() / 2)
        # Every other tick is enough while writes are taken, for nothing else may happen; so they may be a tick older.
        self._check_every = tick.total_seconds()
        self._lately_written = self._lately + self._check_every
        self._loops = Loop(self._run, "readiness"), Loop(self._check_writes, "check_writes")
        self._took_writes: float | None = None  # time.monotonic() when it did last
        self._refusal = ""
        self._ready = False

    @property
    def ready(self) -> bool:
        """What was told last."""
        return self._ready

    def start(self) -> None:
        """Begin to tell."""
        for loop in self._loops:
            loop.start()

    async def close(self) -> None:
        """Tell no more; what was told last stays."""
        for loop in self._loops:
            await loop.close()

    def writes_refused(self) -> str:
        """Why the store takes no writes; "" where it took them lately."""
        return "" if self._writes_lately() else self._refusal

    def _writes_lately(self) -> bool:
        return self._took_writes is not None and time.monotonic() - self._took_writes < self._lately_written

    async def _run(self) -> None:
        while True:
            await self._tell()
            # While not ready it looks often, so that it is ready as soon as the store answers.
            await asyncio.sleep(self._every if self._ready else _WHILE_NOT_READY)

    async def _check_writes(self) -> None:
        while True:
            try:
                await self._store.check_writes()
                self._took_writes, self._refusal = time.monotonic(), ""
            except (StoreAway, StoreFull) as error:
                self._refusal = error.detail
            except TocsinError as error:
                self._refusal = str(error)
            except Exception:
                _log.exception("writes_not_checked")
            if self._ready:
                await asyncio.sleep(self._check_every * (1 if self._refusal else 2))
            else:
                await asyncio.sleep(_CHECK_WHILE_NOT_READY)

    async def _tell(self) -> None:
        runs = self._dispatcher is None or self._ticker.last_ok is None or self._dispatcher.last_tick is not None
        runs = runs and not self._ticker.dead
        answered = self._ticker.last_ok is not None and time.monotonic() - self._ticker.last_ok < self._lately
        writes = self._writes_lately()
        ready = runs and answered and writes
        await self._health.set_live(live=runs)
        await self._health.set_ready(ready=ready)
        if ready != self._ready:
            self._ready = ready
            if ready:
                _log.info("ready")
            else:
                _log.warning(
                    "not ready", store_answered=answered, store_takes_writes=writes, why=self._refusal, runs_jobs=runs
                )
