"""Forgets queues that nobody uses any more, so that a queue per tenant or order does not stay for ever."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import timedelta

import structlog

from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import Chore
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: A queue in which nothing stands is looked at so often, and so many times while its time runs; one is looked at a
#: second, so of very many each has its turn.
_LOOK_EVERY, _LOOKS, _PAUSE = timedelta(hours=1), 4, timedelta(milliseconds=900)


class QueueForgetter(Chore):
    """Forgets what holds no job, no setting and no note, and in which nothing changed for `unused_for`."""

    name = "queue_forgetter"

    def __init__(
        self,
        store: JobStore,
        *,
        unused_for: timedelta,
        look_every: timedelta = _LOOK_EVERY,
        pause: timedelta = _PAUSE,
    ) -> None:
        self._pause = pause.total_seconds()
        self._store = store
        self._unused_for = unused_for
        self._look_every = min(look_every, unused_for / _LOOKS).total_seconds()
        self._looked: dict[str, float] = {}  # when, of queues in which nothing stands
        self._todo: dict[str, None] = {}
        self._next = 0.0

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        now = time.monotonic()
        for name, tick in ticks.items():
            if tick.waiting or tick.next_due or tick.next_lease_end or tick.next_expiry:
                self._looked.pop(name, None)
                self._todo.pop(name, None)
            elif self._looked.get(name, -self._look_every) + self._look_every <= now:
                self._todo[name] = None

    def keep(self, queues: Collection[str]) -> None:
        self._looked = {name: at for name, at in self._looked.items() if name in queues}
        self._todo = {name: None for name in self._todo if name in queues}

    async def step(self) -> bool:
        now = time.monotonic()
        if not self._todo or now < self._next:
            return False
        self._next = now + self._pause
        queue = next(iter(self._todo))
        del self._todo[queue]
        self._looked[queue] = now
        if await self._store.forget(queue, unused_for=self._unused_for):
            self._looked.pop(queue, None)
            _log.info("queue_forgotten", queue=queue)
        return False
