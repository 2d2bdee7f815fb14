"""The parts that find out what can be claimed, put together as the server does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis import Redis
from tocsin_server.domain.lease import Claimed
from tocsin_server.operations.finishing import Finishing
from tocsin_server.operations.leasing.leasing import Leasing
from tocsin_server.operations.leasing.seats import Capacity
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.operations.wakeups import Wakeups

from support.eventually import until_async
from support.spied_store import SpiedStore


@dataclass(frozen=True, slots=True)
class Parts:
    """Running, and listening."""

    clock: StoreClock
    wakeups: Wakeups
    ticker: Ticker
    finishing: Finishing
    leasing: Leasing


class FreeForAll:
    """Free slots that are no different for one queue than for another."""

    def __init__(self, free: Mapping[str, int], limit: int) -> None:
        self._free = dict(free)
        self.free = limit

    def of(self, queue: str) -> Mapping[str, int]:
        return {type_: count for type_, count in self._free.items() if count > 0}

    def take(self, queue: str, type_: str, /) -> bool:
        if self.free <= 0 or self._free.get(type_, 0) <= 0:
            return False
        self._free[type_] -= 1
        self.free -= 1
        return True


async def first_leased(
    leasing: Leasing, free: Mapping[str, int], limit: int, capacity: Callable[[], Capacity] | None = None, **seat: Any
) -> list[Claimed]:
    """Sit until jobs come, as a long poll does."""
    came: asyncio.Future[list[Claimed]] = asyncio.get_running_loop().create_future()
    sitting = leasing.seat(
        [type_ for type_, count in free.items() if count > 0],
        capacity or (lambda: FreeForAll(free, 0 if came.done() else limit)),
        lambda claimed: came.set_result(list(claimed)),
        **seat,
    )
    try:
        return await came
    finally:
        sitting.leave()


StartParts = Callable[..., AbstractAsyncContextManager[Parts]]


@contextlib.asynccontextmanager
async def running_parts(
    spied: SpiedStore,
    client: Redis,
    channel: str,
    *,
    tick: timedelta = timedelta(seconds=1),
    before: Callable[[Parts], Any] = lambda parts: None,
) -> AsyncIterator[Parts]:
    """The parts, once they hear the store's messages and the first tick. `before` may add hearers."""

    async def listening() -> bool:
        [(_, count)] = client.pubsub_numsub(channel)
        return bool(count)

    store, clock = spied.as_store, StoreClock()
    wakeups, ticker, finishing = Wakeups(store), Ticker(store, clock, tick), Finishing(store)
    leasing = Leasing(store, finishing, wakeups, ticker, clock, tick=tick)
    parts = Parts(clock, wakeups, ticker, finishing, leasing)
    wakeups.on_missed(ticker.read_all)
    before(parts)
    wakeups.start()
    await until_async(listening, within=5, what="a subscription")
    leasing.start()
    ticker.start()
    await spied.until_called("queues", 1)
    try:
        yield parts
    finally:
        await leasing.close()
        await ticker.close()
        await wakeups.close()
