"""Keeps the slots as the queues' settings say: how many attempts of a type of a queue run here at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from tocsin.worker.slots import Slots

from tocsin_server.dispatch.settings_reading import SettingsReading
from tocsin_server.domain.queues import QueueSettings, Tick
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.store.interface import JobStore

#: So many queues are looked at a tick, in turn: a queue that is paused, or whose types nobody runs here, may be in turn
#: for ever, and there may be any number of them.
_A_TICK = 100


class QueueSlots:
    """Brings the numbers of UpdateQueue to the slots. A type for which this server's handlers, whose version is
    `version`, are not admitted has none.

    `fresh` does so before each claim of a queue. A queue that is full here is not claimed from, so what it has to gain
    is found by looking: when the store says that its settings changed, and once a tick in case that was lost (in turn,
    where very many queues are full).
    `in_turn` are the queues that might be claimed from.
    """

    def __init__(
        self,
        store: JobStore,
        settings: QueueSettingsCache,
        slots: Slots,
        wakeups: Wakeups,
        ticker: Ticker,
        *,
        version: str = "",
        tick: timedelta,
        in_turn: Callable[[], list[str]],
    ) -> None:
        self._settings = settings
        self._slots = slots
        self._version = version
        self._pause = tick.total_seconds() / 2
        self._in_turn = in_turn
        self._reading = SettingsReading(store, self._apply, "queue_slots")
        self._looked, self._at = 0.0, 0
        wakeups.on_settings(self._hear_settings)
        ticker.on_tick(self._hear_ticks)

    async def fresh(self, queue: str) -> None:
        """See to it that the queue's limits are its settings'. Raises StoreAway."""
        await self._apply(queue, await self._settings.get(queue))

    async def close(self) -> None:
        """Look no more."""
        await self._reading.close()

    def _hear_settings(self, queue: str) -> None:
        self._reading.look([queue])

    def _hear_ticks(self, ticks: Mapping[str, Tick]) -> None:
        # Not every call is a tick: a queue that was looked at is told of in the same way.
        if self._slots.free > 0 and time.monotonic() - self._looked > self._pause:
            self._looked = time.monotonic()
            queues = self._in_turn()
            if len(queues) > _A_TICK:
                self._at = (self._at + _A_TICK) % len(queues)
                queues = (queues[self._at :] + queues[: self._at])[:_A_TICK]
            self._reading.look(queues)

    async def _apply(self, queue: str, settings: QueueSettings) -> None:
        self._slots.limit_queue(queue, self._numbers(settings))

    def _numbers(self, settings: QueueSettings) -> Mapping[str, int]:
        if settings.defaults.concurrency is None and not settings.type_defaults and not settings.chooses_workers:
            return {}
        numbers = {
            type_: settings.concurrency_of(type_) if settings.admits(type_, self._version) else 0
            for type_ in self._slots.types
        }
        return {type_: number for type_, number in numbers.items() if number is not None}
