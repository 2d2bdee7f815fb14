"""Which types of which queues are sent to a push target, as far as this process knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

from tocsin.worker.slots import Slots

from tocsin_server.dispatch.settings_reading import SettingsReading
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import PushTarget
from tocsin_server.domain.http_requests import HTTP_REQUEST
from tocsin_server.domain.queues import QueueSettings, Tick
from tocsin_server.domain.states import ENDED
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups
from tocsin_server.store.interface import JobStore


class PushTargets:
    """Keeps slots and seats as the push targets of UpdateQueue say.

    Settings of all queues are read at the start, of one when the store says that they changed, and of all again each
    minute in case that was lost. Of a queue whose every type has a target the types are those that jobs stand of: who
    rings for a new one is looked at, once a tick at most.

    serve: called with a queue and the types to be claimed of it, when these change. queues: which to look at; None:
    all.
    """

    def __init__(
        self,
        store: JobStore,
        settings: QueueSettingsCache,
        slots: Slots,
        wakeups: Wakeups,
        ticker: Ticker,
        *,
        tick: timedelta,
        queues: Collection[str] | None,
        serve: Callable[[str, Collection[str]], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._slots = slots
        self._tick = tick.total_seconds()
        self._queues = None if queues is None else frozenset(queues)
        self._serve = serve
        self._names: Collection[str] = frozenset()
        self._targets: dict[str, Mapping[str, PushTarget]] = {}  # by queue and type
        self._last: dict[tuple[str, str], PushTarget] = {}  # one that is no more, for what was claimed before it went
        self._standing: dict[str, dict[str, None]] = {}  # types of queues of which all have a target; the newest last
        self._looked: dict[str, float] = {}  # when such a queue's types were read
        self._rang: set[str] = set()  # such queues, since then
        self._reading = SettingsReading(store, self._read, "push_targets")
        wakeups.on_settings(lambda queue: self._look([queue]))
        wakeups.on_work(self._hear_work)
        wakeups.on_missed(lambda: self._look(self._names))
        ticker.on_tick(self._hear_ticks)
        ticker.on_names(self._hear_names)

    def of(self, queue: str, type_: str) -> PushTarget | None:
        """Where a job that was claimed is sent. May be called from any thread."""
        found = self._targets.get(queue, {}).get(type_)
        return self._last.get((queue, type_)) if found is None else found

    async def fresh(self, queue: str) -> None:
        """See to it that what is claimed of the queue is as its settings say. Raises StoreAway."""
        self._apply(queue, await self._settings.get(queue))

    async def close(self) -> None:
        """Look no more."""
        await self._reading.close()

    # --- what is heard ---

    def _hear_work(self, queue: str, due: datetime | None) -> None:
        if queue in self._standing:
            self._rang.add(queue)
            if time.monotonic() - self._looked.get(queue, 0.0) >= self._tick:
                self._look([queue])

    def _hear_ticks(self, ticks: Mapping[str, Tick]) -> None:
        self._rang.update(queue for queue, tick in ticks.items() if tick.waiting and queue in self._standing)
        before = time.monotonic() - self._tick
        self._look([queue for queue in self._rang if self._looked.get(queue, 0.0) <= before])

    def _hear_names(self, names: Collection[str]) -> None:
        self._look(names if names == self._names else set(names) ^ set(self._names))
        self._names = names

    # --- looking ---

    def _look(self, queues: Collection[str]) -> None:
        self._reading.look(one for one in queues if self._queues is None or one in self._queues)

    async def _read(self, queue: str, settings: QueueSettings) -> None:
        if settings.defaults.push is not None:
            await self._read_types(queue)
        self._apply(queue, settings)

    async def _read_types(self, queue: str) -> None:
        self._looked[queue] = time.monotonic()
        self._rang.discard(queue)
        figures = await self._store.figures(queue)
        standing = self._standing.setdefault(queue, {})
        for state, counts in figures.counts.items():
            if state not in ENDED:
                for type_ in counts:
                    standing.pop(type_, None)
                    standing[type_] = None
        while len(standing) > limits.TYPES_PER_QUEUE:
            del standing[next(iter(standing))]

    def _apply(self, queue: str, settings: QueueSettings) -> None:
        if settings.defaults.push is None:
            self._standing.pop(queue, None)
            self._looked.pop(queue, None)
            self._rang.discard(queue)
        elif queue not in self._standing:
            self._look([queue])
        wanted = {*settings.type_defaults, *self._standing.get(queue, ())}
        targets = {type_: target for type_ in wanted if (target := settings.push_of(type_)) is not None}
        old = self._targets.get(queue, {})
        self._last.update({(queue, type_): target for type_, target in old.items() if type_ not in targets})
        self._targets[queue] = targets
        if not targets:
            del self._targets[queue]
        self._slots.limit_queue(queue, self._numbers(settings, targets))
        if targets.keys() != old.keys():
            self._serve(queue, targets.keys())

    def _numbers(self, settings: QueueSettings, types: Collection[str]) -> Mapping[str, int]:
        numbers = {type_: settings.concurrency_of(type_) or self._slots.total for type_ in types}
        if (own := settings.concurrency_of(HTTP_REQUEST)) is not None:
            numbers[HTTP_REQUEST] = own
        return numbers
