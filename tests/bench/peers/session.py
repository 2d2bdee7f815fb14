"""A system at work on an empty Redis: a process that adds jobs, and one that runs them."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.ports import free_port
from support.redis_backend import RedisBackend

from bench.bed import DATA, QUEUE
from bench.figures import Span
from bench.peers import catalogue, having
from bench.peers.protocol import Driver

#: The same for all, and nothing is written to disk.
REDIS_OPTIONS = ("--save", "", "--appendonly", "no")

_HANDLERS = "bench.peers.tocsin_handlers"
_SLOTS = "200"


class Session:
    """What a measure has. Jobs wait until `begin`, which is said to `runner`: the program that can let them run."""

    def __init__(
        self,
        redis: RedisBackend,
        empty: int,
        client: Driver,
        worker: Driver,
        runner: Driver,
        server: Driver | None = None,
    ) -> None:
        self.empty = empty  # bytes in use before anybody came
        self.redis, self.client, self.worker, self._runner = redis, client, worker, runner
        self._processes = [one for one in (client, worker, server) if one is not None]

    def begin(self, *, rate: bool = False) -> None:
        """Let the worker run jobs. `rate`: nothing but the rate counts."""
        self._runner.ask("work", rate=rate)

    def span(self, jobs: int) -> Span:
        """Times so many jobs, with the processor time of the system's own processes, all of them, and of Redis."""
        return Span(jobs, lambda: sum(one.seconds() for one in self._processes), self._redis_seconds)

    def memory(self) -> int:
        """Bytes in use in Redis. It cuts the system's connections: what they take comes and goes."""
        self.redis.client.client_kill_filter(_type="normal", skipme=True)
        return _memory(self.redis)

    def count(self) -> int:
        """Jobs that wait, as the system counts them."""
        return int(self.client.ask("count")["count"])

    def _redis_seconds(self) -> float:
        cpu = self.redis.client.info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


def _memory(redis: RedisBackend) -> int:
    """Without what scripts take and the statistics of commands, whatever there is to store."""
    redis.client.config_resetstat()
    found = redis.client.info("memory")
    return int(found["used_memory"]) - int(found.get("used_memory_scripts_eval", 0))


class System(ABC):
    """Tocsin, or a peer."""

    name: str
    about: Mapping[str, Any]  # what its driver said of itself, once a session has been
    only_works = False  # it differs from another only in who runs the jobs

    @abstractmethod
    def session(self, folder: Path, *, working: bool) -> AbstractContextManager[Session]:
        """At work on an empty Redis. `working`: jobs will be run in it."""


class PeerSystem(System):
    """A peer: client and worker are two processes of the same program. NotHad: it cannot be had."""

    def __init__(self, peer: catalogue.Peer, folder: Path) -> None:
        self.name = peer.name
        self._command = peer.command(folder / f"{self.name}-program")
        self.about = {}

    @contextmanager
    def session(self, folder: Path, *, working: bool) -> Iterator[Session]:
        folder.mkdir(parents=True)
        with ExitStack() as stack:
            redis = stack.enter_context(RedisBackend(folder / "redis", *REDIS_OPTIONS))
            empty = _memory(redis)
            client, worker = (stack.enter_context(self._driver(folder, role)) for role in ("client", "worker"))
            self.about = client.open(url=redis.url, data=DATA)
            worker.open(url=redis.url, data=DATA)
            yield Session(redis, empty, client, worker, worker)

    def _driver(self, folder: Path, role: str) -> Driver:
        return Driver(f"{self.name}, {role}", self._command, folder=folder, env=catalogue.environment())


class TocsinSystem(System):
    """Tocsin: a client, and a server that runs the jobs."""

    name = "Tocsin"

    def __init__(self) -> None:
        self.about = {}

    @contextmanager
    def session(self, folder: Path, *, working: bool) -> Iterator[Session]:
        folder.mkdir(parents=True)
        address = f"127.0.0.1:{free_port()}"
        flags = ["--handlers", _HANDLERS] if working else ["--no-dispatch"]
        with self._served(folder, address, *flags) as (redis, empty, server), self._client(folder) as client:
            self.about = client.open(url=address, data=DATA)
            if working:
                client.ask("hold")
            yield Session(redis, empty, client, server, client)

    @contextmanager
    def _served(self, folder: Path, address: str, *flags: str) -> Iterator[tuple[RedisBackend, int, Driver]]:
        """A server on an empty Redis, and the bytes that were in use there before it came."""
        with RedisBackend(folder / "redis", *REDIS_OPTIONS) as redis:
            empty = _memory(redis)
            env = {"REDIS_URL": redis.url, "TOCSIN_CONCURRENCY": _SLOTS, "TOCSIN_LOG__LEVEL": "warning"}
            with self._driver("command", "serve", "--listen", address, *flags, folder=folder, **env) as server:
                yield redis, empty, server

    def _client(self, folder: Path) -> Driver:
        return self._driver("client", folder=folder)

    def _driver(self, program: str, *arguments: str, folder: Path, **env: str) -> Driver:
        command = [sys.executable, "-P", "-m", f"bench.peers.tocsin_{program}", *arguments]
        role = arguments[0] if arguments else program
        return Driver(f"{self.name}, {role}", command, folder=folder, env=catalogue.environment(**env))


class TocsinWorkerSystem(TocsinSystem):
    """Tocsin, where a process of its own runs the jobs, over gRPC: `tocsin worker`."""

    name = "Tocsin, worker in Python"
    only_works = True
    _settings = f"`tocsin worker`, concurrency {_SLOTS}, over StreamJobs"

    @contextmanager
    def session(self, folder: Path, *, working: bool) -> Iterator[Session]:
        folder.mkdir(parents=True)
        address = f"127.0.0.1:{free_port()}"
        with self._served(folder, address, "--no-dispatch") as (redis, empty, server), self._client(folder) as client:
            self.about = {**client.open(url=address, data=DATA), "settings": self._settings}
            client.ask("hold")
            with self._worker(folder, address) as worker:
                yield Session(redis, empty, client, worker, client, server)

    def _worker(self, folder: Path, address: str) -> Driver:
        # As the server's log: a line at each job's begin and end would be two fifths of what is measured.
        arguments = ("worker", _HANDLERS, "--server", address, "--concurrency", _SLOTS, "--log-level", "warning")
        return self._driver("command", *arguments, folder=folder)


class TocsinGoSystem(TocsinWorkerSystem):
    """The same with the example worker in Go, with a handler of the bench's. NotHad: it cannot be built."""

    name = "Tocsin, worker in Go"
    _settings = f"the example worker of tests/interop/go, concurrency {_SLOTS}, over StreamJobs"

    def __init__(self) -> None:
        super().__init__()
        self._program = having.tocsin_go_worker()

    def _worker(self, folder: Path, address: str) -> Driver:
        env = catalogue.environment(TOCSIN_SERVER=address, TOCSIN_QUEUE=QUEUE, TOCSIN_CONCURRENCY=_SLOTS)
        return Driver(f"{self.name}, worker", [str(self._program)], folder=folder, env=env)
