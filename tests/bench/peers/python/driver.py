"""The side of a program in Python: answers the questions of ../protocol.py. A peer's file has a class of Peer."""

from __future__ import annotations

import asyncio
import json
import platform
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import uvloop

_HOUR = 3_600_000
_LISTED = 2_000  # times that one answer holds

Step = Callable[[], Awaitable[Any]]


def now() -> float:
    """Unix time in milliseconds."""
    return time.time_ns() / 1e6


@dataclass(frozen=True, slots=True)
class Item:
    """A job to be added. `due`: Unix time in milliseconds, None: at once."""

    data: dict[str, Any]
    due: float | None = None

    @property
    def delay(self) -> float:
        """Seconds until it is due."""
        return 0.0 if self.due is None else max(0.0, self.due - now()) / 1000


class Peer(ABC):
    """A job queue as the driver knows it. With `threads` its methods are plain functions, called in so many threads."""

    packages: Sequence[str]  # whose versions are told
    settings: str
    cannot: Mapping[str, str] = {}  # reasons, by question
    threads: int | None = None
    rate: bool = False  # how many jobs a second are run is all that counts; set before `work`

    @abstractmethod
    async def open(self, url: str) -> None:
        """Connect."""

    @abstractmethod
    def add(self, item: Item) -> Any:
        """Add one job; what `cancel` needs."""

    def build(self, items: Sequence[Item]) -> Any:
        """What `bulk` takes, if that can be made before."""
        return items

    def bulk(self, built: Any) -> Any:
        """Add many by one call."""
        raise NotImplementedError

    def cancel(self, handle: Any) -> Any:
        """Remove a job that is due later; raises if it was not there."""
        raise NotImplementedError

    @abstractmethod
    async def count(self) -> int:
        """Jobs that wait, now or for their time."""

    @abstractmethod
    async def work(self, started: Callable[..., None]) -> None:
        """Begin to run jobs, each of which calls `started` first, or has it called with the time."""


class Clock:
    """Times of starts since the last question. `started` may be called from any thread."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._wanted = sys.maxsize
        self._reached = threading.Event()

    def started(self, at: float | None = None) -> None:
        """A job has begun, now or `at` that time."""
        self._times.append(at or now())
        if len(self._times) >= self._wanted:
            self._reached.set()

    def collect(self, jobs: int, skip: int | None = None) -> dict[str, Any]:
        """When so many have started; waits for them."""
        self._reached.clear()
        self._wanted = jobs
        if len(self._times) < jobs:
            self._reached.wait()
        self._wanted = sys.maxsize
        taken = self._times[:jobs]
        del self._times[:jobs]
        return {"times": taken[:_LISTED]} if skip is None else {"from": taken[skip], "last": taken[-1]}


class Questions:
    """A method a question: it does the first step and gives back the second."""

    def __init__(self, peer: Peer, data: Mapping[str, Any]) -> None:
        self._peer, self._data, self._clock = peer, data, Clock()

    async def single(self, jobs: int, callers: int, warm: int) -> Step:
        await self._each(callers, self._items(warm), self._peer.add)
        items = self._items(jobs)
        return lambda: self._each(callers, items, self._peer.add)

    async def bulk(self, jobs: int, batch: int, in_flight: int, warm: int) -> Step:
        await self._each(in_flight, self._batches(warm, batch), self._peer.bulk)
        batches = self._batches(jobs, batch)
        return lambda: self._each(in_flight, batches, self._peer.bulk)

    async def fill(self, jobs: int, due: float | None) -> Step:
        if "bulk" in self._peer.cannot:
            return lambda: self._each(100, self._items(jobs, due), self._peer.add)
        return lambda: self._each(4, self._batches(jobs, 1000, due), self._peer.bulk)

    async def one(self) -> Step:
        [item] = self._items(1)

        async def step() -> dict[str, float]:
            asked = now()
            adding = self._peer.add(item)
            if self._peer.threads is None:
                await adding
            return {"asked": asked}

        return step

    async def cancel(self, jobs: int, callers: int) -> Step:
        handles: list[Any] = []

        async def add(item: Item) -> None:
            handles.append(await self._peer.add(item))

        def add_blocking(item: Item) -> None:
            handles.append(self._peer.add(item))

        await self._each(100, self._items(jobs, now() + _HOUR), add_blocking if self._peer.threads else add)
        return lambda: self._each(callers, handles, self._peer.cancel)

    async def count(self) -> Step:
        async def step() -> dict[str, int]:
            return {"count": await self._peer.count()}

        return step

    async def work(self, rate: bool) -> Step:
        self._peer.rate = rate
        return lambda: self._peer.work(self._clock.started)

    async def collect(self, jobs: int, skip: int | None = None) -> Step:
        return lambda: asyncio.to_thread(self._clock.collect, jobs, skip)

    def _items(self, count: int, due: float | None = None) -> list[Item]:
        return [Item(dict(self._data), due) for _ in range(count)]

    def _batches(self, count: int, size: int, due: float | None = None) -> list[Any]:
        items = self._items(count, due)
        return [self._peer.build(items[start : start + size]) for start in range(0, count, size)]

    async def _each(self, in_flight: int, items: Sequence[Any], call: Callable[[Any], Any]) -> None:
        """Call it for each, so many at a time."""
        waiting = iter(items)
        if self._peer.threads:
            threads = min(in_flight, self._peer.threads)

            def fly_blocking(_: int) -> None:
                for item in waiting:  # a list's iterator may be shared by threads
                    call(item)

            with ThreadPoolExecutor(threads) as pool:
                await asyncio.to_thread(list, pool.map(fly_blocking, range(threads)))
            return

        async def fly() -> None:
            for item in waiting:
                await call(item)

        await asyncio.gather(*(fly() for _ in range(in_flight)))


async def _answers(peer: Peer, kind: type[Questions]) -> None:
    said = sys.stdout  # before a library puts something else there
    lines = asyncio.StreamReader()  # no thread waits in a read: a process that a library forks would wait for it
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    questions: Questions | None = None
    step: Step | None = None
    while line := await lines.readline():
        asked = json.loads(line)
        try:
            if "open" in asked:
                questions = kind(peer, asked["open"]["data"])
                await peer.open(asked["open"]["url"])
                versions = {name: metadata.version(name) for name in peer.packages}
                versions["python"] = platform.python_version()
                answer = {"ready": {"versions": versions, "settings": peer.settings, "cannot": dict(peer.cannot)}}
            elif "do" in asked:
                do = asked.pop("do")
                if why := peer.cannot.get(do):
                    answer = {"cannot": why}
                else:
                    step = await getattr(questions, do)(**asked)
                    answer = {"prepared": {}}
            else:
                assert step is not None
                answer = {"done": await step() or {}}
        except Exception:
            answer = {"error": traceback.format_exc()[-1500:]}
        said.write(json.dumps(answer) + "\n")
        said.flush()


def run(peer: Peer, questions: type[Questions] = Questions) -> None:
    """Answer until standard input ends."""
    uvloop.run(_answers(peer, questions))
