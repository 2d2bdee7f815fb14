"""Reads the settings of queues whenever somebody asks for them to be looked at."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable

import structlog

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_BATCH = 1000  # queues whose settings are read in one call


class SettingsReading:
    """Hands the settings of the queues asked for to `apply`, one after the other. Asked for again before its turn, a
    queue is read once. Where the store does not answer, all that was asked is forgotten: whoever asks looks again by
    and by."""

    def __init__(self, store: JobStore, apply: Callable[[str, QueueSettings], Awaitable[None]], name: str) -> None:
        self._store = store
        self._apply = apply
        self._name = name
        self._asked: dict[str, None] = {}
        self._reading: asyncio.Task[None] | None = None

    def look(self, queues: Iterable[str]) -> None:
        """Read these, soon."""
        self._asked.update(dict.fromkeys(queues))
        if self._asked and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read(), name=self._name)

    async def close(self) -> None:
        """Look no more."""
        self._asked.clear()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read(self) -> None:
        try:
            while batch := list(itertools.islice(self._asked, _BATCH)):
                for queue in batch:
                    del self._asked[queue]
                for queue, settings in zip(batch, await self._store.settings(batch), strict=True):
                    await self._apply(queue, settings)
        except TocsinError as error:
            self._asked.clear()
            _log.debug("settings_not_read", of=self._name, error=str(error))
        except Exception:
            _log.exception("settings_not_read", of=self._name)
