"""A TCP proxy that loses what a test wants lost: one reply, all of a kind, everything, or the connection."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from enum import Enum

_CHUNK = 1 << 16


class Mode(Enum):
    """What happens to bytes. CUT and REFUSE end the connections that stand."""

    PASS = "pass"
    BLACK_HOLE = "black hole"  # read and dropped, both ways; connections stay open
    REFUSE = "refuse"  # new connections are closed at once


class Fate(Enum):
    """What becomes of a request that was ordered to fail."""

    REPLY_LOST = "the target acts on it; its reply is lost, and then the connection"
    CUT_BEFORE = "the connection ends before the target hears of it"
    HELD = "the target never hears of it; the connection stays open, and silent"
    REWRITTEN = "the target hears of another request in its place, and its reply is another one, too"


class Rewriting:
    """What becomes of a request with Fate.REWRITTEN. Both are called in threads of their own."""

    def request(self, piece: bytes) -> bytes:
        """What the target hears instead."""
        raise NotImplementedError

    def reply(self) -> bytes:
        """What the client hears once the target has replied."""
        raise NotImplementedError


class Order:
    """An order to let a request fail: the next that `wanted` picks, after `skip` of them; with HELD, all of those.

    wanted: bytes that the request contains, or a question asked of each piece as it was sent.
    """

    def __init__(
        self, wanted: bytes | Callable[[bytes], bool], fate: Fate, skip: int, rewriting: Rewriting | None
    ) -> None:
        self.rewriting = rewriting
        self.needle = wanted if isinstance(wanted, bytes) else b""
        self.fate = fate
        self.done = threading.Event()  # it has failed: the reply is gone, or the request
        self._wanted, self._skip, self._taken = wanted, skip, False

    def takes(self, piece: bytes, with_tail: bytes) -> bool:
        """Whether this request is the one. with_tail: the piece after the end of the one before."""
        if self._taken:
            return False
        if not (self._wanted in with_tail if isinstance(self._wanted, bytes) else self._wanted(piece)):
            return False
        if self._skip > 0:
            self._skip -= 1
            return False
        self._taken = self.fate is not Fate.HELD
        return True


class TcpProxy:
    """Listens on a free loopback port and passes bytes to `target`. A context manager; runs in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._mode = Mode.PASS
        self._orders: list[Order] = []
        self._drops: list[Callable[[bytes], bool]] = []
        self._links: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0
        self.accepted = 0
        self.dropped = 0

    # --- what a test asks for ---

    def __enter__(self) -> TcpProxy:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the proxy did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(10)

    def set_mode(self, mode: Mode) -> None:
        """From now on treat bytes so, on standing connections too."""
        self._mode = mode
        if mode is Mode.REFUSE:
            self.cut()

    def swallow_reply_to(self, needle: bytes, *, skip: int = 0) -> Order:
        """Pass the next request that has `needle` (after `skip` of them), lose its reply and cut that connection."""
        return self.order(needle, Fate.REPLY_LOST, skip=skip)

    def order(
        self,
        wanted: bytes | Callable[[bytes], bool],
        fate: Fate,
        *,
        skip: int = 0,
        rewriting: Rewriting | None = None,
    ) -> Order:
        """Let the request fail that `wanted` picks (after `skip` of them). `rewriting`: with Fate.REWRITTEN."""
        order = Order(wanted, fate, skip, rewriting)
        self._orders.append(order)
        return order

    def forget_orders(self) -> None:
        """What was ordered and has not come is not lost any more."""
        self._orders.clear()

    def drop_replies(self, wanted: Callable[[bytes], bool]) -> None:
        """Drop each piece that comes from the target and for which `wanted` is true. Connections stay."""
        self._drops.append(wanted)

    def cut(self) -> None:
        """End all standing connections; new ones are served."""
        done = threading.Event()

        def cut() -> None:
            for writer in list(self._links):
                writer.transport.abort()
            done.set()

        self._loop.call_soon_threadsafe(cut)
        done.wait(10)

    # --- the loop ---

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        pending = asyncio.all_tasks(self._loop)
        if pending:
            self._loop.run_until_complete(asyncio.wait(pending, timeout=5))
        self._loop.close()

    def _stop(self) -> None:
        for writer in list(self._links):
            writer.transport.abort()
        self._loop.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._mode is Mode.REFUSE:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._links |= {writer, far_writer}
        waiting: list[Order] = []  # orders whose reply is the next to come on this connection
        pumps = [
            asyncio.ensure_future(self._requests(reader, far_writer, waiting)),
            asyncio.ensure_future(self._replies(far_reader, writer, waiting)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the proxy ends, and this was its last word
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, far_writer):
                end.transport.abort()
                self._links.discard(end)

    async def _requests(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, waiting: list[Order]) -> None:
        tail = b""
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                if self._mode is Mode.BLACK_HOLE:
                    continue
                taken = [order for order in self._orders if order.takes(data, tail + data)]
                # A needle may lie across two pieces; what was seen whole is not looked at twice.
                longest = max((len(order.needle) for order in self._orders), default=1)
                tail = b"" if taken or longest <= 1 else data[-(longest - 1) :]
                for order in taken:
                    if order.rewriting is not None:
                        data = await asyncio.to_thread(order.rewriting.request, data)
                if unheard := [order for order in taken if order.fate in (Fate.CUT_BEFORE, Fate.HELD)]:
                    for order in unheard:
                        order.done.set()
                    if any(order.fate is Fate.CUT_BEFORE for order in unheard):
                        return  # the caller of both pumps cuts the connection
                    continue
                waiting.extend(taken)
                sink.write(data)
                await sink.drain()

    async def _replies(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, waiting: list[Order]) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                if waiting:
                    rewriting = waiting[0].rewriting
                    if rewriting is not None:
                        data = await asyncio.to_thread(rewriting.reply)
                    for order in waiting:
                        order.done.set()
                    if rewriting is None:
                        return  # the caller of both pumps cuts the connection
                    waiting.clear()
                if self._mode is Mode.BLACK_HOLE:
                    continue
                if any(wanted(data) for wanted in self._drops):
                    self.dropped += 1
                    continue
                sink.write(data)
                await sink.drain()
