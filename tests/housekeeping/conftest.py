"""The stores of the contract suite, and whole servers on each provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract.conftest import backdate, flavour, provider, providers, running, store
from support.mongo_servers import MongoServer
from support.redis_parts import RedisPart
from support.servers import Server
from support.stubs import Stubs

__all__ = ["backdate", "flavour", "provider", "providers", "running", "store"]

Start = Callable[..., Server]


@pytest.fixture(params=["redis", "mongo"])
def start(request: pytest.FixtureRequest, tmp_path: Path, serve: Callable[..., Server]) -> Iterator[Start]:
    """`start(handlers=..., **env)` starts a server; all of one test share an empty store."""
    if request.param == "redis":
        with RedisPart(tmp_path / "redis") as redis:
            yield lambda *flags, **words: serve(redis.url, *flags, **words)
        return
    mongo = MongoServer(tmp_path / "mongo")
    yield lambda *flags, **words: serve("", *flags, QUEUE_PROVIDER="mongo", MONGODB_URL=mongo.url, **words)
    mongo.stop()


@pytest.fixture
def connect() -> Iterator[Callable[[Server], Stubs]]:
    """Plain stubs to a server, closed at the test's end."""
    opened: list[Stubs] = []

    def to(server: Server) -> Stubs:
        opened.append(Stubs(server.address))
        return opened[-1]

    yield to
    for stubs in opened:
        stubs.channel.close()
