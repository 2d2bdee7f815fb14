"""What the store is, looked at again while it is in use: its settings can change, and so can the server behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from tocsin_server.background import Loop
from tocsin_server.domain.errors import StoreAway, StoreFull
from tocsin_server.store.interface import StoreInfo
from tocsin_server.store.redis.checks import check, look
from tocsin_server.store.redis.connection.connection import RedisConnection

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.store")

_LOOK_EVERY = 15.0  # seconds
_LOOK_AGAIN = 1.0  # at the earliest, after a failure or a failover

# Writes nothing, and is refused where a write would be: on a replica, with a full disk, without enough replicas. Not by
# a lack of memory, in which running jobs go on and end.
_WOULD_WRITE = "#!lua flags=allow-oom\nreturn 1"


class Condition:
    """`open` checks the store; from then on `info`, and `alarms`: what has become wrong since, a line each."""

    def __init__(self, connection: RedisConnection, *, embedded: bool) -> None:
        self._connection = connection
        self._embedded = embedded
        self._loop = Loop(self._keep_looking, "store_condition")
        self._info: StoreInfo | None = None
        self.warnings: Sequence[str] = ()
        self.alarms: Sequence[str] = ()

    async def open(self) -> None:
        """StoreUnfit where it must not be used; StoreAway."""
        self._info, self.warnings = await check(self._connection, embedded=self._embedded)
        self._loop.start()

    async def close(self) -> None:
        """Look no more."""
        await self._loop.close()

    @property
    def info(self) -> StoreInfo:
        """What the store is, as of the last look. StoreAway where it was never opened."""
        if self._info is None:
            raise StoreAway("the store was not opened")
        return self._info

    async def check_writes(self) -> None:
        """StoreAway or StoreFull where the store takes no writes at present. In a cluster each node has its own."""
        if not self._connection.cluster:
            await self._connection.execute("EVAL", _WOULD_WRITE, 0, read_only=True)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AGAIN)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY - _LOOK_AGAIN):
                    await self._connection.renewed.wait()
            self._connection.renewed.clear()
            try:
                await self._look()
            except (StoreAway, StoreFull):
                continue  # said elsewhere; when it is back it is looked at
            except Exception:
                _log.exception("store_not_looked_at")

    async def _look(self) -> None:
        before = self.info
        now, wrong = await look(self._connection, embedded=self._embedded)
        if now.durability is not before.durability:
            _log.warning("store_durability_changed", before=before.durability.name, now=now.durability.name)
        self._info = now
        alarms = [line for line in wrong if line not in self.warnings]
        for line in alarms:
            if line not in self.alarms:
                _log.warning("store_alarm", alarm=line)
        for line in self.alarms:
            if line not in alarms:
                _log.info("store_alarm_over", alarm=line)
        self.alarms = alarms
