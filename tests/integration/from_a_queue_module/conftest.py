"""The row of each test, and servers that have the page's handlers, on each store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support.eventually import until
from support.mongo_backend import MongoBackend
from support.mongo_servers import MongoServer
from support.redis_backend import RedisBackend
from support.servers import TESTS, Server
from support.stores import STORES, StoreBackend, store_settings
from tocsin import Client, State

from integration.from_a_queue_module.lines import Lines, lines_of
from integration.from_a_queue_module.page import code, row_of

#: `start(store, *flags, **env)`: a server of the test's own, with the page's handlers where `--handlers` names them.
StartServer = Callable[..., Server]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    if isinstance(item, pytest.Function) and isinstance(lines := item.funcargs.get("lines"), Lines):
        assert lines.left == [], "the test did not run these lines of its row"


@pytest.fixture
def user_folder(tmp_path: Path) -> Path:
    """Where commands are typed."""
    folder = tmp_path / "user"
    folder.mkdir()
    return folder


@pytest.fixture
def lines(request: pytest.FixtureRequest, user_folder: Path) -> Iterator[Lines]:
    """The lines of the row that names this test. All of them must be run."""
    assert isinstance(request.node, pytest.Function)
    with lines_of(row_of(request.node.originalname), user_folder) as found:
        yield found


@pytest.fixture(scope="session")
def python_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PYTHONPATH of a server that finds the page's handlers as myapp.jobs."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "myapp").mkdir()
    (folder / "myapp/jobs.py").write_text(code("python")[1])
    return os.pathsep.join(filter(None, [str(folder), str(TESTS), os.environ.get("PYTHONPATH")]))


@pytest.fixture
def start(serve: Callable[..., Server], python_path: str) -> StartServer:
    """See StartServer; all are killed at the test's end."""

    def start(store: StoreBackend | str, *flags: str, **env: str) -> Server:
        url = store if isinstance(store, str) else store.url
        return serve(url, *flags, **{"PYTHONPATH": python_path, "TOCSIN_DRAIN__GRACE": "0s", **env})

    return start


def launch(folder: Path, store_url: str, python_path: str, handlers: Sequence[str], **env: str) -> Server:
    """A server for several tests; whoever launches it stops it."""
    flags = [part for name in handlers for part in ("--handlers", name)]
    shared = {"PYTHONPATH": python_path, "TOCSIN_DRAIN__GRACE": "0s"}
    return Server(folder, flags, {**store_settings(store_url), **shared, **env}).start()


def _sending(folder: Path, store_url: str, python_path: str) -> Iterator[Server]:
    server = launch(
        folder,
        store_url,
        python_path,
        ["myapp.jobs", "support.jobs.everyday"],
        TOCSIN_MAIL__TRANSPORT="file:mails",
        TOCSIN_MAIL__SENDER="Shop <shop@example.com>",
        TOCSIN_SMS__URL="file:texts",
        TOCSIN_SMS__SENDER="Shop",
    )
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def server_on_redis(
    shared_redis: RedisBackend, tmp_path_factory: pytest.TempPathFactory, python_path: str
) -> Iterator[Server]:
    """See server."""
    yield from _sending(tmp_path_factory.mktemp("moving"), shared_redis.url, python_path)


@pytest.fixture(scope="session")
def server_on_mongo(
    mongo_server: MongoServer, tmp_path_factory: pytest.TempPathFactory, python_path: str
) -> Iterator[Server]:
    """See server."""
    with MongoBackend(mongo_server, "moving") as database:
        yield from _sending(tmp_path_factory.mktemp("moving"), database.url, python_path)


@pytest.fixture(params=STORES)
def server(request: pytest.FixtureRequest, lines: Lines) -> Iterator[Server]:
    """A running server on each store in turn, at which the lines are aimed; its queue "default" is empty.

    It has the page's handlers and those of support.jobs.everyday, writes mails into the folder `mails` and text
    messages into `texts`.
    """
    found = request.getfixturevalue(f"server_on_{request.param}")
    assert isinstance(found, Server)
    lines.at(found.address)
    yield found
    with Client(found.address) as client:
        empty(client)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """The test's own client of that server."""
    with Client(server.address) as client:
        yield client


def empty(client: Client) -> None:
    """The queue "default" as if it had never been used, but for reminder sets."""
    client.cancel_many(states=["SCHEDULED", "WAITING", "ACTIVE"])
    until(lambda: client.count(states=["ACTIVE"]) == 0, within=20, what="running jobs obey")
    client.purge(states=[state for state in State if state is not State.ACTIVE])
    client.update_queue(defaults=None, type_defaults=None, completed_max=None, failed_max=None)
    client.resume()
