"""Takes back leases that ran out: their processes died, froze, or lost the store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import QueueChore
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log
from tocsin_server.telemetry.metrics import Metrics

_LIMIT = 100  # leases a step; a step of the store takes a few milliseconds

#: Leases that ended while the store was away, or took no writes, could not be extended, and the outcomes of their jobs
#: may wait to be recorded, which is tried once a second. So long, in seconds, they go first. The second figure is for a
#: store that took no writes when asked: it shows only to the next try that it does again.
_AFTER_SILENCE, _AFTER_REFUSAL = 2.0, 4.0

#: Without a word of the store for so many ticks, and seconds, it was away.
_SILENT_TICKS, _SILENT_SECONDS = 3, 3.0


class LeaseReaper(QueueChore):
    """Reaps the queues in which a lease has ended, within a tick of its end, or a little after the store is back.
    metrics: counts what was taken back."""

    name = "lease_reaper"

    def __init__(
        self,
        store: JobStore,
        clock: StoreClock,
        tick: timedelta = timedelta(seconds=1),
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self._store = store
        self._clock = clock
        self._silence = max(_SILENT_SECONDS, _SILENT_TICKS * tick.total_seconds())
        self._heard: float | None = None  # time.monotonic() of the last ticks
        self._not_before = 0.0

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        heard, self._heard = self._heard, time.monotonic()
        if heard is not None and self._heard - heard > self._silence:
            self._not_before = self._heard + _AFTER_SILENCE
        now = self._clock.now()
        for queue, tick in ticks.items():
            if tick.next_lease_end is not None and tick.next_lease_end <= now:
                self.notice(queue)

    async def step(self) -> bool:
        return time.monotonic() >= self._not_before and await super().step()

    async def do(self, queue: str) -> bool:
        try:
            reaped = await self._store.reap(queue, _LIMIT)
        except TocsinError:
            self._not_before = time.monotonic() + _AFTER_REFUSAL
            self.notice(queue)
            raise
        job_log.lost_leases(queue, reaped)
        if self._metrics is not None:
            self._metrics.lost(queue, reaped)
        return len(reaped) >= _LIMIT
