"""Hears of writes as they are logged, its own and other servers': for dispatchers (wakes) and for waiting readers.

Where the server has change streams (a replica set), one stream over the log; elsewhere each queue's number is looked
at, often while something happens and seldom while nothing does. Best effort: who missed a message finds out by looking.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import structlog
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from tocsin_server.domain.errors import TocsinError
from tocsin_server.store.interface import Wake
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.errors import STREAM_LOST
from tocsin_server.store.mongo.queues import QueueDocuments

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(milliseconds=50), timedelta(seconds=2)
_FASTEST_LOOK, _SLOWEST_LOOK = timedelta(milliseconds=20), timedelta(milliseconds=500)
_AWAIT = timedelta(seconds=5)  # of one question of a stream
_ON_THE_WAY = timedelta(seconds=1)  # which its answer may be

#: What a look has told of the number of queues is good for so long.
_LATELY = 2 * _SLOWEST_LOOK
#: And so long where a stream would tell of a new queue; of one that was deleted it does not.
_STREAMED = timedelta(seconds=5)

#: Events read again of a queue whose numbers went back: those that were written since, or most of them. A tick makes up
#: for the rest.
_LOOK_BACK = 100


Ahead = Callable[[], Awaitable[timedelta]]


class LogListener:
    """One listener on the server for everybody in this process; begins with the first who wants to hear."""

    def __init__(
        self, connection: MongoConnection, collection: str, queues: QueueDocuments, *, ahead: Ahead | None = None
    ) -> None:
        """`ahead`: reads how far a clock that is moved by hand is ahead; None: the clock is the server's."""
        self._connection = connection
        self._events: AsyncCollection[Document] = connection.database.get_collection(
            f"{collection}.events",
            read_concern=ReadConcern("majority"),  # the only one that change streams take
        )
        self._numbers_of = queues
        self._listeners: set[asyncio.Queue[Wake | None]] = set()
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._ahead = ahead
        self._clock_watch: asyncio.Task[None] | None = None
        self._closed = False
        self._looked, self._queues = -math.inf, 0  # time.monotonic() of the last look, and how many queues it found
        self._streaming = False
        self.change_streams = False  # set when the store is opened

    async def close(self) -> None:
        """End all listening."""
        self._closed = True
        # Again and again: on Python 3.11 a time-out inside the driver can swallow a cancel.
        for task in (self._task, self._clock_watch):
            while task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.05)
        for listener in self._listeners:
            listener.put_nowait(None)
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.set()

    async def wakes(self) -> AsyncIterator[Wake]:
        """Messages as they come, until `close`."""
        heard: asyncio.Queue[Wake | None] = asyncio.Queue()
        self._listeners.add(heard)
        try:
            self._begin()
            while not self._closed and (wake := await heard.get()) is not None:
                yield wake
        finally:
            self._listeners.discard(heard)

    @contextlib.contextmanager
    def listening(self, queue: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the queue's log has grown."""
        waiter = asyncio.Event()
        self._waiters.setdefault(queue, set()).add(waiter)
        try:
            yield waiter
        finally:
            waiters = self._waiters[queue]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[queue]

    async def wait(self, heard: asyncio.Event, seconds: float) -> None:
        """Wait for such an event, for so long at most."""
        self._begin()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await heard.wait()

    def signal(self, queue: str) -> None:
        """The queue's log has grown."""
        for waiter in self._waiters.get(queue, ()):
            waiter.set()

    def count(self) -> int | None:
        """How many queues there are, where that was seen lately and nothing has been heard of a new one since: then
        nobody need ask. None: ask."""
        lately = _STREAMED if self._streaming else _LATELY
        return self._queues if time.monotonic() - self._looked < lately.total_seconds() else None

    def counted(self, queues: int | None) -> None:
        """Somebody has counted the queues; None: one was made or deleted since."""
        if queues is None:
            self._looked = -math.inf
        elif self._streaming:
            self._looked, self._queues = time.monotonic(), queues

    def _begin(self) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._hear())
            if self._ahead is not None:
                self._clock_watch = asyncio.create_task(self._watch_clock(self._ahead))

    async def _watch_clock(self, ahead: Ahead) -> None:
        """Look again and again, as nothing is logged when a clock is moved by hand: such stores are for tests."""
        known: timedelta | None = None
        while not self._closed:
            with contextlib.suppress(PyMongoError, TocsinError):
                before, known = known, await ahead()
                if before is not None and known != before:
                    self._tell(Wake("", None, moved=True))
            await asyncio.sleep(_FASTEST_LOOK.total_seconds())

    async def _hear(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed:
            try:
                async for written in self._stream() if self.change_streams else self._look():
                    pause = _FIRST_PAUSE
                    self._told(written)
            except (PyMongoError, TocsinError) as error:
                if isinstance(error, OperationFailure) and error.code not in STREAM_LOST:
                    # Not a connection that broke: it will fail again, and nobody would know.
                    _log.warning("mongo_tail_failed", error=str(error)[:300])
                await asyncio.sleep(pause.total_seconds())
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _stream(self) -> AsyncIterator[Document]:
        pipeline: list[Document] = [
            {"$match": {"operationType": "insert"}},
            {"$project": {"fullDocument.queue": 1, "fullDocument.wake": 1}},
        ]
        # A question that waits longer than an answer may take would end the connection, again and again.
        within = self._connection.answer_within
        longest = min(_AWAIT, max(within / 2, within - _ON_THE_WAY))
        async with await self._events.watch(pipeline, max_await_time_ms=int(longest.total_seconds() * 1000)) as stream:
            self._tell(Wake("", None, missed=True))
            self._streaming = True
            try:
                async for change in stream:
                    yield change["fullDocument"]
            finally:
                self._streaming = False
                self.counted(None)

    async def _look(self) -> AsyncIterator[Document]:
        """Look again and again, on a server without change streams."""
        numbers, pause = await self._numbers(), _FASTEST_LOOK
        seen = dict(numbers)
        self._tell(Wake("", None, missed=True))
        while True:
            await asyncio.sleep(pause.total_seconds())
            before, numbers = numbers, await self._numbers()
            # Not because something is missing: what a dead server has numbered never comes.
            pause = _FASTEST_LOOK if numbers != before else min(pause * 2, _SLOWEST_LOOK)
            seen = {queue: number for queue, number in seen.items() if queue in numbers}
            for queue, number in numbers.items():
                if number < seen.get(queue, 0):
                    # The store was put back, or it is another queue of that name: what came last is enough.
                    seen[queue] = max(0, number - _LOOK_BACK)
                if number == seen.get(queue, 0):
                    continue
                for document in await self._written(queue, seen.get(queue, 0)):
                    # What was numbered and is not written yet is looked for the next time.
                    seen[queue] = max(seen.get(queue, 0), int(document["last"]))
                    yield document

    async def _numbers(self) -> dict[str, int]:
        asked = time.monotonic()
        numbers = await self._numbers_of.numbers()
        self._looked, self._queues = asked, len(numbers)
        return numbers

    async def _written(self, queue: str, after: int) -> list[Document]:
        return await self._connection.run(
            lambda: (
                self._events.find({"queue": queue, "last": {"$gt": after}}, {"queue": 1, "wake": 1, "last": 1})
                .sort("last", 1)
                .limit(1_000)
                .to_list()
            ),
            read_only=True,
        )

    def _told(self, document: Mapping[str, Any]) -> None:
        queue, wake = document["queue"], document["wake"]
        self.signal(queue)
        messages = []
        if wake["claimable"]:
            messages.append(Wake(queue, None))
        if wake["due"] is not None:
            messages.append(Wake(queue, wake["due"]))
        if wake["cancels"]:
            messages.append(Wake(queue, None, cancels=True))
        if wake["settings"]:  # or the queue is new
            self.counted(None)
            messages.append(Wake(queue, None, settings=True))
        if "errands" in wake:
            messages.append(Wake(queue, None, errands=True))
        for message in messages:
            self._tell(message)

    def _tell(self, message: Wake) -> None:
        for listener in self._listeners:
            listener.put_nowait(message)
