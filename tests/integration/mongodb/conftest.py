"""A real server of the test's own, and stores on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from support.mongo_servers import DATABASE, MongoServer
from support.mongo_stores import opened
from tocsin_server.store.mongo.store import MongoStore


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """One server for a file's tests."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: MongoServer) -> MongoServer:
    """It, empty and without faults."""
    with shared_server.client() as client:
        client.admin.command("configureFailPoint", "failCommand", mode="off")
        client.drop_database(DATABASE)
    return shared_server


@pytest.fixture
def database(server: MongoServer) -> Iterator[Database[dict[str, Any]]]:
    """What the server holds."""
    with MongoClient[dict[str, Any]](server.url, tz_aware=True) as client:
        yield client[DATABASE]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., MongoServer]]:
    """Start servers with options: start_server(standalone=True)."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> MongoServer:
            number = sum(1 for _ in tmp_path.iterdir())
            server = MongoServer(tmp_path / f"mongo-{number}", **options)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
async def store(server: MongoServer) -> AsyncIterator[MongoStore]:
    """An opened store on the empty server."""
    async with opened(server.url) as store:
        yield store
