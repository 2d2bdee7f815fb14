"""The names of all queues. They stand in a key of their own, in a cluster on a node of its own: no script that writes a
queue can write its name too. So a name is written before the queue's first key, again once that key turns out to be
new, and again by whoever reads the names and misses one that it has used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.domain.quotas import too_many_queues
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys

_ASKED_AT_ONCE = 1_000  # queues a pipeline; a store that was emptied makes all of them missing


class QueueNames:
    """The names, `most` of them, and which this process has used. `lost` is called where the store has lost some."""

    def __init__(
        self, connection: RedisConnection, keys: Keys, most: int, *, lost: Callable[[], Awaitable[None]]
    ) -> None:
        self._most = most
        self._connection = connection
        self._keys = keys
        self._lost = lost
        self._used: set[str] = set()
        self._turn = asyncio.Lock()

    async def names(self) -> list[str]:
        """All names, sorted by code point. Those that are missing and should not be are put back first."""
        found = await self._read()
        if missing := sorted(self._used - found):
            stand = await self.standing(missing)
            with suppress(StoreFull):  # written by the next reader; what is known is told all the same
                await self._lost()
                if stand:
                    await self._connection.execute("SADD", self._keys.queues, *stand)
            # The others are gone with all that stood in them: their next job writes the name anew.
            self._used -= set(missing) - set(stand)
            found |= set(stand)
        return sorted(found)

    async def count(self) -> int:
        """How many names there are. Cost O(1)."""
        return int(await self._connection.execute("SCARD", self._keys.queues, read_only=True))

    async def admit(self, queue: str) -> None:
        """See to it that the name stands, before anything is written into the queue. QuotaExceeded, StoreAway.

        Several servers that add the last names in the same moment may go a few beyond the quota.
        """
        if queue in self._used:
            return
        async with self._turn:
            if await self.count() >= self._most and not await self.standing([queue]):
                raise too_many_queues(self._most)
            await self._connection.execute("SADD", self._keys.queues, queue)
            self._used.add(queue)

    async def forget(self, queue: str, drop: Callable[[], Awaitable[Any]]) -> bool:
        """Take the name away once `drop` says that nothing of the queue is left. Whether it is so."""
        self._used.discard(queue)
        if not await drop():
            return False
        await self._connection.execute("SREM", self._keys.queues, queue)
        if await self.standing([queue]):  # made anew meanwhile, and its name may have been written before it went
            await self._connection.execute("SADD", self._keys.queues, queue)
        return True

    async def made(self, queue: str) -> None:
        """The queue was new to the store, or had been lost: its name is written again. OutcomeUnknown: what made it new
        has acted, and is safe once it is repeated."""
        self._used.discard(queue)
        try:
            await self._connection.execute("SADD", self._keys.queues, queue)
        except (StoreAway, StoreFull) as error:  # full: in a cluster another node has the names
            raise OutcomeUnknown(str(error)) from error
        self._used.add(queue)

    async def standing(self, queues: Sequence[str]) -> list[str]:
        """Those of the queues that stand, whatever the names say."""
        stand: list[str] = []
        for start in range(0, len(queues), _ASKED_AT_ONCE):
            part = queues[start : start + _ASKED_AT_ONCE]

            def ask(part: Sequence[str] = part) -> Awaitable[Any]:
                pipe = self._connection.client.pipeline(transaction=False)
                for queue in part:
                    pipe.execute_command("HGET", self._keys.hash(queue), "epoch")
                return pipe.execute()

            of_one = self._keys.hash(part[0]) if len(part) == 1 else None
            epochs = await self._connection.run(ask, read_only=True, key=of_one)
            stand += [queue for queue, epoch in zip(part, epochs, strict=True) if epoch is not None]
        return stand

    async def _read(self) -> set[str]:
        found = await self._connection.execute("SMEMBERS", self._keys.queues, read_only=True)
        return {name.decode() for name in found}
