"""The stores that the suite runs on. A store to come adds a class here, and changes no test."""

from __future__ import annotations

import contextlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from redis import Redis
from support.redis_servers import VALKEY, ServerProcess
from tocsin_server.store.interface import JobStore
from tocsin_server.store.redis.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.store import RedisStore

from contract.backdating import Backdate, RedisBackdate


class Provider(ABC):
    """A running provider, empty at first."""

    @abstractmethod
    def store(self, *, events_max: int = 100_000) -> AbstractAsyncContextManager[JobStore]:
        """A store of its own on what this provider holds, opened, and closed at the end."""

    @property
    @abstractmethod
    def backdate(self) -> Backdate:
        """The hook into what it holds."""

    @abstractmethod
    def contents(self) -> Mapping[bytes, bytes]:
        """All that it holds, byte for byte: two equal answers are two equal stores."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def full(self) -> AbstractContextManager[None]:
        """Meanwhile there is no room for more."""

    @abstractmethod
    def stop(self) -> None:
        """End it, as kill -9 does."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """A product to be started: its name in test ids, and its program."""

    name: str
    binary: str

    @contextlib.contextmanager
    def started(self) -> Iterator[Provider]:
        """A process of its own."""
        # A Unix socket's path must be short, so not pytest's own folder.
        with tempfile.TemporaryDirectory(prefix="toc") as folder:
            process = ServerProcess(self.binary, Path(folder), "--port", "0")
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
    async def store(self, *, events_max: int = 100_000) -> AsyncIterator[JobStore]:
        connection = RedisConnection(self._process.url, answer_within=timedelta(seconds=30))
        store = RedisStore(connection, self._keys.namespace, events_max=events_max)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    @property
    def backdate(self) -> Backdate:
        return self._backdate

    def contents(self) -> Mapping[bytes, bytes]:
        # DUMP holds a value's type, but not when it expires; nothing of the store does.
        return {key: self._client.dump(key) or b"" for key in self._client.scan_iter(count=1000)}

    def clear(self) -> None:
        self._client.flushall()

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


def flavours() -> list[Flavour]:
    """The wheel's Valkey, and the Redis that TOCSIN_TEST_REDIS names."""
    redis = os.environ.get("TOCSIN_TEST_REDIS")
    return [Flavour("valkey", VALKEY), *([Flavour("redis", redis)] if redis else [])]
