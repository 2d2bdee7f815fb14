"""Several server processes on one address and one store: both ends, the one that keeps them and each that serves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import sys
import threading
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog
import typer

from tocsin_server.api.listening import CannotListen, shared_address
from tocsin_server.cli.running import WRONG_SETTINGS, run_server, run_to_exit_code, set_up_logs, withhold_from_children
from tocsin_server.doors import heeds_hangup
from tocsin_server.server import CannotStart, Server
from tocsin_server.settings import Loaded, Settings
from tocsin_server.shutdown import ServerFailed, Signals
from tocsin_server.store.open import StoreUnfit, made_store

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")

_BACKOFF = (0.05, 0.2, 1.0, 5.0)  # seconds before the n-th start in a row that did not last
_LASTED = 30.0  # seconds after which a start counts as one that lasted


def run_processes(command: str, loaded: Loaded) -> None:
    """Keep `processes` servers running until SIGTERM or SIGINT; exit codes as run_server's."""
    set_up_logs(loaded.settings)
    run_to_exit_code(command, ServerProcesses(command, loaded).run())


class ServerProcesses:
    """Starts server processes, starts again what dies, and stops all together.

    This process holds the address and runs an embedded store; it serves nothing itself. Should it be killed, they stop
    in order by themselves.
    """

    def __init__(self, command: str, loaded: Loaded) -> None:
        self._command = command
        self._settings = loaded.settings
        self._withheld = loaded.secret_variables
        self._running: dict[int, Process] = {}
        self._signals = Signals()

    async def run(self) -> None:
        """Until a signal, and all have ended. CannotStart; ServerFailed."""
        self._signals.listen()
        if heeds_hangup(self._settings):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._tell, signal.SIGHUP)
        try:
            async with AsyncExitStack() as stack:
                if self._settings.store.embedded:
                    await stack.enter_async_context(made_store(self._settings))
                address = stack.enter_context(shared_address(self._settings.listen))
                shared: dict[str, object] = {"listen": address}
                if self._settings.health_listen is not None:
                    shared["health_listen"] = stack.enter_context(shared_address(self._settings.health_listen))
                if self._settings.web.listen is not None:
                    page = stack.enter_context(shared_address(self._settings.web.listen))
                    shared["web"] = self._settings.web.model_copy(update={"listen": page})
                await self._keep(self._settings.model_copy(update=shared))
        except (StoreUnfit, CannotListen) as error:
            raise CannotStart(str(error)) from error
        finally:
            self._signals.ignore()

    async def _keep(self, settings: Settings) -> None:
        orders = [
            pickle.dumps((self._command, _for_process(settings, number), self._withheld))
            for number in range(settings.processes)
        ]
        relaying = asyncio.create_task(self._relay())
        keeping: set[asyncio.Task[None]] = set()
        try:
            # One first: where the settings are wrong, that is said once.
            if not await self._first(orders[0]):
                return
            keeping = {
                asyncio.create_task(self._keep_one(number, of_one), name=f"process-{number}")
                for number, of_one in enumerate(orders)
            }
            await asyncio.gather(*keeping)
        finally:
            for task in keeping:
                task.cancel()
            relaying.cancel()
            for process in self._running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    async def _first(self, orders: bytes) -> bool:
        """Start the first one. False: it was asked to stop meanwhile. ServerFailed, typer.Exit."""
        process, serves = await self._spawn(0, orders)
        if await serves.read(1):
            return True
        code = await process.wait()
        del self._running[0]
        if self._signals.asked.is_set():
            return False
        if code == WRONG_SETTINGS:  # it has said why
            raise typer.Exit(code)
        raise ServerFailed(f"the first process ended with exit code {code} before it served: see its log")

    async def _keep_one(self, number: int, orders: bytes) -> None:
        loop, short_lives = asyncio.get_running_loop(), 0
        while not self._signals.asked.is_set():
            started = loop.time()
            process = self._running.get(number)
            if process is None:
                process, _ = await self._spawn(number, orders)
            code = await process.wait()
            del self._running[number]
            if self._signals.asked.is_set():
                return
            short_lives = short_lives + 1 if loop.time() - started < _LASTED else 1
            pause = _BACKOFF[min(short_lives, len(_BACKOFF)) - 1]
            _log.warning("a server process ended, starting another", pid=process.pid, exit_code=code, seconds=pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._signals.asked.wait()

    async def _spawn(self, number: int, orders: bytes) -> tuple[Process, asyncio.StreamReader]:
        """A process, and what it writes a byte to once it serves."""
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", __spec__.name, str(writing)),
                stdin=asyncio.subprocess.PIPE,  # closed by the kernel when this process goes
                pass_fds=[writing],
                env=dict(os.environ),  # whole: what is withheld from children, these withhold themselves
                start_new_session=True,  # Ctrl-C is for this process, which tells them
            )
        finally:
            os.close(writing)
        self._running[number] = process
        assert process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(ConnectionError):  # it has ended already
            process.stdin.write(len(orders).to_bytes(4, "big") + orders)
            await process.stdin.drain()
        serves = asyncio.StreamReader()
        pipe = os.fdopen(reading, "rb", buffering=0)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(serves), pipe)
        if self._signals.asked.is_set():
            process.terminate()
        return process, serves

    async def _relay(self) -> None:
        """Tell all what signals tell this process."""
        for event in (self._signals.asked, self._signals.hurry):
            await event.wait()
            self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        for process in list(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def _for_process(settings: Settings, number: int) -> Settings:
    """The settings of the n-th process: each serves metrics of its own, on a port of its own."""
    metrics = settings.metrics
    if metrics.listen is None:
        return settings
    host, _, port = metrics.listen.rpartition(":")
    own = int(port) + number if int(port) else 0
    return settings.model_copy(update={"metrics": metrics.model_copy(update={"listen": f"{host}:{own}"})})


# --- each process ---


def _serve(arguments: Sequence[str]) -> None:
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") as orders:
        length = int.from_bytes(orders.read(4), "big")
        command, settings, withheld = pickle.loads(orders.read(length))  # noqa: S301 - our parent's
    withhold_from_children(withheld)
    if heeds_hangup(settings):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it reads its files in a moment anyway
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    telling = os.fdopen(int(arguments[0]), "wb", buffering=0)

    async def tell(server: Server) -> None:
        with telling, contextlib.suppress(BrokenPipeError):
            telling.write(b"1")

    run_server(command, settings, then=tell, beside=True)


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # nothing comes until the parent has gone
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    try:
        _serve(sys.argv[1:])
    except typer.Exit as exit_:
        sys.exit(exit_.exit_code)
