"""Deletes ended jobs whose retention is over, by age and by count, within a tick.

By age, a tick says when. By count, jobs become too many when others end, and again when those too many stop being
spared (limits.SPARED_AFTER_END after their end). Neither is in a tick, but nothing changes without a trace in one: so a
queue is trimmed when its tick has changed, and once more when what ended then is no longer spared. What else makes jobs
too many (a lower maximum), and what there was before this server, is found by a sweep.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import QueueChore
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

_LIMIT = 100  # jobs a step; a step of the store takes a few milliseconds

#: Each queue with ended jobs is swept so often, and so many of them at a time: of very many, some are swept later.
_SWEEP_EVERY, _SWEPT_AT_ONCE, _SWEEPS_EVERY = timedelta(minutes=1), 10, timedelta(milliseconds=500)


class RetentionTrimmer(QueueChore):
    """Trims queues. completed_max, failed_max: how many are kept where the queue itself says nothing."""

    name = "retention_trimmer"

    def __init__(
        self, store: JobStore, clock: StoreClock, *, completed_max: int = 10_000, failed_max: int = 100_000
    ) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._completed_max = completed_max
        self._failed_max = failed_max
        self._ticks: dict[str, Tick] = {}  # of queues in which ended jobs stand
        self._swept: OrderedDict[str, datetime | None] = OrderedDict()  # the same queues; the first was so longest ago
        self._sweeps: datetime | None = None
        self._again: list[tuple[datetime, str]] = []  # when what ended is no longer spared

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        now = self._clock.now()
        for name, tick in ticks.items():
            if tick.next_expiry is None:  # nothing that has ended stands there
                self._ticks.pop(name, None)
                self._swept.pop(name, None)
                continue
            before = self._ticks.get(name)
            if before is None:
                self._swept[name] = None
                self._swept.move_to_end(name, last=False)
            elif before != tick or tick.next_expiry <= now:
                self.notice(name)
            if before is None or before != tick:
                heapq.heappush(self._again, (now + limits.SPARED_AFTER_END, name))
            self._ticks[name] = tick
        while self._again and self._again[0][0] <= now:
            _, name = heapq.heappop(self._again)
            if name in self._ticks:
                self.notice(name)
        self._sweep(now)

    def keep(self, queues: Collection[str]) -> None:
        # A queue may go with its last jobs, before a tick says that none stands there.
        for name in [name for name in self._ticks if name not in queues]:
            self._ticks.pop(name, None)
            self._swept.pop(name, None)

    def _sweep(self, now: datetime) -> None:
        # A clock that was set back ends no sweeping.
        if self._sweeps is not None and abs(now - self._sweeps) < _SWEEPS_EVERY:
            return
        self._sweeps = now
        for _ in range(min(_SWEPT_AT_ONCE, len(self._swept))):
            name, swept = next(iter(self._swept.items()))
            if swept is not None and abs(now - swept) <= _SWEEP_EVERY:
                return
            self._swept[name] = now
            self._swept.move_to_end(name)
            self.notice(name)

    async def do(self, queue: str) -> bool:
        trimmed = await self._store.trim(
            queue, completed_max=self._completed_max, failed_max=self._failed_max, limit=_LIMIT
        )
        return trimmed >= _LIMIT
