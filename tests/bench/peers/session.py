"""A system at work on an empty Redis: a process that adds jobs, and one that runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.redis_parts import RedisPart

from bench.bed import DATA
from bench.figures import Span
from bench.peers import catalogue
from bench.peers.protocol import Driver

#: The same for all, and nothing is written to disk.
REDIS_OPTIONS = ("--save", "", "--appendonly", "no")


class Session:
    """What a measure has. `begin` lets the worker run jobs; until then they wait."""

    def __init__(
        self,
        redis: RedisPart,
        client: Driver,
        worker: Driver,
        begin: Callable[[], Any],
        *,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self.redis, self.client, self.worker, self.begin = redis, client, worker, begin
        self._seconds = seconds or worker.seconds

    def span(self, jobs: int) -> Span:
        """Times so many jobs, with the processor time of all the system's own processes and of Redis."""
        return Span(jobs, lambda: self.client.seconds() + self._seconds(), self._redis_seconds)

    def memory(self) -> int:
        """Bytes in use in Redis."""
        return int(self.redis.client.info("memory")["used_memory"])

    def count(self) -> int:
        """Jobs that wait, as the system counts them."""
        return int(self.client.ask("count")["count"])

    def _redis_seconds(self) -> float:
        cpu = self.redis.client.info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


class System(ABC):
    """Tocsin, or a peer."""

    name: str
    about: Mapping[str, Any]  # what its driver said of itself, once a session has been

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
            redis = stack.enter_context(RedisPart(folder / "redis", *REDIS_OPTIONS))
            client, worker = (stack.enter_context(self._driver(folder, role)) for role in ("client", "worker"))
            self.about = client.open(url=redis.url, data=DATA)
            worker.open(url=redis.url, data=DATA)
            yield Session(redis, client, worker, lambda: worker.ask("work"))

    def _driver(self, folder: Path, role: str) -> Driver:
        return Driver(f"{self.name}, {role}", self._command, folder=folder, env=catalogue.environment())
