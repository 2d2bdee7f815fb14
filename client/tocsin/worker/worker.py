"""Worker: runs jobs in this process that servers elsewhere keep."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from types import FrameType

from tocsin import _forking
from tocsin._access import TlsChoice, chosen_tls, chosen_token
from tocsin._channel import token_metadata
from tocsin._times import Span, span
from tocsin.errors import InvalidArgument, UnusableClient, WrongType
from tocsin.v1 import worker_service_pb2 as pb
from tocsin.worker import forks
from tocsin.worker.addresses import Addresses, addresses_of
from tocsin.worker.grpc_source import GrpcSource
from tocsin.worker.job_stream import Route
from tocsin.worker.registry import Handlers
from tocsin.worker.runtime import Runtime
from tocsin.worker.slots import Slots
from tocsin.worker.worker_thread import WorkerThread

logger = logging.getLogger("tocsin.worker")

#: CONTRACT: credits that may be unused at once, types of one ask, asks of one worker.
MOST_SLOTS, MOST_TYPES, MOST_QUEUES = 10_000, 100, 100

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_QUEUE = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_VERSION = re.compile(r"[A-Za-z0-9._+-]{0,63}\Z")
_NAME_CHARACTERS = 200


class Worker:
    """Takes due jobs from a server and runs their handlers here, until it is stopped.

        Worker("localhost:50051", handlers).run()

    address: "host:port", several with commas between them, or a list: servers of one store. It works for one of them,
    and goes to another when that one shuts down or is lost; what runs goes on meanwhile. None: TOCSIN_ADDRESS, else
    localhost:50051.
    handlers: as `tocsin serve` takes them. concurrency: attempts at once, over all types; a handler may have a lower
    limit. queues: which to take jobs of; None: all.
    name: how it is called among the workers; None: host, process id and some letters by chance. Two running workers
    must not share one. version: of your code, "2.11.0"; a type can be held to a lowest one. labels: to tell it by.
    lease: how long a job stays this worker's if nothing is heard of it, 5 s to 1 h. grace: how long what runs may take
    to end once the worker is stopped; then it is given back, and counts neither as a failure nor as an attempt.
    stop_grace: how long an attempt may take to stop after a timeout, a lost lease or that grace; then it is killed, if
    it runs in a process of its own, else abandoned.
    tls, token: as a Client takes them, from the environment too.

    Handlers run apart from what talks to the server: one that blocks its event loop loses no lease.

    Raises InvalidArgument and WrongType for what cannot be meant.
    """

    def __init__(
        self,
        address: str | Sequence[str] | None,
        handlers: Handlers,
        *,
        concurrency: int = 20,
        queues: Sequence[str] | None = None,
        name: str | None = None,
        version: str = "",
        labels: Mapping[str, str] | None = None,
        lease: Span = 30,
        grace: Span = 25,
        stop_grace: Span = 2,
        tls: TlsChoice = None,
        token: str | None = None,
    ) -> None:
        self._addresses = addresses_of(address)
        self._route = Route(chosen_tls(tls), chosen_token(token))
        for one in self._addresses:
            token_metadata(self._route.token, one, self._route.tls)  # it must not travel in clear to any of them
        self._handlers = _checked(handlers)
        if isinstance(concurrency, bool) or not isinstance(concurrency, int):
            raise WrongType.of("concurrency", f"is a whole number, not of type {type(concurrency).__name__}")
        if not 1 <= concurrency <= MOST_SLOTS:
            raise InvalidArgument.of("concurrency", f"is {concurrency}: give 1 to {MOST_SLOTS:,}")
        self._concurrency = concurrency
        self._queues = _checked_queues(queues)
        self.name = name if name is not None else _made_name()
        self._who = _who(self.name, version, labels or {})
        self._lease = span(lease, "lease")
        if not timedelta(seconds=5) <= self._lease <= timedelta(hours=1):
            raise InvalidArgument.of("lease", "is 5 s to 1 h")
        self._grace = span(grace, "grace")
        self._stop_grace = span(stop_grace, "stop_grace")
        self._lock = threading.Lock()
        self._thread: WorkerThread | None = None

    def __repr__(self) -> str:
        return f"Worker({self.name!r} at {', '.join(self._addresses)})"

    def run(self) -> None:
        """Work until stopped. Called in the main thread it takes SIGTERM and Ctrl-C: the first lets what runs end
        within the grace, a second ends it at once, a third does as it would anywhere.

        Returns when it has stopped. While no server is reached it tries on. Raises TocsinError where the first server
        that answers refuses this worker, and UnusableClient in a process that was forked while gRPC was in use.
        """
        thread = self._start()
        with self._signals():
            thread.ended.wait()  # signals are taken meanwhile
        thread.result.result()

    async def run_async(self) -> None:
        """The same beside other things of an event loop, which may be blocked without harm. It takes no signals:
        cancelled, it stops as `stop` does, and a second cancel hurries it."""
        result = asyncio.wrap_future(self._start().result)
        try:
            await asyncio.shield(result)
        except asyncio.CancelledError:
            self.stop()
            try:
                await asyncio.shield(result)
            except asyncio.CancelledError:
                self.stop(0)
                await result
            raise

    def stop(self, grace: Span | None = None) -> None:
        """Take no more jobs, let what runs end within the grace, give back the rest; then `run` returns. From any
        thread. Called again, it may shorten the grace."""
        thread = self._thread
        if thread is not None:
            thread.stop(self._grace if grace is None else span(grace, "grace"))

    def _start(self) -> WorkerThread:
        with self._lock:
            if self._thread is not None and not self._thread.ended.is_set():
                raise UnusableClient("this worker runs already")
            _forking.check()
            self._thread = WorkerThread(self._work)
            return self._thread

    async def _work(self, stops: asyncio.Queue[timedelta]) -> None:
        """On the loop of the worker's thread."""
        slots = Slots(self._concurrency, self._handlers.concurrencies())
        narrow = [kind for kind, limit in self._handlers.concurrencies().items() if limit and limit < slots.total]
        source = GrpcSource(
            Addresses(self._addresses), self._route, self._who, queues=self._queues, narrow=narrow, lease=self._lease
        )
        slots.freed = source.freed
        runtime = Runtime(source, self._handlers, slots=slots, stop_grace=self._stop_grace)
        logger.info(
            "worker %s runs %s of %s, %d at once, for %s",
            self.name,
            ", ".join(sorted(self._handlers)),
            f"queues {', '.join(self._queues)}" if self._queues else "all queues",
            slots.total,
            ", ".join(self._addresses),
        )
        connected = asyncio.create_task(source.run())
        running = asyncio.create_task(runtime.run())
        stopping = asyncio.create_task(_stop(stops, runtime))
        try:
            await asyncio.wait({connected, running}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():  # refused
                await runtime.drain(timedelta(0))
            await running
            await source.close()
            await connected
        finally:
            stopping.cancel()
            connected.cancel()
            await asyncio.wait({stopping, connected})

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Take SIGTERM and Ctrl-C. Processes that handlers fork do not."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        asked = 0

        def take(number: int, frame: FrameType | None) -> None:
            nonlocal asked
            asked += 1
            logger.info("%s: %s", signal.Signals(number).name, "stopping" if asked == 1 else "stopping at once")
            self.stop(self._grace if asked == 1 else 0)
            if asked > 1:
                for one in _SIGNALS:
                    signal.signal(one, signal.SIG_DFL)

        before = {number: signal.signal(number, take) for number in _SIGNALS}
        forks.keep_signals(*_SIGNALS)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def _stop(stops: asyncio.Queue[timedelta], runtime: Runtime) -> None:
    draining: list[asyncio.Task[None]] = []
    try:
        while True:
            grace = await stops.get()
            draining.append(asyncio.create_task(_drain(runtime, grace, first=not draining)))
    finally:
        if draining:
            await asyncio.wait(draining)


async def _drain(runtime: Runtime, grace: timedelta, *, first: bool) -> None:
    drained = await runtime.drain(grace)
    if first:
        logger.info(
            "stopped: %d ended, %d given back, %d of those do not stop, %d outcomes could not be told",
            drained.ended,
            drained.released,
            drained.abandoned,
            drained.unflushed,
        )


def _checked(handlers: object) -> Handlers:
    if not isinstance(handlers, Handlers):
        raise WrongType.of("handlers", f"is a Handlers, not of type {type(handlers).__name__}")
    if not 1 <= len(handlers) <= MOST_TYPES:
        raise InvalidArgument.of("handlers", f"has {len(handlers)} types: a worker runs 1 to {MOST_TYPES}")
    return handlers


def _checked_queues(queues: Sequence[str] | None) -> Sequence[str] | None:
    if queues is None:
        return None
    if isinstance(queues, str) or not all(isinstance(queue, str) for queue in queues):
        raise WrongType.of("queues", "is a list of names, or None for all queues")
    found = tuple(dict.fromkeys(queues))
    if not 1 <= len(found) <= MOST_QUEUES:
        raise InvalidArgument.of("queues", f"has {len(found)}: give 1 to {MOST_QUEUES}, or None for all queues")
    for queue in found:
        if not _QUEUE.match(queue):
            raise InvalidArgument.of("queues", f"{queue!r} is no queue: use 1 to 100 of A-Z a-z 0-9 . _ -")
    return found


def _who(name: str, version: str, labels: Mapping[str, str]) -> pb.Worker:
    if not 1 <= len(name) <= _NAME_CHARACTERS or not name.isprintable():
        raise InvalidArgument.of("name", f"has 1 to {_NAME_CHARACTERS} characters, none of them a control character")
    if not _VERSION.match(version):
        raise InvalidArgument.of("version", f"{version!r} is not up to 63 of A-Z a-z 0-9 . _ + -")
    try:
        return pb.Worker(name=name, version=version, language="python", labels=labels)
    except TypeError:
        raise WrongType.of("labels", "are texts by name") from None


def _made_name() -> str:
    host = "".join(letter for letter in socket.gethostname() if letter.isprintable())[:100] or "worker"
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"
