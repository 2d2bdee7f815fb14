"""Makes due jobs WAITING where no claim comes by: with no dispatcher, or in a queue that none of them serves."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import QueueChore
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore


class DuePromoter(QueueChore):
    """Promotes in queues whose earliest SCHEDULED job is due. Claims promote too, so mostly there are none."""

    name = "due_promoter"

    def __init__(self, store: JobStore, clock: StoreClock) -> None:
        super().__init__()
        self._store = store
        self._clock = clock

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        now = self._clock.now()
        for queue, tick in ticks.items():
            if tick.next_due is not None and tick.next_due <= now:
                self.notice(queue)

    async def do(self, queue: str) -> bool:
        return await self._store.promote(queue)
