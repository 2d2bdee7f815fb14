"""The workers' streams of this server: opened, drained, and ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from tocsin_server.domain.errors import Draining, InvalidFields, Violation
from tocsin_server.operations.working.conversation import Heard, Sending
from tocsin_server.operations.working.stream import StreamParts, WorkerStream


class Streaming:
    """All streams. opened, closed: called with each as it begins and when it is over."""

    def __init__(
        self,
        parts: StreamParts,
        *,
        opened: Callable[[WorkerStream], None] = lambda stream: None,
        closed: Callable[[WorkerStream], None] = lambda stream: None,
    ) -> None:
        self._parts = parts
        self._opened, self._closed = opened, closed
        self._open: set[WorkerStream] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._draining = False

    @asynccontextmanager
    async def stream(self, heard: AsyncIterator[Heard]) -> AsyncIterator[AsyncIterator[Sending]]:
        """What to send on a stream on which this is heard, until it ends. InvalidFields; Draining."""
        if self._draining:
            raise Draining
        first = await anext(heard, Heard())
        if first.hello is None:
            raise InvalidFields([Violation("hello", "is needed, in the first message")])
        if self._draining:
            raise Draining
        stream = WorkerStream(self._parts, first.hello)
        self._open.add(stream)
        self._none_open.clear()
        reader: asyncio.Task[None] | None = None
        try:
            stream.begin()
            self._opened(stream)
            reader = asyncio.create_task(_hear(stream, replace(first, hello=None), heard), name="worker_stream")
            async with aclosing(stream.sendings()) as sendings:
                yield sendings
        finally:
            if reader is not None:
                reader.cancel()
            stream.cut()
            self._closed(stream)
            self._open.discard(stream)
            if not self._open:
                self._none_open.set()

    def widened(self) -> None:
        """Workers may be given types that they could not before."""
        for stream in list(self._open):
            stream.widened()

    def drain(self) -> None:
        """No more jobs on any stream, and no further streams; heartbeats and outcomes go on."""
        if not self._draining:
            self._draining = True
            for stream in list(self._open):
                stream.drain()

    async def end(self, within: timedelta) -> None:
        """Wait until the workers have closed their streams, and end those that are left with Draining."""
        self.drain()
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._none_open.wait()
        except TimeoutError:
            for stream in list(self._open):
                stream.end(Draining())


async def _hear(stream: WorkerStream, first: Heard, heard: AsyncIterator[Heard]) -> None:
    """Hand the stream what its worker says, to the end."""
    try:
        await stream.hear(first)
        async for message in heard:
            if message.hello is not None:
                raise InvalidFields([Violation("hello", "was said before: it begins a stream, once")])
            await stream.hear(message)
    except Exception as error:
        stream.end(error)
    else:
        stream.end()
