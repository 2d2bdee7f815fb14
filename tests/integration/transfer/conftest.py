"""Two stores of different kinds, servers on them, and the commands that users type."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.mongo_backend import MongoBackend
from support.mongo_servers import MongoServer
from support.redis_backend import RedisBackend
from support.servers import TESTS, Server
from support.stores import STORES, StoreBackend, store_settings

from integration.transfer.exports import HANDLERS, lived_in

#: `tocsin("export", "a.jsonl", server=server)` is that command line, run to its end; standard input may be given.
Tocsin = Callable[..., subprocess.CompletedProcess[bytes]]


@dataclass(frozen=True)
class Source:
    """A store that was lived in, and a server on it that runs no jobs."""

    store: StoreBackend
    server: Server


@pytest.fixture(scope="module", params=STORES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """One of each provider, which tests of a module share: they read it alone. Its last worker was killed at work."""
    folder = tmp_path_factory.mktemp("source")
    with ExitStack() as stack:
        if request.param == "redis":
            store: StoreBackend = stack.enter_context(RedisBackend(folder / "redis"))
        else:
            mongo = MongoServer(folder / "mongo")
            stack.callback(mongo.stop)
            store = stack.enter_context(MongoBackend(mongo, "source"))
        settings = {**store_settings(store.url), "TOCSIN_LEASE__DURATION": "30m"}
        worker = Server(folder, ["--handlers", HANDLERS], settings)
        stack.callback(worker.kill)
        lived_in(worker.start())
        worker.kill()
        server = Server(folder, ["--no-dispatch"], settings)
        stack.callback(server.kill)
        yield Source(store, server.start())


@pytest.fixture
def target_store(source: Source, request: pytest.FixtureRequest) -> StoreBackend:
    """An empty store of the other provider."""
    part: StoreBackend = request.getfixturevalue("redis" if source.store.provider == "mongo" else "mongo_database")
    return part


@pytest.fixture
def target(target_store: StoreBackend, serve: Callable[..., Server]) -> Server:
    """A server that runs no jobs on it."""
    return serve(target_store.url, "--no-dispatch")


@pytest.fixture
def quiet(redis: RedisBackend, serve: Callable[..., Server]) -> Server:
    """A server that runs no jobs, on an empty Redis of this test's own."""
    return serve(redis.url, "--no-dispatch")


@pytest.fixture
def tocsin(tmp_path: Path) -> Tocsin:
    """Runs command lines in the test's folder."""

    def run(
        *arguments: str, server: Server | None = None, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
        if server is not None:
            environment["TOCSIN_ADDRESS"] = server.address
        return subprocess.run(
            [sys.executable, "-m", "tocsin.cli.main", *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
        )

    return run
