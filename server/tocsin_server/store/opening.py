"""From settings to a store; the only place that knows which stores there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tocsin_server.settings import Settings
from tocsin_server.store.interface import JobStore, StoreInfo
from tocsin_server.store.redis.checks import check
from tocsin_server.store.redis.connection import RedisConnection
from tocsin_server.store.redis.embedded import EmbeddedValkey, running_url
from tocsin_server.store.redis.errors import StoreUnfit
from tocsin_server.store.redis.store import RedisStore

__all__ = ["MadeStore", "StoreUnfit", "examined", "made_store"]


@dataclass(frozen=True, slots=True)
class MadeStore:
    """A store, not yet opened, and what is to be said of it once it is: one line each."""

    store: JobStore
    warnings: Callable[[], Sequence[str]]


@asynccontextmanager
async def made_store(settings: Settings) -> AsyncIterator[MadeStore]:
    """The store that the settings name; an embedded one runs from here to the end of the context.

    The store is closed at the end. StoreUnfit, one line: it cannot be used, and what to do.
    """
    if not settings.store.embedded:
        async with _redis_store(settings, settings.store.address(), embedded=False) as made:
            yield made
        return
    valkey = EmbeddedValkey(settings.data)
    await valkey.start()
    try:
        async with _redis_store(settings, valkey.url, embedded=True) as made:
            yield made
    finally:
        await valkey.stop()


@asynccontextmanager
async def _redis_store(settings: Settings, address: str, *, embedded: bool) -> AsyncIterator[MadeStore]:
    store = RedisStore(
        _connection(settings, address),
        settings.store.namespace,
        embedded=embedded,
        events_max=settings.events.per_queue,
        events_age=settings.events.kept_for,
    )
    try:
        yield MadeStore(store, lambda: store.warnings)
    finally:
        await store.close()


def _connection(settings: Settings, address: str) -> RedisConnection:
    try:
        return RedisConnection(
            address, answer_within=settings.store.answer_within, max_connections=settings.store.max_connections
        )
    except ValueError as error:
        raise StoreUnfit(str(error)) from None


async def examined(settings: Settings) -> tuple[StoreInfo, Sequence[str]]:
    """What the store is, and warnings about it; changes nothing. StoreUnfit, StoreAway.

    An embedded store is asked where a server runs it, else started for the question.
    """
    async with AsyncExitStack() as stack:
        address = settings.store.address() if not settings.store.embedded else None
        if address is None:
            address = await running_url(settings.data)
        if address is None:
            valkey = EmbeddedValkey(settings.data)
            await valkey.start()
            stack.push_async_callback(valkey.stop)
            address = valkey.url
        connection = _connection(settings, address)
        stack.push_async_callback(connection.close)
        return await check(connection, embedded=settings.store.embedded)
