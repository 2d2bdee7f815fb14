"""Tells the health service, once a tick, whether this server is ready and whether it is alive."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta

import structlog

from tocsin_server.api.health import Health
from tocsin_server.dispatch.dispatcher import Dispatcher
from tocsin_server.operations.ticking import Ticker

_WHILE_NOT_READY = 0.05  # seconds

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")


class Readiness:
    """Ready: the store answered a tick lately, and jobs are run if they should be. Alive: the loops tick.

    A store that is away makes the server not ready, and ready again by itself when it is back. Restarting would not
    help then, so the server stays alive; it is not alive when the loop that runs jobs has ended without being asked to,
    which only a restart mends.
    """

    def __init__(self, health: Health, ticker: Ticker, dispatcher: Dispatcher | None, tick: timedelta) -> None:
        self._health = health
        self._ticker = ticker
        self._dispatcher = dispatcher
        # A tick may wait for one slow answer; two in a row are "not lately".
        self._lately = max(3.0, 3 * tick.total_seconds())
        self._every = min(0.5, tick.total_seconds() / 2)
        self._task: asyncio.Task[None] | None = None
        self._ready = False

    def start(self) -> None:
        """Begin to tell."""
        self._task = asyncio.create_task(self._run(), name="readiness")

    async def close(self) -> None:
        """Tell no more; what was told last stays."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await self._tell()
            # While not ready it looks often, so that it is ready as soon as the store answers.
            await asyncio.sleep(self._every if self._ready else _WHILE_NOT_READY)

    async def _tell(self) -> None:
        runs = self._dispatcher is None or self._ticker.last_ok is None or self._dispatcher.last_tick is not None
        answered = self._ticker.last_ok is not None and time.monotonic() - self._ticker.last_ok < self._lately
        ready = runs and answered
        await self._health.set_live(live=runs)
        await self._health.set_ready(ready=ready)
        if ready != self._ready:
            self._ready = ready
            if ready:
                _log.info("ready")
            else:
                _log.warning("not ready", store_answered=answered, runs_jobs=runs)
