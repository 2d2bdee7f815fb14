"""Signals: the first asks the server to stop, the second to hurry, a third ends the process as it would any other.

What stops, in which order and how long it may take: `Server.stop` (server.py).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import structlog
from tocsin.worker.forks import keep_signals

from tocsin_server.server import Server

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")


class Signals:
    """SIGTERM and SIGINT of this process, from `listen` on. `asked` and `hurry` are set by the first and the second."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()

    def listen(self) -> None:
        """Begin to take signals; on the running loop, in the main thread. Processes that handlers fork do not."""
        keep_signals(*_SIGNALS)
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._take, number)

    def ignore(self) -> None:
        """Let signals do what they do by themselves."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def _take(self, number: signal.Signals) -> None:
        if not self.asked.is_set():
            _log.info("stopping", signal=signal.Signals(number).name)
            self.asked.set()
            return
        _log.warning("stopping at once", signal=signal.Signals(number).name)
        self.hurry.set()
        self.ignore()


class ServerFailed(Exception):
    """The server has stopped in order, but nobody had asked it to: it could run no more jobs."""


async def serve(server: Server, then: Callable[[Server], Awaitable[None]] | None = None) -> None:
    """Start the server, run `then` beside it, and stop it in order when a signal asks. CannotStart; ServerFailed."""
    signals = Signals()
    signals.listen()
    asked = asyncio.create_task(signals.asked.wait())
    beside: asyncio.Task[None] | None = None
    try:
        starting = asyncio.create_task(server.start())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():  # asked to stop while it waits for its store
            starting.cancel()
            await asyncio.wait({starting})
            return
        await starting
        if then is not None:
            beside = asyncio.ensure_future(_alongside(then, server))
        failed = asyncio.create_task(server.failed.wait())
        await asyncio.wait({asked, failed}, return_when=asyncio.FIRST_COMPLETED)
        failed.cancel()
        if beside is not None:
            beside.cancel()
            await asyncio.wait({beside})
        await server.stop(signals.hurry)
        _log.info("stopped")
        if server.failed.is_set():
            raise ServerFailed("no more jobs could be run, so it stopped: see its log; start it again")
    finally:
        asked.cancel()
        signals.ignore()


async def _alongside(then: Callable[[Server], Awaitable[None]], server: Server) -> None:
    try:
        await then(server)
    except Exception:
        _log.exception("what should go on beside the server failed; the server goes on")
