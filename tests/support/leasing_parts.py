"""The parts that find out what can be claimed, put together as the server does."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis import Redis
from tocsin_server.operations.finishing import Finishing
from tocsin_server.operations.leasing import Leasing
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


StartParts = Callable[..., AbstractAsyncContextManager[Parts]]


@contextlib.asynccontextmanager
async def running_parts(
    spied: SpiedStore,
    client: Redis,
    channel: str,
    *,
    queues: Collection[str] | None = None,
    tick: timedelta = timedelta(seconds=1),
    lease: timedelta = timedelta(seconds=30),
    before: Callable[[Parts], Any] = lambda parts: None,
    fresh: Callable[[str], Awaitable[None]] | None = None,
) -> AsyncIterator[Parts]:
    """The parts, once they hear the store's messages and the first tick. `before` may add hearers."""

    async def listening() -> bool:
        [(_, count)] = client.pubsub_numsub(channel)
        return bool(count)

    store, clock = spied.as_store, StoreClock()
    wakeups, ticker, finishing = Wakeups(store), Ticker(store, clock, tick), Finishing(store)
    leasing = Leasing(store, finishing, wakeups, ticker, clock, queues=queues, lease=lease, tick=tick, fresh=fresh)
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
