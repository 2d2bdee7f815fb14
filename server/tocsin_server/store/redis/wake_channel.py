"""The store's wake-up messages: B flags, I6 due, queue, on one channel for all queues (lua/lib/tick.lua)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisClusterException, RedisError

from tocsin_server.domain.times import to_time
from tocsin_server.store.interface import Wake
from tocsin_server.store.redis.connection.connection import RedisConnection

_CLAIMABLE, _DUE, _CANCELS, _SETTINGS, _MOVED, _ERRANDS = 1, 2, 4, 8, 16, 32
_SILENCE = timedelta(seconds=2.5)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(milliseconds=50), timedelta(seconds=2)


class WakeChannel:
    """Listens; connects again by itself. A message sent meanwhile is lost, and found by the next tick.

    After `silence` it asks whether anybody is there, and after twice that it looks for another server.
    """

    def __init__(self, connection: RedisConnection, channel: str, silence: timedelta = _SILENCE) -> None:
        self._connection = connection
        self._channel = channel
        self._silence = silence.total_seconds()
        self._closed = asyncio.Event()
        self._listeners: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """End all listening."""
        self._closed.set()
        for task in list(self._listeners):
            await _cancelled(task)

    async def listen(self) -> AsyncIterator[Wake]:
        """Messages as they come, until `close`."""
        heard: asyncio.Queue[Wake | None] = asyncio.Queue()
        task = asyncio.create_task(self._hear(heard))
        self._listeners.add(task)
        try:
            while (wake := await heard.get()) is not None:
                yield wake
        finally:
            self._listeners.discard(task)
            await _cancelled(task)

    async def _hear(self, heard: asyncio.Queue[Wake | None]) -> None:
        pause = _FIRST_PAUSE
        try:
            while not self._closed.is_set():
                try:
                    async with self._connection.subscribed(self._channel) as pubsub:
                        asked = False
                        heard.put_nowait(Wake("", None, missed=True))
                        while True:
                            message = await pubsub.get_message(timeout=self._silence)
                            if message is not None:
                                asked = False
                                if message["type"] == "message":
                                    heard.put_nowait(_wake(message["data"]))
                            elif asked:
                                break  # not even a PONG: that server is gone, and never said so
                            else:
                                await pubsub.ping()
                                asked = True
                            pause = _FIRST_PAUSE
                except (RedisError, RedisClusterException, OSError):
                    await asyncio.sleep(pause.total_seconds())
                    pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            heard.put_nowait(None)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it ends: on Python 3.11 a time-out inside redis-py can swallow a cancel."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.05)


def _wake(message: bytes) -> Wake:
    flags, due, queue = message[0], int.from_bytes(message[1:7], "big"), message[7:].decode()
    return Wake(
        queue,
        to_time(due) if flags & _DUE else None,
        cancels=bool(flags & _CANCELS),
        settings=bool(flags & _SETTINGS),
        moved=bool(flags & _MOVED),
        errands=bool(flags & _ERRANDS),
    )
