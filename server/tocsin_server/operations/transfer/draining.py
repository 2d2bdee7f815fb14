"""Long streams that end when the server drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from tocsin_server.domain.errors import Draining

T = TypeVar("T")


class Drain:
    """Ends what passes through it, once and for all."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    def begin(self) -> None:
        """End all streams, and refuse new ones."""
        self._begun.set()

    async def each(self, items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """The items as they come. Raises Draining between two of them, also while the next one is waited for."""
        begun = asyncio.create_task(self._begun.wait())
        try:
            while True:
                step = asyncio.create_task(_next(items))
                try:
                    await asyncio.wait({step, begun}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not step.done():
                        step.cancel()
                        await asyncio.wait({step})
                if begun.done():
                    raise Draining
                if not (found := step.result()):
                    return
                yield found[0]
        finally:
            begun.cancel()


async def _next(items: AsyncIterator[T]) -> tuple[T] | None:
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return None
