"""Stores whose files can be looked through, servers with a key ring on them, and the commands that users type."""

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

#: `tocsin("keys", "list", "keys.toml", env={...})` is that command line, run to its end in the test's folder.
Tocsin = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Kept:
    """A store, the folder of all its files, and what else is needed to write them."""

    store: StoreBackend
    folder: Path

    def held(self) -> bytes:
        """All bytes of all its files, written out now."""
        if isinstance(self.store, RedisBackend):
            self.store.client.save()
        return b"\n".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())


@pytest.fixture(params=STORES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    """One of each provider. Nothing in its files is compressed that the store wrote by itself."""
    folder = tmp_path / "store"
    with ExitStack() as stack:
        if request.param == "redis":
            options = ("--appendonly", "yes", "--rdbcompression", "no")
            store: StoreBackend = stack.enter_context(RedisBackend(folder, *options))
        else:
            mongo = MongoServer(folder)
            stack.callback(mongo.stop)
            store = stack.enter_context(MongoBackend(mongo, "kept"))
        yield Kept(store, folder)


@pytest.fixture
def tocsin(tmp_path: Path) -> Tocsin:
    """Runs command lines in the test's folder."""

    def run(
        *arguments: str,
        server: Server | None = None,
        store: StoreBackend | None = None,
        ring: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
        if server is not None:
            environment["TOCSIN_ADDRESS"] = server.address
        if store is not None:
            environment.update(store_settings(store.url))
        if ring is not None:
            environment["TOCSIN_ENCRYPTION__KEYRING_FILE"] = str(ring)
        return subprocess.run(
            [sys.executable, "-m", "tocsin.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
        )

    return run
