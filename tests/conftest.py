"""Fixtures that start the real parts: the stores, Tocsin servers on them, and the Go tools that call those."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings
from support import at_length, go_tools, node_tools
from support.journal import Journal
from support.mongo_backend import MongoBackend
from support.mongo_servers import MongoServer
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import STORES, StoreBackend, store_settings

#: Runs the tests marked `full` too: the same promises at the size the project states, minutes instead of seconds.
FULL = bool(os.environ.get("TESTS_FULL"))

# A machine that stands still for a second has found nothing.
_CHECKS = [HealthCheck.too_slow]
settings.register_profile("tocsin", max_examples=100 if FULL else 20, deadline=None, suppress_health_check=_CHECKS)
settings.load_profile("tocsin")

#: What is not run everywhere, mostly for want of tools: what is then untried, and what to do about it.
_NOT_EVERYWHERE = {
    "interop": (
        "The lines that users type into grpcurl were not tried:",
        "Put grpcurl and grpc-health-probe on PATH, or Go, and run again.",
    ),
    "npm": (
        "What Agenda, Bull and BullMQ themselves write was not tried:",
        "Put node (18 or later) and npm on PATH, and run again.",
    ),
    "languages": (
        "What the pages of these languages say, and their example workers, were not tried:",
        "Put Go, node (20 or later) with npm, and Java (17 or later) with Maven, on PATH, and run again.",
    ),
    "promtool": (
        "That Prometheus' own tool finds nothing to mend in metrics and alert rules was not tried:",
        "Put promtool (it comes with Prometheus) on PATH, and run again.",
    ),
    "browser": (
        "The dashboard was not looked at in a browser:",
        "Put chromium and chromedriver on PATH, and npm for axe-core, and run again.",
    ),
    "peers": (
        "That the bench can measure these other queues was not tried:",
        "Put node (18 or later), npm and Go on PATH, and run again.",
    ),
    "mongo": (
        "What takes long on MongoDB was tried on Redis alone (tests/support/at_length.py):",
        "Set TESTS_MONGO=rest, and run again; .ci/run does.",
    ),
}
_NOT_RUN = pytest.StashKey[dict[str, set[str]]]()  # reasons, by name of the above
_GO_BUILD = pytest.StashKey[subprocess.Popen[bytes] | None]()
_serial = itertools.count(1)

#: Stores write all the time, and where many share a disk the tests wait for it: half of the time of a MongoDB's. So
#: their folders are in memory where that has room for the largest test. A TMPDIR of the caller's own is left alone.
_IN_MEMORY, _ROOM_FOR_ALL = Path("/dev/shm"), 4 << 30  # no name is made up here


def _have_folders_in_memory() -> None:
    if "TMPDIR" in os.environ or not os.access(_IN_MEMORY, os.W_OK):
        return
    mount = os.statvfs(_IN_MEMORY)
    if mount.f_bavail * mount.f_frsize >= _ROOM_FOR_ALL and not mount.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = str(_IN_MEMORY)
        tempfile.tempdir = None  # looked up anew


def pytest_configure(config: pytest.Config) -> None:
    _have_folders_in_memory()
    # Hundreds of servers and commands are started; each would compile our sources anew, which takes it a second.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in a shell's background: processes that tests interrupt would ignore it, too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "full: at full size, minutes long; only with TESTS_FULL=1")
    config.stash[_NOT_RUN] = {name: set() for name in _NOT_EVERYWHERE}
    config.stash[_GO_BUILD] = None


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    interop = Path(__file__).parent / "interop"
    asked = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    wanted = any(path.is_relative_to(interop) or interop.is_relative_to(path) for path in asked)
    if wanted and not config.option.collectonly and not hasattr(config, "workerinput"):
        config.stash[_GO_BUILD] = go_tools.build_aside()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not FULL:
        full = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if item not in full]
    items[:], others = at_length.split(items)
    config.hook.pytest_deselected(items=others)
    if others and os.environ.get("TESTS_MONGO") != "rest":
        config.stash[_NOT_RUN]["mongo"].add(f"{len(others)} tests")
    # Those that need Go tools come last: a first build goes on beside the others.
    items.sort(key=lambda item: "interop" in item.path.parts)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):  # under pytest-xdist; the controller writes the summary
        config.workeroutput["not_run"] = {name: sorted(reasons) for name, reasons in config.stash[_NOT_RUN].items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """pytest-xdist: a worker has ended."""
    for name, reasons in getattr(node, "workeroutput", {}).get("not_run", {}).items():
        node.config.stash[_NOT_RUN][name].update(reasons)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    # From reports, which pytest-xdist passes on: a subfolder's conftest is not loaded in its controller.
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "topologies" in report.nodeid]
    if skipped:
        terminalreporter.section("NOT RUN: topologies", sep="!", red=True, bold=True)
        terminalreporter.write_line("Redis over TLS, behind sentinels and as a cluster was not tried:")
        for reason in sorted({str(report.longrepr[2]) for report in skipped}):
            terminalreporter.write_line(f"- {len(skipped)} tests, {reason.removeprefix('Skipped: ')}")
        terminalreporter.write_line("Put redis-server (7.0 or later, with TLS) and openssl on PATH, and run again.")
    for name, (untried, what_to_do) in _NOT_EVERYWHERE.items():
        if reasons := config.stash[_NOT_RUN][name]:
            terminalreporter.section(f"NOT RUN: {name}", sep="!", red=True, bold=True)
            terminalreporter.write_line(untried)
            for reason in sorted(reasons):
                terminalreporter.write_line(f"- {reason}")
            terminalreporter.write_line(what_to_do)


def pytest_unconfigure(config: pytest.Config) -> None:
    build = config.stash[_GO_BUILD]
    if build is not None and build.poll() is None:
        os.killpg(build.pid, signal.SIGKILL)  # the compiler, too
        build.wait()


@pytest.fixture(scope="session")
def go_tool(pytestconfig: pytest.Config) -> Callable[..., str]:
    """Path of a Go tool by name. Skips the test, and says so loudly at the end, where it cannot be had."""

    def path(name: str, untried: str = "interop") -> str:
        try:
            return go_tools.tool(name)
        except go_tools.NoTool as trouble:
            pytestconfig.stash[_NOT_RUN][untried].add(str(trouble))
            pytest.skip(f"{trouble}; see NOT RUN below")

    return path


@pytest.fixture(scope="session")
def compilers(pytestconfig: pytest.Config) -> Callable[..., None]:
    """`compilers("Go", "go")` skips the test, and says so loudly at the end, where one of the programs is missing."""

    def need(language: str, *programs: str) -> None:
        if missing := [program for program in programs if shutil.which(program) is None]:
            trouble = f"{language}: {' and '.join(missing)} not on PATH"
            pytestconfig.stash[_NOT_RUN]["languages"].add(trouble)
            pytest.skip(f"{trouble}; see NOT RUN below")

    return need


@pytest.fixture(scope="session")
def not_run(pytestconfig: pytest.Config) -> Callable[[str, str], NoReturn]:
    """`not_run("languages", why)` skips the test, and says so loudly at the end."""

    def skip(untried: str, why: str) -> NoReturn:
        pytestconfig.stash[_NOT_RUN][untried].add(why)
        pytest.skip(f"{why}; see NOT RUN below")

    return skip


@pytest.fixture(scope="session")
def promtool(not_run: Callable[[str, str], NoReturn]) -> str:
    """Path of promtool. Skips the test, and says so loudly at the end, where it is not on PATH."""
    return shutil.which("promtool") or not_run("promtool", "promtool is not on PATH")


@pytest.fixture(scope="session")
def npm_packages(pytestconfig: pytest.Config) -> Path:
    """Agenda, Bull, BullMQ and more. Skips the test, and says so loudly at the end, where they cannot be had."""
    try:
        return node_tools.node_modules()
    except node_tools.NoNode as trouble:
        pytestconfig.stash[_NOT_RUN]["npm"].add(str(trouble))
        pytest.skip(f"{trouble}; see NOT RUN below")


@pytest.fixture(scope="session")
def without_peer(pytestconfig: pytest.Config) -> Callable[[Exception], NoReturn]:
    """Skips the test of a queue that cannot be had here, and says so loudly at the end."""

    def skip(trouble: Exception) -> NoReturn:
        pytestconfig.stash[_NOT_RUN]["peers"].add(str(trouble))
        pytest.skip(f"{trouble}; see NOT RUN below")

    return skip


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisBackend]:
    """One Redis for all tests that keep to a queue of their own."""
    with RedisBackend(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisBackend]:
    """An empty Redis of this test's own."""
    with RedisBackend(tmp_path / "redis") as part:
        yield part


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """One server that speaks MongoDB's wire protocol, for all tests that keep to a database of their own."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    yield server
    server.stop()


@pytest.fixture
def mongo_database(mongo_server: MongoServer) -> Iterator[MongoBackend]:
    """An empty database of this test's own."""
    with MongoBackend(mongo_server, f"test_{next(_serial)}") as part:
        yield part


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> StoreBackend:
    """An empty store of this test's own, of each provider in turn."""
    part: StoreBackend = request.getfixturevalue({"redis": "redis", "mongo": "mongo_database"}[request.param])
    return part


