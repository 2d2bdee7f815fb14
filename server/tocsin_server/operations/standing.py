"""Reads the figures of all queues, so that whoever shows them has them at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta

import structlog

from tocsin_server.background import Loop
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import QueueFigures, Tick
from tocsin_server.operations.ticking import Ticker
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: Queues read together: what is made of them holds up this process for no more than a millisecond or two.
_AT_ONCE = 50


class StandingFigures:
    """Reads the figures of queues whose ticks have changed, once every `every`, those first that wait longest. take:
    called with what was read. drop: called with queues that are no more.

    At a time it reads so many as one command may ask ticks for: what this costs the store is bounded, however many
    queues there are, and nothing while nothing changes. Of 10,000 queues that all change, each is read every tenth
    time. Subscribes to `ticker`, so make it before that is started.
    """

    def __init__(
        self,
        store: JobStore,
        ticker: Ticker,
        every: timedelta,
        *,
        take: Callable[[Mapping[str, QueueFigures]], None],
        drop: Callable[[Collection[str]], None],
    ) -> None:
        self._store = store
        self._take, self._drop = take, drop
        self._every = every.total_seconds()
        self._changes: dict[str, int] = {}  # by queue, as its tick said last
        self._stale: dict[str, None] = {}
        self._heard = asyncio.Event()
        self._loop = Loop(self._run, "standing_figures")
        ticker.on_tick(self._hear)
        ticker.on_names(self._keep)

    @property
    def stale(self) -> int:
        """Queues that have changed since they were read."""
        return len(self._stale)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def close(self) -> None:
        """Read no more."""
        await self._loop.close()

    def _hear(self, ticks: Mapping[str, Tick]) -> None:
        changes = self._changes
        for queue, tick in ticks.items():
            if changes.get(queue) != tick.changes:
                changes[queue] = tick.changes
                self._stale[queue] = None
        self._heard.set()

    def _keep(self, queues: Collection[str]) -> None:
        gone = self._changes.keys() - queues
        for queue in gone:
            del self._changes[queue]
            self._stale.pop(queue, None)
        if gone:
            self._drop(gone)

    async def _run(self) -> None:
        await self._heard.wait()
        while True:
            try:
                await self._read()
            except TocsinError as error:
                _log.debug("figures_not_read", error=str(error))  # the ticker says aloud that the store is away
            except Exception:
                _log.exception("figures_not_read")
            await asyncio.sleep(self._every)

    async def _read(self) -> None:
        queues = list(self._stale)[: self._store.ticks_at_once]
        for start in range(0, len(queues), _AT_ONCE):
            await self._read_some(queues[start : start + _AT_ONCE])

    async def _read_some(self, queues: Sequence[str]) -> None:
        # What changes while they are read is read again.
        asked = [queue for queue in queues if queue in self._stale]
        for queue in asked:
            del self._stale[queue]
        try:
            found = await self._store.many_figures(asked)
        except BaseException:
            self._stale |= dict.fromkeys(asked)
            raise
        # Those that went meanwhile were dropped.
        self._take({queue: one for queue, one in zip(asked, found, strict=True) if queue in self._changes})
