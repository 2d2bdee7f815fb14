"""Makes due jobs WAITING where no claim comes by: with no dispatcher, or in a queue that none of them serves."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta

from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.runner import Chore
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

_LEASE = timedelta(seconds=1)  # never granted: the claim asks for no type


class DuePromoter(Chore):
    """Promotes in queues whose earliest SCHEDULED job is due. Claims promote too, so mostly there are none."""

    name = "due_promoter"

    def __init__(self, store: JobStore, clock: StoreClock) -> None:
        self._store = store
        self._clock = clock
        self._due: dict[str, None] = {}  # queues in the order in which they were noticed

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        now = self._clock.now()
        for queue, tick in ticks.items():
            if tick.next_due is not None and tick.next_due <= now:
                self._due[queue] = None

    async def step(self) -> bool:
        if not self._due:
            return False
        queue = next(iter(self._due))
        del self._due[queue]
        claim = await self._store.claim(queue, {}, 1, lease=_LEASE, holder=self.name, request=secrets.token_bytes(8))
        if claim.more:
            self._due[queue] = None
        return bool(self._due)
