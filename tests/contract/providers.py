"""The stores that the suite runs on. A store to come adds a class and a line in `flavours`, and changes no test."""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri
from redis import Redis
from support.mongo_servers import MongoServer, fault
from support.redis_servers import VALKEY, ServerProcess
from tocsin_server.domain.quotas import DEFAULT_QUOTAS, Quotas
from tocsin_server.store.interface import JobStore
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.store import MongoStore
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.store import RedisStore

from contract.backdating import Backdate, MongoBackdate, RedisBackdate
from contract.damaging import Damage, MongoDamage, RedisDamage

_PATIENCE = timedelta(seconds=30)  # with a busy machine
_NO_ROOM = 14031  # MongoDB's OutOfDiskSpace


class Provider(ABC):
    """A running provider, empty at first."""

    @abstractmethod
    def store(
        self, *, events_max: int = 100_000, quotas: Quotas = DEFAULT_QUOTAS, manual_clock: bool = False
    ) -> AbstractAsyncContextManager[JobStore]:
        """A store of its own on what this provider holds, opened, and closed at the end."""

    @property
    @abstractmethod
    def backdate(self) -> Backdate:
        """The hook into what it holds."""

    @property
    @abstractmethod
    def damage(self) -> Damage:
        """The hook that spoils what it holds."""

    @abstractmethod
    def contents(self, *, counters: bool = True) -> Mapping[bytes, bytes]:
        """All that it holds, byte for byte: two equal answers are two equal stores.

        Without counters: but for how many numbers were taken, where a store takes them before it writes. Those of a
        write that was refused are not given back.
        """

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def put_back(self, contents: Mapping[bytes, bytes]) -> None:
        """Make it hold what it held when these were its `contents`, as a backup does that is put back."""

    @abstractmethod
    def full(self) -> AbstractContextManager[None]:
        """Meanwhile there is no room for more."""

    @abstractmethod
    def stop(self) -> None:
        """End it, as kill -9 does."""


Start = Callable[[], AbstractContextManager[Provider]]


@dataclass(frozen=True, slots=True)
class Flavour:
    """A product to be started: its name in test ids, what a store on it says of itself, and how it is started."""

    name: str
    provider: str
    product: str
    started: Start = field(repr=False)  # for the whole session
    mortal: Start = field(repr=False)  # to be stopped by a test


# --- Redis ---


@contextlib.contextmanager
def _redis(binary: str) -> Iterator[Provider]:
    # A Unix socket's path must be short, so not pytest's own folder.
    with tempfile.TemporaryDirectory(prefix="toc") as folder:
        process = ServerProcess(binary, Path(folder), "--port", "0")
        try:
            yield RedisProvider(process)
        finally:
            process.stop()


class RedisProvider(Provider):
    """Redis or Valkey on a Unix socket."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._keys = Keys("tests")
        self._client = Redis(unix_socket_path=str(process.socket))
        self._backdate = RedisBackdate(self._client, self._keys)

    @contextlib.asynccontextmanager
    async def store(
        self, *, events_max: int = 100_000, quotas: Quotas = DEFAULT_QUOTAS, manual_clock: bool = False
    ) -> AsyncIterator[JobStore]:
        connection = RedisConnection(self._process.url, answer_within=_PATIENCE)
        store = RedisStore(
            connection, self._keys.namespace, events_max=events_max, quotas=quotas, manual_clock=manual_clock
        )
        try:
            await store.open()
            yield store
        finally:
            await store.close()

    @property
    def backdate(self) -> Backdate:
        return self._backdate

    @property
    def damage(self) -> Damage:
        return RedisDamage(self._client, self._keys)

    def contents(self, *, counters: bool = True) -> Mapping[bytes, bytes]:
        # DUMP holds a value's type, but not when it expires; nothing of the store does.
        return {key: self._client.dump(key) or b"" for key in self._client.scan_iter(count=1000)}

    def clear(self) -> None:
        self._client.flushall()

    def put_back(self, contents: Mapping[bytes, bytes]) -> None:
        with self._client.pipeline(transaction=True) as pipe:
            pipe.flushall()
            for key, value in contents.items():
                pipe.restore(key, 0, value)
            pipe.execute()

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        self._client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            self._client.config_set("maxmemory", 0)

    def stop(self) -> None:
        self._client.close()
        self._process.stop()


# --- MongoDB ---


@contextlib.contextmanager
def _secantus(select_within: timedelta = _PATIENCE) -> Iterator[Provider]:
    """select_within: how long commands look for a server; tests of one that is gone wait for no other."""
    with tempfile.TemporaryDirectory(prefix="toc") as folder:
        server = MongoServer(Path(folder))
        provider = MongoProvider(server.url, server.stop, select_within=select_within)
        try:
            yield provider
        finally:
            provider.leave()
            server.stop()


@contextlib.contextmanager
def _named_mongo(url: str) -> Iterator[Provider]:
    """A database of this process's own on a server that runs; it goes at the end."""
    name = f"tocsin_contract_{os.getpid()}_{secrets.token_hex(4)}"
    provider = MongoProvider(_with_database(url, name), _not_ours)
    try:
        yield provider
    finally:
        provider.drop()
        provider.leave()


