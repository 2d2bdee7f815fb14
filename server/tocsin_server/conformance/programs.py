"""The processes of a run: the server, and the worker program under test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

from tocsin import AsyncClient, TocsinError

_START_SECONDS = 30
_TAIL_BYTES = 3_000


class CannotRun(Exception):
    """The kit itself cannot go on; the message says why."""


class Program:
    """A process with its output in a file. Ends with all its children: it leads a process group."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self._command, self._log, self._env = command, log, env
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it. CannotRun: there is no such program."""
        with self._log.open("ab") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(self._env),
                    start_new_session=True,
                )
            except OSError as error:
                raise CannotRun(f"{self._command[0]} cannot be started: {error.strerror}") from None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None: it runs."""
        return None if self._process is None else self._process.returncode

    def tell(self, number: Signals) -> None:
        """Send it a signal, to the process alone."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def tell_all(self, number: Signals) -> None:
        """Send its whole group a signal."""
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, number)

    async def ended(self, within: float) -> int | None:
        """Its exit code once it has ended; None: it has not after so many seconds."""
        if self._process is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                return await self._process.wait()
        return None

    async def kill(self) -> None:
        """SIGKILL to its whole group, and wait."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, SIGKILL)
            await self._process.wait()

    def said(self) -> str:
        """The end of what it wrote."""
        return self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace") if self._log.exists() else ""


class TocsinServer:
    """A server on an embedded store in a folder of its own, with nothing of the caller's settings."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.address = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "tocsin.cli.main", "serve", "--listen", self.address, "--data", str(folder)]
        env = {name: value for name, value in os.environ.items() if not name.startswith(_STEERING)}
        self._program = Program(command, folder / "server.log", env)

    async def start(self) -> None:
        """Start it, and wait until it answers. CannotRun with what it said."""
        await self._program.start()
        async with AsyncClient(self.address, deadline=1.0, tls=False, token="") as client:
            for _ in range(_START_SECONDS):
                with contextlib.suppress(TocsinError):
                    await client.server_info()
                    return
                if self._program.exit_code is not None:
                    break
        raise CannotRun(f"the server did not start:\n{self._program.said()}")

    async def stop(self) -> None:
        """SIGTERM; SIGKILL after a while."""
        self._program.tell(SIGTERM)
        await self._program.ended(10)
        await self._program.kill()


_STEERING = ("TOCSIN_", "REDIS_", "QUEUE_", "MONGODB_")


def worker_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment with these settings, without what would send the worker's calls elsewhere."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return {**env, "no_proxy": "127.0.0.1,localhost", **settings}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
