"""All queues under a prefix, opened: they are found and read as Bull's are, but for what each one is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tocsin_server.migrate.systems.bull.reader import QueuesReader, connected
from tocsin_server.migrate.systems.bullmq.queue import BullmqQueue
from tocsin_server.migrate.systems.foreign import Choices, ForeignQueue


@asynccontextmanager
async def open_bullmq(url: str, choices: Choices, *, prefix: str = "bull") -> AsyncIterator[ForeignQueue]:
    """A reader of the queues of BullMQ under a prefix. SourceAway where the address leads nowhere."""
    async with connected(url) as source:
        yield QueuesReader(source, choices, prefix, BullmqQueue, by_bullmq=True)