def _with_database(url: str, name: str) -> str:
    scheme, _, rest = url.partition("://")
    before, _, query = rest.partition("?")
    options = [option for option in query.split("&") if option]
    source = parse_uri(url).get("database")
    # A database in the address is also where its user is looked for.
    if source and "@" in before and not any(option.lower().startswith("authsource=") for option in options):
        options.append(f"authSource={source}")
    return f"{scheme}://{before.partition('/')[0]}/{name}?{'&'.join(options)}"


def _not_ours() -> None:
    raise AssertionError("a server that is only lent is not stopped")


class MongoProvider(Provider):
    """One database of a server that speaks MongoDB's wire protocol."""

    _JOBS = "jobs"

    def __init__(self, url: str, kill: Callable[[], None], select_within: timedelta = _PATIENCE) -> None:
        self._url, self._kill, self._select_within = url, kill, select_within
        self._client: MongoClient[RawBSONDocument] = MongoClient(url, document_class=RawBSONDocument)
        self._database = self._client.get_default_database()
        self._backdate = MongoBackdate(self._database[self._JOBS])

    @contextlib.asynccontextmanager
    async def store(
        self, *, events_max: int = 100_000, quotas: Quotas = DEFAULT_QUOTAS, manual_clock: bool = False
    ) -> AsyncIterator[JobStore]:
        connection = MongoConnection(
            self._url, answer_within=_PATIENCE, max_connections=16, select_within=self._select_within
        )
        store = MongoStore(
            connection,
            self._JOBS,
            events_max=events_max,
            events_age=timedelta(hours=1),
            quotas=quotas,
            manual_clock=manual_clock,
        )
        try:
            await store.open()
            yield store
        finally:
            await store.close()
            if self._select_within < _PATIENCE:
                # pymongo, closed while it looks for a server that is gone, drops the socket it was connecting.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ResourceWarning)
                    gc.collect()

    @property
    def backdate(self) -> Backdate:
        return self._backdate

    @property
    def damage(self) -> Damage:
        return MongoDamage(self._database[self._JOBS])

    def contents(self, *, counters: bool = True) -> Mapping[bytes, bytes]:
        found = {
            name.encode() + b"\0" + bson.encode({"_id": document["_id"]}): bytes(document.raw)
            for name in self._database.list_collection_names()
            if name != f"{self._JOBS}.queues" or counters
            for document in self._database[name].find()
        }
        if not counters:
            for document in self._database[f"{self._JOBS}.queues"].find({}, {"events": 0, "arrivals": 0, "taken": 0}):
                found[bson.encode({"queue": document["_id"]})] = bytes(document.raw)
        return found

    def clear(self) -> None:
        # Collections and indexes stay: making them anew for each test would take most of the suite's time.
        for name in self._database.list_collection_names():
            self._database[name].delete_many({})

    def put_back(self, contents: Mapping[bytes, bytes]) -> None:
        self.clear()
        for key, document in contents.items():
            name = key.partition(b"\0")[0].decode()
            self._database[name].insert_one(RawBSONDocument(document))

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        try:
            self._client.admin.command("configureFailPoint", "failCommand", mode="off")
        except OperationFailure as error:
            raise AssertionError(
                "this server has no fail points, without which nobody can say that it is full: start mongod with "
                "--setParameter enableTestCommands=1. The tests that need them are those that fail with these words."
            ) from error
        # What takes new room goes by `insert`; all else changes or deletes what stands.
        with fault(self._client, failCommands=["insert"], errorCode=_NO_ROOM):
            yield

    def stop(self) -> None:
        self.leave()
        self._kill()

    def drop(self) -> None:
        """Leave nothing on the server."""
        self._client.drop_database(self._database.name)

    def leave(self) -> None:
        """Close its own connections."""
        self._client.close()


def flavours() -> list[Flavour]:
    """The wheel's Valkey, the Redis that TESTS_REDIS names, and SecantusDB, or the MongoDB of MONGODB_URL."""
    valkey = partial(_redis, VALKEY)
    found = [Flavour("valkey", "redis", "valkey", valkey, valkey)]
    if redis := os.environ.get("TESTS_REDIS"):
        started = partial(_redis, redis)
        found.append(Flavour("redis", "redis", "redis", started, started))
    url = os.environ.get("MONGODB_URL")
    # Tests that stop their server stop a SecantusDB, also where another one is named.
    mongo: Start = partial(_named_mongo, url) if url else _secantus
    found.append(Flavour("mongo", "mongo", "mongodb", mongo, partial(_secantus, timedelta(milliseconds=300))))
    return found
