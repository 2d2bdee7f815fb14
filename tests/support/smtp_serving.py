"""aiosmtpd connections, served on the loop of the test."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiosmtpd.smtp import SMTP


@asynccontextmanager
async def smtp_served(connected: Callable[[], SMTP], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on 127.0.0.1 whose connections `connected` makes; its port. At the end they are closed and done with."""
    connections: list[SMTP] = []

    def remembered() -> SMTP:
        connections.append(connected())
        return connections[-1]

    server = await asyncio.get_running_loop().create_server(remembered, "127.0.0.1", 0, ssl=tls, backlog=1000)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in connections:
            if connection.transport is not None:
                connection.transport.close()
        tasks = [task for one in connections if (task := one._handler_coroutine) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
