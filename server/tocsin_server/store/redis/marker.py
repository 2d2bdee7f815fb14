"""What a store says of itself: the number of its format, how far its clock was moved, if it is moved by hand, and by
which key it is encrypted, if it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from tocsin_server.domain.errors import ClockNotManual
from tocsin_server.domain.times import time_to_ms, to_time
from tocsin_server.store.clocks import NO_CLUSTER, check_clock
from tocsin_server.store.encryption_mark import check_mark
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.scripts import Scripts

FORMAT = 2  # of what is stored; a server refuses another one
#: Both in one step: a store is never half made.
_MARK = "if redis.call('SET', KEYS[1], ARGV[1], 'NX') then redis.call('SET', KEYS[2], 0, 'NX') end"


class Marker:
    """The marks of one namespace."""

    def __init__(
        self, connection: RedisConnection, scripts: Scripts, keys: Keys, *, manual_clock: bool, has_keys: bool
    ) -> None:
        self._connection = connection
        self._scripts = scripts
        self._keys = keys
        self._manual_clock = manual_clock
        self._has_keys = has_keys
        self._encrypted = ""  # as this process marked it

    async def make(self) -> None:
        """Say which format is stored, whether its clock is moved by hand, and by which key it is encrypted; once more
        where the store has lost it."""
        if self._manual_clock:
            await self._connection.execute("EVAL", _MARK, 2, self._keys.format, self._keys.clock, FORMAT)
        else:
            await self._connection.execute("SET", self._keys.format, FORMAT, "NX")
        if self._encrypted:
            await self._connection.execute("SET", self._keys.encrypted, self._encrypted, "NX")

    async def key_id(self) -> str:
        """As SealedStore.key_id."""
        found = await self._connection.execute("GET", self._keys.encrypted, read_only=True)
        return "" if found is None else found.decode()

    async def mark(self, key_id: str) -> None:
        """As SealedStore.mark."""
        await self._connection.execute("SET", self._keys.encrypted, key_id)
        self._encrypted = key_id

    async def check(self, count_queues: Callable[[], Awaitable[int]]) -> None:
        """StoreUnfit where the store cannot be used as it is; makes the marks of a new one."""
        if self._manual_clock and self._connection.cluster:
            raise StoreUnfit(NO_CLUSTER)
        await self.make()
        moved_by_hand = await self._connection.execute("EXISTS", self._keys.clock, read_only=True)
        check_clock(manual=self._manual_clock, made_manual=bool(moved_by_hand))
        check_mark(await self.key_id(), keys=self._has_keys)
        found = int(await self._connection.execute("GET", self._keys.format, read_only=True))
        if found < FORMAT and not await count_queues():
            await self._connection.execute("SET", self._keys.format, FORMAT)  # nothing is stored yet
        elif found != FORMAT:
            raise StoreUnfit(
                f"the store holds format {found}, this server knows {FORMAT}: use another namespace, or run the server "
                "of that format, `tocsin export` there and `tocsin import` here"
            )

    async def move_clock(self, to: datetime) -> datetime:
        """As JobStore.move_clock."""
        if not self._manual_clock:
            raise ClockNotManual
        return to_time(await self._scripts.run("move_clock", self._keys.clock, time_to_ms(to), self._keys.wake))
