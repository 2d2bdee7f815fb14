"""Fixtures that start the real parts: a Redis, Tocsin servers on it, and the Go tools that call them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.go_tools import GoTools
from support.journal import Journal
from support.redis_parts import RedisPart
from support.servers import Server

#: Runs the tests marked `full` too: the same promises at the size the project states, minutes instead of seconds.
FULL = bool(os.environ.get("TESTS_FULL"))

_GO_TOOLS = pytest.StashKey[GoTools]()
_serial = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: at full size, minutes long; only with TESTS_FULL=1")
    config.stash[_GO_TOOLS] = GoTools()
    if _spreads(config):
        config.stash[_GO_TOOLS].prepare()


def _spreads(config: pytest.Config) -> bool:
    """This process only hands tests to others (pytest-xdist), and tells of them."""
    return bool(config.getoption("numprocesses", None))


def _needs_go(item: pytest.Item) -> bool:
    return "interop" in item.path.parts


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not FULL:
        full = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if item not in full]
    # Those that need Go tools come last: a first build goes on beside the others.
    items.sort(key=_needs_go)
    for item in filter(_needs_go, items):
        item.add_marker(pytest.mark.timeout(400))  # the first may wait for a build
    if any(map(_needs_go, items)) and not config.option.collectonly:
        config.stash[_GO_TOOLS].prepare()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tools = config.stash[_GO_TOOLS]
    if _spreads(config):
        tools.path("grpcurl")  # the tests that missed it ran elsewhere
    if trouble := tools.trouble:
        terminalreporter.section("NOT RUN: interop", sep="!", red=True, bold=True)
        terminalreporter.write_line(f"The lines that users type into grpcurl were not tried: {trouble}.")
        terminalreporter.write_line("Put both tools on PATH, or Go, and run again.")


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_GO_TOOLS].close()


@pytest.fixture(scope="session")
def go_tool(pytestconfig: pytest.Config) -> Callable[[str], str]:
    """Path of a Go tool by name. Skips the test, and says so loudly at the end, where it cannot be had."""

    def find(name: str) -> str:
        path = pytestconfig.stash[_GO_TOOLS].path(name)
        if path is None:
            pytest.skip(f"{name} cannot be had; see NOT RUN below")
        return path

    return find


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisPart]:
    """One Redis for all tests that keep to a queue of their own."""
    with RedisPart(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisPart]:
    """An empty Redis of this test's own."""
    with RedisPart(tmp_path / "redis") as part:
        yield part


StartServer = Callable[..., Server]


def _starter(folder: Path, servers: list[Server]) -> StartServer:
    def start(redis_url: str, *flags: str, handlers: str | None = None, **env: str) -> Server:
        chosen = [*flags, *(("--handlers", handlers) if handlers else ())]
        server = Server(folder, chosen, {"REDIS_URL": redis_url, **env})
        servers.append(server)
        return server.start()

    return start


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[StartServer]:
    """`serve(redis_url, *flags, handlers=module, **env)` starts a server; all are killed at the test's end."""
    servers: list[Server] = []
    yield _starter(tmp_path, servers)
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def shared_server(shared_redis: RedisPart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with the handlers of support.jobs.everyday, for tests that keep to a queue of their own."""
    servers: list[Server] = []
    start = _starter(tmp_path_factory.mktemp("server"), servers)
    yield start(shared_redis.url, handlers="support.jobs.everyday", TOCSIN_DRAIN__GRACE="0s")
    assert [server.stop() for server in servers] == [0]


@pytest.fixture(scope="session")
def quiet_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisPart]:
    """The Redis of `quiet_server`: nothing changes in it but by calls."""
    with RedisPart(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture(scope="session")
def quiet_server(quiet_redis: RedisPart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server that runs no jobs, for tests that compare the store before and after calls."""
    servers: list[Server] = []
    start = _starter(tmp_path_factory.mktemp("server"), servers)
    yield start(quiet_redis.url, "--no-dispatch")
    assert [server.stop() for server in servers] == [0]


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue name that no other test of this session uses."""
    return f"{request.node.originalname[:60]}.{next(_serial)}"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """What handlers note; give `**journal.env` to `serve`."""
    return Journal(tmp_path / "journal.tsv")
