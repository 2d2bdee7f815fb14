"""Bull's jobs, opened for reading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tocsin_server.migrate.bull.queue import BullQueue
from tocsin_server.migrate.bull.reader import QueuesReader, connected
from tocsin_server.migrate.foreign import Choices, ForeignQueue


@asynccontextmanager
async def open_bull(url: str, choices: Choices, *, prefix: str = "bull") -> AsyncIterator[ForeignQueue]:
    """A reader of the queues of Bull 4 under a prefix. SourceAway where the address leads nowhere."""
    async with connected(url) as source:
        yield QueuesReader(source, choices, prefix, BullQueue, by_bullmq=False)
