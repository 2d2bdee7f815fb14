"""Wake-ups are heard again after a connection that went silent without an end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from support.eventually import until_async
from support.redis_servers import Proxy
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.wake_channel import WakeChannel

CLAIMABLE = b"\x01" + bytes(6) + b"q"


async def test_a_listener_that_hears_not_even_a_pong_looks_for_another_connection(proxy: Proxy) -> None:
    connection = RedisConnection(proxy.url)
    channel = WakeChannel(connection, "wake", silence=timedelta(milliseconds=100))
    heard: list[str] = []

    async def hear() -> None:
        async for wake in channel.listen():
            heard.append(wake.queue)

    async def arrives() -> bool:
        await connection.execute("PUBLISH", "wake", CLAIMABLE)
        return bool(heard)

    listening = asyncio.create_task(hear())
    try:
        await until_async(arrives, within=5)
        proxy.swallow_after = b"PING"
        async with asyncio.timeout(5):
            await proxy.swallowed.wait()
        proxy.swallow_after = None
        heard.clear()
        await until_async(arrives, within=5)
    finally:
        await channel.close()
        await listening
        await connection.close()


async def test_a_silent_channel_is_kept_while_somebody_answers(proxy: Proxy) -> None:
    connection = RedisConnection(proxy.url)
    channel = WakeChannel(connection, "wake", silence=timedelta(milliseconds=50))
    seen: list[object] = []

    async def hear() -> None:
        async for wake in channel.listen():
            seen.append(wake)

    async def subscribed() -> bool:
        return bool((await connection.execute("PUBSUB", "NUMSUB", "wake"))[1])

    async def pinged() -> bool:
        stats = await connection.execute("INFO", "commandstats")
        return bool(stats.get("cmdstat_ping", {}).get("calls", 0) >= 5)

    listening = asyncio.create_task(hear())
    try:
        await until_async(subscribed, within=5)
        made = proxy.connections
        await until_async(pinged, within=5)
        assert proxy.connections == made
        assert await subscribed()
    finally:
        await channel.close()
        await listening
        await connection.close()
