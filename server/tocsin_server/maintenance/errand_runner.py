"""Tells jobs that wait for others of those others' ends, and lets them ask.

A message of the store tells when there is something to do, and each tick does so again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import QueueChore
from tocsin_server.operations.dependents import Dependents
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore


class ErrandRunner(QueueChore):
    """Does errands, queue by queue."""

    name = "errand_runner"
    hears_messages = True
    rests = False  # jobs wait for it, and each errand is done once

    def __init__(self, dependents: Dependents, clock: StoreClock) -> None:
        super().__init__()
        self._dependents = dependents
        self._clock = clock

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        now = self._clock.now()
        for queue, tick in ticks.items():
            if tick.next_errand is not None and tick.next_errand <= now:
                self.notice(queue)

    async def do(self, queue: str) -> bool:
        return await self._dependents.run_errands(queue)


def errand_runners(store: JobStore, clock: StoreClock) -> Sequence[ErrandRunner]:
    """The chore, where the store lets jobs wait for others."""
    return () if store.dependencies is None else (ErrandRunner(Dependents(store, store.dependencies), clock),)
