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
from tocsin_server.store.encrypting.keyring import LiveKeyring, create_keyring
from tocsin_server.store.encrypting.store import EncryptingStore
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

    #: So many times fewer calls tests make on it that make very many.
    slowness = 1

    #: The keys of the stores that are opened on it from now on; None: what they store is clear.
    encrypted_by: LiveKeyring | None

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
        """Forget everything; but how it was made may stay, where that is as most tests want it."""

    @abstractmethod
    def unmake(self) -> None:
        """Forget everything, also how it was made: the next store that is opened makes it anew."""

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


@contextlib.contextmanager
def _ring(encrypted: bool) -> Iterator[LiveKeyring | None]:
    """A key ring of its own, where what is stored is to be encrypted."""
    if not encrypted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="toc") as folder:
        path = Path(folder) / "keys.toml"
        create_keyring(path)
        yield LiveKeyring(path)


def _around(store: JobStore, keys: LiveKeyring | None) -> JobStore:
    return store if keys is None else EncryptingStore(store, keys)


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
def _redis(binary: str, *, encrypted: bool = False) -> Iterator[Provider]:
    # A Unix socket's path must be short, so not pytest's own folder.
    with tempfile.TemporaryDirectory(prefix="toc") as folder, _ring(encrypted) as keys:
        # Not compressed, so that a DUMP has what is stored, byte for byte.
        process = ServerProcess(binary, Path(folder), "--port", "0", "--rdbcompression", "no")
        try:
            yield RedisProvider(process, keys)
        finally:
            process.stop()


class RedisProvider(Provider):
    """Redis or Valkey on a Unix socket."""

    def __init__(self, process: ServerProcess, encrypted_by: LiveKeyring | None = None) -> None:
        self._process = process
        self.encrypted_by = encrypted_by
        self._keys = Keys("tests")
        self._client = Redis(unix_socket_path=str(process.socket))
        self._backdate = RedisBackdate(self._client, self._keys)

    @contextlib.asynccontextmanager
    async def store(
        self, *, events_max: int = 100_000, quotas: Quotas = DEFAULT_QUOTAS, manual_clock: bool = False
    ) -> AsyncIterator[JobStore]:
        connection = RedisConnection(self._process.url, answer_within=_PATIENCE)
        inner = RedisStore(
            connection,
            self._keys.namespace,
            events_max=events_max,
            quotas=quotas,
            manual_clock=manual_clock,
            has_keys=self.encrypted_by is not None,
        )
        store = _around(inner, self.encrypted_by)
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

    def unmake(self) -> None:
        self.clear()

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
def _secantus(select_within: timedelta = _PATIENCE, *, encrypted: bool = False) -> Iterator[Provider]:
    """select_within: how long commands look for a server; tests of one that is gone wait for no other."""
    with tempfile.TemporaryDirectory(prefix="toc") as folder, _ring(encrypted) as keys:
        server = MongoServer(Path(folder))
        provider = MongoProvider(server.url, server.stop, select_within, keys)
        try:
            yield provider
        finally:
            provider.leave()
            server.stop()


@contextlib.contextmanager
def _named_mongo(url: str, *, encrypted: bool = False) -> Iterator[Provider]:
    """A database of this process's own on a server that runs; it goes at the end."""
    name = f"tocsin_contract_{os.getpid()}_{secrets.token_hex(4)}"
    with _ring(encrypted) as keys:
        provider = MongoProvider(_with_database(url, name), _not_ours, encrypted_by=keys)
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

    slowness = 10
    _JOBS = "jobs"
    _MARK = f"{_JOBS}.format"

    def __init__(
        self,
        url: str,
        kill: Callable[[], None],
        select_within: timedelta = _PATIENCE,
        encrypted_by: LiveKeyring | None = None,
    ) -> None:
        self._url, self._kill, self._select_within = url, kill, select_within
        self.encrypted_by = encrypted_by
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
        inner = MongoStore(
            connection,
            self._JOBS,
            events_max=events_max,
            events_age=timedelta(hours=1),
            quotas=quotas,
            manual_clock=manual_clock,
            has_keys=self.encrypted_by is not None,
        )
        store = _around(inner, self.encrypted_by)
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
        # Collections, indexes and the mark that they are ours stay: making them anew for each test would take most of
        # the suite's time.
        for name in self._database.list_collection_names():
            if name != self._MARK:
                self._database[name].delete_many({})

    def unmake(self) -> None:
        self.clear()
        self._database[self._MARK].delete_many({})

    def put_back(self, contents: Mapping[bytes, bytes]) -> None:
        self.unmake()
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


#: What the names of flavours begin with whose store is an encrypting one around another.
ENCRYPTED = "encrypted_"


def flavours() -> list[Flavour]:
    """The wheel's Valkey, the Redis that TESTS_REDIS names, and SecantusDB, or the MongoDB of MONGODB_URL; then Valkey
    and MongoDB with an encrypting store around theirs."""
    url = os.environ.get("MONGODB_URL")
    found = [_flavour_of_redis("valkey", "valkey", VALKEY)]
    if redis := os.environ.get("TESTS_REDIS"):
        found.append(_flavour_of_redis("redis", "redis", redis))
    found.append(_flavour_of_mongo("mongo", url))
    found.append(_flavour_of_redis(f"{ENCRYPTED}valkey", "valkey", VALKEY, encrypted=True))
    found.append(_flavour_of_mongo(f"{ENCRYPTED}mongo", url, encrypted=True))
    return found


def _flavour_of_redis(name: str, product: str, binary: str, *, encrypted: bool = False) -> Flavour:
    started = partial(_redis, binary, encrypted=encrypted)
    return Flavour(name, "redis", product, started, started)


def _flavour_of_mongo(name: str, url: str | None, *, encrypted: bool = False) -> Flavour:
    # Tests that stop their server stop a SecantusDB, also where another one is named.
    started = partial(_named_mongo, url, encrypted=encrypted) if url else partial(_secantus, encrypted=encrypted)
    mortal = partial(_secantus, timedelta(milliseconds=300), encrypted=encrypted)
    return Flavour(name, "mongo", "mongodb", started, mortal)
