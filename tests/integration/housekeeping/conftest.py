"""The stores of the contract suite, and whole servers on each provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract.conftest import backdate, flavour, provider, providers, running, store
from support.mongo_backend import MongoBackend
from support.mongo_servers import MongoServer
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import STORES, StoreBackend
from support.stubs import Stubs

__all__ = ["backdate", "flavour", "provider", "providers", "running", "store"]

Start = Callable[..., Server]


@pytest.fixture(params=STORES)
def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreBackend]:
    """A store on a server of this test's own, of each provider in turn."""
    if request.param == "redis":
        with RedisBackend(tmp_path / "redis") as redis:
            yield redis
        return
    server = MongoServer(tmp_path / "mongo")
    with MongoBackend(server, "own") as database:
        yield database
    server.stop()


@pytest.fixture
def start(empty_store: StoreBackend, serve: Callable[..., Server]) -> Start:
    """`start(handlers=..., **env)` starts a server; all of one test share an empty store. port: the way to it."""

    def on_it(*flags: str, port: int | None = None, **words: str) -> Server:
        return serve(empty_store.url_at(port or empty_store.port), *flags, **words)

    return on_it


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
