"""Which types of a queue a worker is given: by its version, and not those that are pushed to an address."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import structlog

from tocsin_server.background import Unbroken
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import QueueSettings, Tick
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Admission:
    """What queues say of workers, as their settings were when `fresh` was last awaited.

    A queue's settings are read again where the store says that they changed, and of one that says anything once a tick
    in case that was lost. `changed` is called when it says something else. Subscribes to `wakeups` and `ticker`.
    """

    def __init__(self, settings: QueueSettingsCache, wakeups: Wakeups, ticker: Ticker) -> None:
        self._settings = settings
        self.changed: Callable[[], None] = lambda: None
        self._choosy: dict[str, QueueSettings] = {}  # queues of which not every worker is given all
        self._looking: set[str] = set()
        self._unbroken = Unbroken()
        wakeups.on_settings(self._look)
        ticker.on_tick(self._hear_ticks)

    async def fresh(self, queue: str) -> None:
        """See to it that what is known of the queue is as its settings say. Raises StoreAway."""
        settings = await self._settings.get(queue)
        before = self._choosy.get(queue)
        if settings is before:
            return
        if settings.chooses_workers:
            self._choosy[queue] = settings
        elif before is not None:
            del self._choosy[queue]
        if before is not None and before != settings:
            self.changed()

    def allowed(self, queue: str, types: Collection[str], version: str) -> Collection[str]:
        """Of these types, those of which a worker of this version is given jobs of the queue."""
        settings = self._choosy.get(queue)
        if settings is None:
            return types
        return [type_ for type_ in types if settings.admits(type_, version)]

    async def close(self) -> None:
        """Wait for what is read."""
        await self._unbroken.close()

    def _hear_ticks(self, ticks: Mapping[str, Tick]) -> None:
        for queue in self._choosy.keys() & ticks.keys():
            self._look(queue)

    def _look(self, queue: str) -> None:
        if queue not in self._looking:
            self._looking.add(queue)
            self._unbroken.begin(self._read(queue))

    async def _read(self, queue: str) -> None:
        self._looking.discard(queue)
        try:
            await self.fresh(queue)
        except TocsinError as error:
            _log.debug("settings_not_read", queue=queue, error=str(error))  # the next claim reads them
        except Exception:
            _log.exception("settings_not_read", queue=queue)
