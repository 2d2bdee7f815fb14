"""Which types of a queue are held to a lowest version of their worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog

from tocsin_server.background import Unbroken
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import QueueSettings, Tick
from tocsin_server.domain.workers import at_least
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class MinVersions:
    """What queues demand of workers, as their settings were when `fresh` was last awaited.

    A queue's settings are read again where the store says that they changed, and where it demands something once a tick
    in case that was lost; `changed` is called when less is demanded. Subscribes to `wakeups` and `ticker`.
    """

    def __init__(
        self, settings: QueueSettingsCache, wakeups: Wakeups, ticker: Ticker, changed: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._changed = changed
        self._demanding: dict[str, QueueSettings] = {}
        self._unbroken = Unbroken()
        self._looking: set[str] = set()
        wakeups.on_settings(self._look)
        ticker.on_tick(self._hear_ticks)

    async def fresh(self, queue: str) -> None:
        """See to it that what the queue demands is as its settings say. Raises StoreAway."""
        self._apply(queue, await self._settings.get(queue))

    def allowed(self, queue: str, types: Iterable[str], version: str) -> frozenset[str]:
        """The types of which a worker of this version is given jobs of the queue."""
        settings = self._demanding.get(queue)
        if settings is None:
            return frozenset(types)
        return frozenset(
            type_ for type_ in types if (low := settings.min_worker_version_of(type_)) is None or at_least(version, low)
        )

    def demands(self, queue: str) -> bool:
        """Whether the queue demands any version."""
        return queue in self._demanding

    async def close(self) -> None:
        """Wait for what is read."""
        await self._unbroken.close()

    def _hear_ticks(self, ticks: Mapping[str, Tick]) -> None:
        for queue in self._demanding.keys() & ticks.keys():
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

    def _apply(self, queue: str, settings: QueueSettings) -> None:
        before = self._demanding.get(queue)
        if settings.min_worker_versions:
            self._demanding[queue] = settings
        elif before is not None:
            del self._demanding[queue]
        if before is not None and before.min_worker_versions != settings.min_worker_versions:
            self._changed()


