"""From settings to a store; the only place that knows which stores there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.domain.quotas import Quotas
from tocsin_server.settings import Settings, numbers_of
from tocsin_server.store.interface import JobStore, StoreInfo, StoreUnfit
from tocsin_server.store.mongo.checks import check as check_mongo
from tocsin_server.store.mongo.checks import unfit_where_not_allowed
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.store import MongoStore
from tocsin_server.store.redis.checks import check as check_redis
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.connection.url import read_url
from tocsin_server.store.redis.embedded.folder import DataFolder, check_can_be_made
from tocsin_server.store.redis.embedded.valkey import EmbeddedValkey, running_url
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.permissions import check_permissions
from tocsin_server.store.redis.store import RedisStore
from tocsin_server.store.refusal_log import words_behind

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = [
    "MadeStore",
    "StoreUnfit",
    "address_trouble",
    "examined",
    "joined_store",
    "made_store",
    "open_store",
    "quotas_of",
]

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")

_ASK_AGAIN = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class MadeStore:
    """A store, not yet opened, and what is to be said of it once it is: one line each."""

    store: JobStore
    warnings: Callable[[], Sequence[str]]
    another: Callable[[], JobStore]  # on the same place, for another event loop; who makes it opens and closes it


def address_trouble(settings: Settings) -> tuple[str, str] | None:
    """What makes an address of the settings none: the setting ("store.url"), and a line without secrets.

    None where it can be read; whether anybody answers there is another question. Nothing is connected.
    """
    store = settings.store
    try:
        if store.kind == "redis" and store.url is not None:
            read_url(store.url.get_secret_value())
        elif store.kind == "mongo":
            _mongo_connection(settings)  # goes no further than its name servers (mongodb+srv://)
    except (ValueError, StoreUnfit) as error:
        return "store.url" if store.kind == "redis" else "store.mongodb_url", str(error)
    return None


@asynccontextmanager
async def made_store(settings: Settings) -> AsyncIterator[MadeStore]:
    """The store that the settings name; an embedded one runs from here to the end of the context.

    The store is closed at the end. StoreUnfit, one line: it cannot be used, and what to do.
    """
    match settings.store.kind:
        case "redis":
            making = _redis_store(settings, settings.store.address(), embedded=False)
        case "mongo":
            making = _mongo_store(settings)
        case "embedded":
            making = _embedded_store(settings)
    async with making as made:
        yield made


@asynccontextmanager
async def joined_store(settings: Settings) -> AsyncIterator[MadeStore]:
    """As made_store; an embedded store that a server runs already is used as it runs, beside that server."""
    address = await running_url(settings.data) if settings.store.embedded else None
    async with made_store(settings) if address is None else _redis_store(settings, address, embedded=True) as made:
        yield made


@asynccontextmanager
async def _embedded_store(settings: Settings) -> AsyncIterator[MadeStore]:
    valkey = EmbeddedValkey(settings.data, maxmemory=settings.store.maxmemory)
    await valkey.start()
    try:
        async with _redis_store(settings, valkey.url, embedded=True) as made:
            yield MadeStore(made.store, lambda: [*valkey.warnings, *made.warnings()], made.another)
    finally:
        await valkey.stop()


@asynccontextmanager
async def _redis_store(settings: Settings, address: str, *, embedded: bool) -> AsyncIterator[MadeStore]:
    around = _encryption(settings)
    store = _new_redis_store(settings, address, embedded=embedded)
    try:
        yield MadeStore(
            around(store),
            lambda: store.warnings,
            lambda: around(_new_redis_store(settings, address, embedded=embedded)),
        )
    finally:
        await store.close()


def _new_redis_store(settings: Settings, address: str, *, embedded: bool) -> RedisStore:
    return RedisStore(
        _redis_connection(settings, address),
        settings.store.namespace,
        embedded=embedded,
        events_max=settings.events.per_queue,
        events_age=settings.events.kept_for,
        quotas=quotas_of(settings),
        manual_clock=settings.store.clock == "manual",
        has_keys=settings.encryption.keyring_file is not None,
    )


def _encryption(settings: Settings) -> Callable[[JobStore], JobStore]:
    """What is put around a store for what is in it to be encrypted; where it is not, nothing, which costs nothing."""
    file = settings.encryption.keyring_file
    if file is None:
        return lambda store: store
    from tocsin_server.store.encrypting.keyring import KeyringError, LiveKeyring  # 30 ms, which others need not spend
    from tocsin_server.store.encrypting.store import EncryptingStore

    try:
        keys = LiveKeyring(file)
    except KeyringError as error:
        raise StoreUnfit(str(error)) from None
    if resource is not None:  # a core dump would have the keys in it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return lambda store: EncryptingStore(store, keys)


async def open_store(made: MadeStore) -> None:
    """Open the store, however long it is away or takes no writes. StoreUnfit."""
    waited = False
    while True:
        try:
            return await made.store.open()
        except (StoreAway, StoreFull, OutcomeUnknown) as error:
            if not waited:
                words = words_behind(error)
                _log.warning("the store cannot be used yet, waiting for it", error=str(error), detail=words)
            waited = True
        await asyncio.sleep(_ASK_AGAIN)


def quotas_of(settings: Settings) -> Quotas:
    """How much the store may hold."""
    quotas = settings.quotas
    return Quotas(quotas.queues, quotas.jobs_per_queue, tuple(numbers_of(quotas.jobs_in_queues)), quotas.payload_bytes)


def _redis_connection(settings: Settings, address: str) -> RedisConnection:
    store = settings.store
    try:
        return RedisConnection(
            address,
            url_now=store.address if store.login_in_file else None,
            answer_within=store.answer_within,
            max_connections=store.max_connections,
        )
    except ValueError as error:
        raise StoreUnfit(str(error)) from None


@asynccontextmanager
async def _mongo_store(settings: Settings) -> AsyncIterator[MadeStore]:
    around = _encryption(settings)
    store = _new_mongo_store(settings)
    try:
        yield MadeStore(around(store), lambda: store.warnings, lambda: around(_new_mongo_store(settings)))
    finally:
        await store.close()


def _new_mongo_store(settings: Settings) -> MongoStore:
    return MongoStore(
        _mongo_connection(settings),
        settings.store.collection,
        events_max=settings.events.per_queue,
        events_age=settings.events.kept_for,
        quotas=quotas_of(settings),
        manual_clock=settings.store.clock == "manual",
        has_keys=settings.encryption.keyring_file is not None,
    )


def _mongo_connection(settings: Settings) -> MongoConnection:
    try:
        return MongoConnection(
            settings.store.address(),
            answer_within=settings.store.answer_within,
            max_connections=settings.store.max_connections,
        )
    except ValueError as error:
        raise StoreUnfit(str(error)) from None


async def examined(settings: Settings) -> tuple[StoreInfo, Sequence[str]]:
    """What the store is, and warnings about it; changes nothing. StoreUnfit, StoreAway.

    An embedded store is asked where a server runs it, else started for the question: on what its folder holds, and
    in a folder of its own where that holds nothing yet.
    """
    match settings.store.kind:
        case "redis":
            return await _examined_redis(settings, settings.store.address(), embedded=False)
        case "mongo":
            return await _examined_mongo(settings)
        case "embedded":
            return await _examined_embedded(settings)


async def _examined_embedded(settings: Settings) -> tuple[StoreInfo, Sequence[str]]:
    own: Sequence[str] = ()
    async with AsyncExitStack() as stack:
        address = await running_url(settings.data)
        if address is None:
            folder = settings.data
            if not DataFolder(folder).exists():
                check_can_be_made(folder)
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="tocsin-doctor-")))
            valkey = EmbeddedValkey(folder, maxmemory=settings.store.maxmemory)
            await valkey.start()
            stack.push_async_callback(valkey.stop)
            address, own = valkey.url, valkey.warnings
        info, warnings = await _examined_redis(settings, address, embedded=True)
        return info, [*own, *warnings]


async def _examined_redis(settings: Settings, address: str, *, embedded: bool) -> tuple[StoreInfo, Sequence[str]]:
    connection = _redis_connection(settings, address)
    keys = Keys(settings.store.namespace)
    try:
        await connection.open()  # a login that is refused is told as such
        found = await check_redis(connection, embedded=embedded)
        await check_permissions(connection, f"{keys.root('any')}:any", keys.wake)
        return found
    finally:
        await connection.close()


async def _examined_mongo(settings: Settings) -> tuple[StoreInfo, Sequence[str]]:
    connection = _mongo_connection(settings)
    try:
        with unfit_where_not_allowed(connection):
            return await check_mongo(
                connection,
                settings.store.collection,
                manual_clock=settings.store.clock == "manual",
                has_keys=settings.encryption.keyring_file is not None,
            )
    finally:
        await connection.close()
