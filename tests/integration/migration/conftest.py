"""Stores as places, and the command line that moves between them."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from support.stores import StoreBackend
from tocsin_server.migrate.stores import Side, opened, settings_of
from tocsin_server.store.interface import JobStore

_PEAK = re.compile(r", (\d+) MiB\)")

#: Opens the store at an address for as long as the test runs.
OpenPlace = Callable[[str], Awaitable[Side]]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it took."""

    code: int
    said: str
    errors: str
    seconds: float

    @property
    def peak_mib(self) -> int:
        """Of resident memory, as a move between stores tells it."""
        told = _PEAK.search(self.said)
        assert told is not None, (self.said, self.errors)
        return int(told[1])


#: Runs `tocsin migrate` with these arguments.
Migrate = Callable[..., Ran]


@pytest.fixture(scope="session")
def _one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisBackend]:
    with RedisBackend(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture
def redis(_one_redis: RedisBackend) -> RedisBackend:
    """An empty Redis: one server for all tests of this folder, for hundreds of them need one and none stops it."""
    _one_redis.empty()
    return _one_redis


@pytest.fixture
def migrate(tmp_path: Path) -> Migrate:
    """`migrate("--from", url, "--to", url)`."""

    def run(*arguments: str) -> Ran:
        begun = time.monotonic()
        done = subprocess.run([*command(), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        return Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)

    return run


def command() -> list[str]:
    """`tocsin migrate`, however this Python is installed."""
    return [sys.executable, "-m", "tocsin.cli.main", "migrate"]


@pytest.fixture
async def open_place() -> AsyncIterator[OpenPlace]:
    """See OpenPlace."""
    async with AsyncExitStack() as stack:

        async def open_(url: str) -> Side:
            return await stack.enter_async_context(opened(settings_of("--to", url)))

        yield open_


@pytest.fixture
async def target(store: StoreBackend, open_place: OpenPlace) -> JobStore:
    """An empty store, of each provider in turn."""
    return (await open_place(store.url)).store


@pytest.fixture(params=["redis to mongo", "mongo to redis"])
def ways(request: pytest.FixtureRequest, redis: RedisBackend, mongo_database: MongoBackend) -> tuple[str, str]:
    """The addresses of two empty stores: from, to."""
    way = (redis.url, mongo_database.url)
    return way if request.param == "redis to mongo" else way[::-1]


@pytest.fixture
async def places(ways: tuple[str, str], open_place: OpenPlace) -> tuple[Side, Side]:
    """Two empty stores: from, to."""
    return await open_place(ways[0]), await open_place(ways[1])


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the server runs on."""
    return {"uvloop": uvloop.new_event_loop}
