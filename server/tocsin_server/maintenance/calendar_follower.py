"""Carries changes of calendars to the schedules that name them, where the server that made the change did not."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from datetime import timedelta

from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import Chore
from tocsin_server.operations.calendar_changes import CarryChange
from tocsin_server.store.interface import JobStore

#: One small command each time; mostly the server that made a change has carried it already.
_EVERY = timedelta(seconds=5)


class CalendarFollower(Chore):
    """Looks for changes that are on their way, and carries each a page of schedules a step."""

    name = "calendar_follower"

    def __init__(self, store: JobStore, *, every: timedelta = _EVERY) -> None:
        self._store = store
        self._every = every.total_seconds()
        self._next = 0.0
        self._changed: deque[str] = deque()
        self._carry: CarryChange | None = None

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        pass

    async def step(self) -> bool:
        if self._carry is None and not self._changed:
            if time.monotonic() < self._next:
                return False
            self._next = time.monotonic() + self._every
            self._changed.extend(await self._store.calendars.changed_calendars())
        if self._carry is None and self._changed:
            self._carry = CarryChange(self._store, self._changed.popleft())
        if self._carry is not None:
            carry, self._carry = self._carry, None  # one that fails is begun anew next time
            if await carry.step():
                self._carry = carry
        return self._carry is not None or bool(self._changed)
