"""From settings to a store; the only place that knows which stores there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tocsin_server.settings import Settings
from tocsin_server.store.interface import JobStore
from tocsin_server.store.redis.connection import RedisConnection
from tocsin_server.store.redis.embedded import EmbeddedValkey
from tocsin_server.store.redis.errors import StoreUnfit
from tocsin_server.store.redis.store import RedisStore

__all__ = ["StoreUnfit", "made_store"]


@asynccontextmanager
async def made_store(settings: Settings) -> AsyncIterator[JobStore]:
    """The store that the settings name, not yet opened; an embedded one runs from here to the end of the context.

    The store is closed at the end. StoreUnfit, one line: it cannot be used, and what to do.
    """
    if not settings.store.embedded:
        store = _redis_store(settings, settings.store.address(), embedded=False)
        try:
            yield store
        finally:
            await store.close()
        return
    valkey = EmbeddedValkey(settings.data)
    await valkey.start()
    try:
        store = _redis_store(settings, valkey.url, embedded=True)
        try:
            yield store
        finally:
            await store.close()
    finally:
        await valkey.stop()


def _redis_store(settings: Settings, address: str, *, embedded: bool) -> RedisStore:
    try:
        connection = RedisConnection(
            address, answer_within=settings.store.answer_within, max_connections=settings.store.max_connections
        )
    except ValueError as error:
        raise StoreUnfit(str(error)) from None
    return RedisStore(
        connection,
        settings.store.namespace,
        embedded=embedded,
        events_max=settings.events.per_queue,
        events_age=settings.events.kept_for,
    )