StartServer = Callable[..., Server]


def _starter(folder: Path, servers: list[Server]) -> StartServer:
    def start(store_url: str, *flags: str, handlers: str | None = None, **env: str) -> Server:
        chosen = [*flags, *(("--handlers", handlers) if handlers else ())]
        server = Server(folder, chosen, {**store_settings(store_url), **env})
        servers.append(server)
        return server.start()

    return start


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[StartServer]:
    """`serve(store_url, *flags, handlers=module, **env)` starts a server; all are killed at the test's end."""
    servers: list[Server] = []
    yield _starter(tmp_path, servers)
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def shared_server_on_redis(shared_redis: RedisBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """See shared_server."""
    yield from _shared(shared_redis.url, tmp_path_factory)


@pytest.fixture(scope="session")
def shared_server_on_mongo(mongo_server: MongoServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """See shared_server."""
    with MongoBackend(mongo_server, "shared") as database:
        yield from _shared(database.url, tmp_path_factory)


def _shared(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    servers: list[Server] = []
    start = _starter(tmp_path_factory.mktemp("server"), servers)
    yield start(store_url, handlers="support.jobs.everyday", TOCSIN_DRAIN__GRACE="0s")
    assert [server.stop() for server in servers] == [0]


@pytest.fixture(scope="session")
def shared_server(request: pytest.FixtureRequest) -> Server:
    """A running server with the handlers of support.jobs.everyday, for tests that keep to a queue of their own.

    On Redis, or, for tests that are marked with support.stores.on_each_store, on each store in turn.
    """
    server = request.getfixturevalue(f"shared_server_on_{getattr(request, 'param', 'redis')}")
    assert isinstance(server, Server)
    return server


@pytest.fixture(scope="session")
def quiet_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisBackend]:
    """The Redis of `quiet_server`: nothing changes in it but by calls."""
    with RedisBackend(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture(scope="session")
def quiet_server(quiet_redis: RedisBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
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
