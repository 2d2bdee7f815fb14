"""Deletes ended jobs whose retention is over, by age and by count, within a tick.

By age, a tick says when. By count, jobs become too many when others end, and again when those too many stop being
spared (limits.SPARED_AFTER_END after their end). Neither is in a tick, but nothing ends without a trace in one: so a
queue is trimmed when its tick has changed, and once more when what ended then is no longer spared. What leaves no trace
(many waiting jobs cancelled at once) is found by a sweep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.runner import Chore
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

_LIMIT = 100  # jobs a step; a step of the store takes a few milliseconds
_SWEEP_EVERY = timedelta(minutes=1)


@dataclass(slots=True)
class _Queue:
    tick: Tick | None = None
    again: deque[datetime] = field(default_factory=deque)  # when what ended is no longer spared
    swept: datetime | None = None


class RetentionTrimmer(Chore):
    """Trims queues. completed_max, failed_max: how many are kept where the queue itself says nothing."""

    name = "retention_trimmer"

    def __init__(
        self, store: JobStore, clock: StoreClock, *, completed_max: int = 10_000, failed_max: int = 100_000
    ) -> None:
        self._store = store
        self._clock = clock
        self._completed_max = completed_max
        self._failed_max = failed_max
        self._queues: dict[str, _Queue] = {}
        self._todo: dict[str, None] = {}  # queues in the order in which they were noticed

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        now = self._clock.now()
        for name, tick in ticks.items():
            queue = self._queues.setdefault(name, _Queue())
            if self._due(queue, tick, now):
                self._todo[name] = None
            queue.tick = tick

    def _due(self, queue: _Queue, tick: Tick, now: datetime) -> bool:
        if tick.next_expiry is None:  # nothing that has ended stands there
            queue.again.clear()
            return False
        due = tick.next_expiry <= now
        while queue.again and queue.again[0] <= now:
            queue.again.popleft()
            due = True
        if queue.tick != tick:
            queue.again.append(now + limits.SPARED_AFTER_END)
            due = True
        if queue.swept is None or abs(now - queue.swept) > _SWEEP_EVERY:  # a clock that was set back ends no sweeping
            queue.swept = now
            due = True
        return due

    async def step(self) -> bool:
        if not self._todo:
            return False
        queue = next(iter(self._todo))
        del self._todo[queue]
        trimmed = await self._store.trim(
            queue, completed_max=self._completed_max, failed_max=self._failed_max, limit=_LIMIT
        )
        if trimmed >= _LIMIT:
            self._todo[queue] = None
        return bool(self._todo)
