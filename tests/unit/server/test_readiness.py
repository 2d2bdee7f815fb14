"""A server whose loops have ended is not alive, which only a restart mends; one whose store is away is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

from grpc_health.v1 import health_pb2
from support.spied_store import SpiedStore
from tocsin_server.api.health import LIVE, Health
from tocsin_server.api.services import SERVICE_NAMES
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.readiness import Readiness

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
TICK = timedelta(milliseconds=20)


async def answers(health: Health, service: str) -> AsyncIterator[int]:
    async for answer in health.Watch(health_pb2.HealthCheckRequest(service=service), cast(Any, None)):
        yield answer.status


async def until(health: Health, service: str, wanted: int) -> None:
    async with asyncio.timeout(20), contextlib.aclosing(answers(health, service)) as told:  # type: ignore[type-var]
        async for status in told:
            if status == wanted:
                return


async def test_a_ticker_that_has_died_is_seen_in_live(spied: SpiedStore) -> None:
    health, ticker = Health(SERVICE_NAMES), Ticker(spied.as_store, StoreClock(), TICK)
    await health.begin()
    readiness = Readiness(health, ticker, None, spied.as_store, TICK)
    ticker.start()
    readiness.start()
    try:
        await until(health, "", SERVING)
        [loop] = [task for task in asyncio.all_tasks() if task.get_name() == "ticker"]
        loop.cancel()  # nobody closed it
        await until(health, LIVE, NOT_SERVING)
        await until(health, "", NOT_SERVING)
        assert ticker.dead
    finally:
        await readiness.close()
        await ticker.close()
