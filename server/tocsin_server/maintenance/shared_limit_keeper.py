"""Lets places of shared limits go whose holders died before they did."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import Chore
from tocsin_server.store.interface import JobStore

#: One small command each time, where there are shared limits, and where there are none: who claims from a queue that
#: has some knows that at once, and nobody else needs its places.
_EVERY, _EVERY_OF_NONE = timedelta(seconds=1), timedelta(seconds=60)


class SharedLimitKeeper(Chore):
    """Asks the queues of shared limits how many of their jobs run, once a second all servers together."""

    name = "shared_limit_keeper"

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._next = 0.0
        self._found_none = False

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        pass

    async def step(self) -> bool:
        if time.monotonic() >= self._next or (self._found_none and self._store.shared.knows_some):
            some = await self._store.shared.settle()
            self._found_none = not some and not self._store.shared.knows_some
            self._next = time.monotonic() + (_EVERY_OF_NONE if self._found_none else _EVERY).total_seconds() * 0.9
        return False
