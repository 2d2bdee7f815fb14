"""A TCP door before the relay: the worker's connections can be cut, kept out, or made to stand still."""

from __future__ import annotations

import asyncio
import contextlib

_CHUNK = 1 << 16


class Door:
    """Listens on a free loopback port and passes bytes to `target`. Of one event loop."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._shut = False
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more; what is connected is cut."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def links(self) -> int:
        """Connections that stand."""
        return len(self._tasks)

    def cut(self) -> None:
        """End what is connected, as a failing network does: with a reset, without a word."""
        for writer in list(self._links):
            writer.transport.abort()

    def shut(self) -> None:
        """Cut, and let nobody in until `unshut`."""
        self._shut = True
        self.cut()

    def unshut(self) -> None:
        """Let connections in again."""
        self._shut = False

    def hold(self) -> None:
        """What the server sends stands still until `flow`; what the worker sends goes through."""
        self._flows.clear()

    def flow(self) -> None:
        """What stood still goes on."""
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._shut:
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._pass(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._links |= {writer, far_writer}
        pumps = [
            asyncio.ensure_future(self._pump(reader, far_writer, held=False)),
            asyncio.ensure_future(self._pump(far_reader, writer, held=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, far_writer):
                end.transport.abort()
                self._links.discard(end)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, held: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                if held:
                    await self._flows.wait()
                sink.write(data)
                await sink.drain()
