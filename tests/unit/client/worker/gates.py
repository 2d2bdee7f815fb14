"""Gates between a test and the handlers that it runs, which live on other loops and threads."""

from __future__ import annotations

import asyncio
import threading

PATIENCE = 10.0  # seconds; only a broken test waits so long


class Gate:
    """Shut until opened, from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        """Let all through, from now on."""
        self._event.set()

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return self._event.is_set()

    def block(self) -> None:
        """Wait and hold up whatever loop or thread this is, as time.sleep does."""
        assert self._event.wait(PATIENCE)

    async def passed(self) -> None:
        """Wait without holding up the loop."""
        async with asyncio.timeout(PATIENCE):
            while not self._event.is_set():
                await asyncio.to_thread(self._event.wait, PATIENCE)
