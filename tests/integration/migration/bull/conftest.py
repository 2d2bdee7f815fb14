"""A Redis that real Bull and BullMQ write to, and what the readers find there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from support import node_tools
from support.redis_backend import RedisBackend
from tocsin_server.migrate.systems.bull.reader import open_bull
from tocsin_server.migrate.systems.bullmq.queue import open_bullmq
from tocsin_server.migrate.systems.foreign import Choices, Foreign, Opened

from integration.migration.bull import sound

SCRIPTS = Path(__file__).parents[3] / "support/node"
PREFIX = "bull"
#: Keys that go by themselves.
_PASSING = (b":lock", b":stalled-check", b":limiter")

OPENERS: dict[str, Callable[..., Opened]] = {"bull": open_bull, "bullmq": open_bullmq}

#: `await play("bull", "states")` has the real package act; what its script says.
Play = Callable[..., Any]


class Read(Protocol):
    """`await read("bull", take_active=True)`: all that the reader finds. It must leave every byte as it is."""

    def __call__(self, system: str, *, prefix: str = PREFIX, **choices: Any) -> Awaitable[Sequence[Foreign]]: ...


@pytest.fixture(scope="session")
def bull_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisBackend]:
    """One server for all of these tests."""
    with RedisBackend(tmp_path_factory.mktemp("bull")) as redis:
        yield redis


@pytest.fixture
def source(bull_redis: RedisBackend) -> RedisBackend:
    """It, empty."""
    bull_redis.client.flushall()
    return bull_redis


@pytest.fixture
def play(source: RedisBackend, npm_packages: Path, tmp_path: Path) -> Play:
    """See Play."""
    (tmp_path / "node_modules").symlink_to(npm_packages)

    def played(system: str, scene: str, *arguments: str, prefix: str = PREFIX) -> Any:
        script = tmp_path / f"{system}_writes.mjs"
        script.write_text((SCRIPTS / script.name).read_text())
        command = [node_tools.node(), str(script), source.url, prefix, scene, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return played


@pytest.fixture
def read(source: RedisBackend) -> Read:
    """See Read."""

    async def found(system: str, *, prefix: str = PREFIX, **choices: Any) -> Sequence[Foreign]:
        before = lasting(source)
        async with OPENERS[system](source.url, Choices(**choices), prefix=prefix) as reader:
            things = [thing async for thing in reader.read()]
        assert lasting(source) == before
        for thing in things:
            sound.check(thing)
        return things

    return found


def lasting(source: RedisBackend) -> dict[bytes, object]:
    """All that the source holds, but for what goes by itself. (DUMP is no measure: reading a large hash goes on with
    its rehashing, and that changes the order of its fields.)"""
    client = source.client
    reads: dict[Any, Callable[[Any], object]] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"hash": client.hgetall,
        b"stream": client.xrange,
    }
    keys = [key for key in client.scan_iter(count=1000) if not key.endswith(_PASSING)]
    return {key: (client.ttl(key) < 0, reads[client.type(key)](key)) for key in keys}
