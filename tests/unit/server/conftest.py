"""A real store on a real Valkey, emptied for each test, and the parts that claim from it."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from contract.backdating import Backdate, RedisBackdate
from redis import Redis
from support.redis_servers import VALKEY, ServerProcess
from support.running_leasing import StartParts, running_parts
from support.spied_store import SpiedStore
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.store import RedisStore

KEYS = Keys("tests")


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[ServerProcess]:
    """One process for all tests."""
    # A Unix socket's path must be short, so not pytest's own folder.
    with tempfile.TemporaryDirectory(prefix="toc") as folder:
        process = ServerProcess(VALKEY, Path(folder), "--port", "0")
        yield process
        process.stop()


@pytest.fixture
def valkey_client(shared_valkey: ServerProcess) -> Iterator[Redis]:
    """A client of an empty Valkey."""
    with Redis(unix_socket_path=str(shared_valkey.socket)) as client:
        client.flushall()
        yield client


@pytest.fixture
async def spied(shared_valkey: ServerProcess, valkey_client: Redis) -> AsyncIterator[SpiedStore]:
    """A store on it whose calls can be counted and lost."""
    store = RedisStore(RedisConnection(shared_valkey.url), KEYS.namespace)
    await store.open()
    yield SpiedStore(store)
    await store.close()


@pytest.fixture
def backdate(valkey_client: Redis) -> Backdate:
    """Moves times into the past."""
    return RedisBackdate(valkey_client, KEYS)


@pytest.fixture
def start_parts(spied: SpiedStore, valkey_client: Redis) -> StartParts:
    """`async with start_parts(queues=..., tick=..., lease=..., before=lambda parts: ...) as parts`."""
    return functools.partial(running_parts, spied, valkey_client, KEYS.wake)
