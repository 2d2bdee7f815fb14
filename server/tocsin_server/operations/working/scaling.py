"""How many jobs want workers, for whoever starts and stops those; and at once, when the first one does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime

from tocsin_server.domain.errors import Draining
from tocsin_server.domain.queues import Tick
from tocsin_server.domain.record import record
from tocsin_server.domain.states import State
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.store.interface import JobStore

#: A stream reads no more often than that, in seconds, however much happens; and this often though nothing is heard.
_BREATH, _AGAIN = 0.2, 15.0


@record
class Demand:
    """What is counted: jobs of these queues, types (none: all) and states. With more than `idle` workers are wanted."""

    queues: tuple[str, ...]
    types: frozenset[str]
    states: frozenset[State]
    idle: float = 0.0


class Scaling:
    """Counts by what the store counts anyway. Subscribes to `wakeups` and `ticker`, so make it before those start."""

    def __init__(self, store: JobStore, wakeups: Wakeups, ticker: Ticker) -> None:
        self._store = store
        self._rings: dict[str, set[asyncio.Event]] = {}  # by queue, of whoever watches it
        self._changes: dict[str, int] = {}  # of watched queues, as their ticks said last
        self._draining = False
        wakeups.on_work(self._hear_work)
        ticker.on_tick(self._hear_ticks)

    async def jobs(self, demand: Demand) -> int:
        """How many stand now. Cost O(queues · types · states)."""
        found = await self._store.many_figures(demand.queues)
        return sum(
            count
            for figures in found
            for state in demand.states
            for type_, count in figures.counts.get(state, {}).items()
            if not demand.types or type_ in demand.types
        )

    async def wanted(self, demand: Demand) -> bool:
        """Whether workers are wanted now."""
        return await self.jobs(demand) > demand.idle

    async def watch(self, demand: Demand) -> AsyncGenerator[bool, None]:
        """Whether workers are wanted: now, and each time that changes. Ends with Draining."""
        ring, told = asyncio.Event(), None
        for queue in demand.queues:
            self._rings.setdefault(queue, set()).add(ring)
        try:
            while not self._draining:
                ring.clear()
                wanted = await self.wanted(demand)
                if wanted != told:
                    told = wanted
                    yield wanted
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN):
                        await ring.wait()
                if not self._draining:
                    await asyncio.sleep(_BREATH)
            raise Draining
        finally:
            for queue in demand.queues:
                self._rings[queue].discard(ring)
                if not self._rings[queue]:
                    del self._rings[queue]
                    self._changes.pop(queue, None)

    def drain(self) -> None:
        """End all watches."""
        self._draining = True
        for rings in self._rings.values():
            for ring in rings:
                ring.set()

    def _hear_work(self, queue: str, due: datetime | None) -> None:
        if due is None:
            self._ring(queue)

    def _hear_ticks(self, ticks: Mapping[str, Tick]) -> None:
        for queue in self._rings.keys() & ticks.keys():
            changes = ticks[queue].changes
            if self._changes.get(queue) != changes:
                self._changes[queue] = changes
                self._ring(queue)

    def _ring(self, queue: str) -> None:
        for ring in self._rings.get(queue, ()):
            ring.set()
