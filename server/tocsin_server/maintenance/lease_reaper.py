"""Takes back leases that ran out: their processes died, froze, or lost the store."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.runner import Chore
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_LIMIT = 100  # leases a step; a step of the store takes a few milliseconds


class LeaseReaper(Chore):
    """Reaps the queues in which a lease has ended, within a tick of its end."""

    name = "lease_reaper"

    def __init__(self, store: JobStore, clock: StoreClock) -> None:
        self._store = store
        self._clock = clock
        self._late: dict[str, None] = {}  # queues in the order in which they were noticed

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        now = self._clock.now()
        for queue, tick in ticks.items():
            if tick.next_lease_end is not None and tick.next_lease_end <= now:
                self._late[queue] = None

    async def step(self) -> bool:
        if not self._late:
            return False
        queue = next(iter(self._late))
        del self._late[queue]
        reaped = await self._store.reap(queue, _LIMIT)
        if reaped:
            _log.warning("leases_taken_back", queue=queue, jobs=reaped)
        if reaped >= _LIMIT:
            self._late[queue] = None
        return bool(self._late)
