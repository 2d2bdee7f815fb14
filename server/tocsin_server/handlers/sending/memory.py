"""What earlier attempts of a job said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tocsin.worker.context import JobContext

from tocsin_server.domain.job import View
from tocsin_server.handlers.crossing import ServerLoop
from tocsin_server.store.interface import JobStore


class Memory(Protocol):
    """Remembers the errors of earlier attempts."""

    async def errors(self, job: JobContext) -> Sequence[str]:
        """Messages of the errors of earlier attempts that are kept (the first and the last 9), the oldest first."""


class StoreMemory(Memory):
    """Asks the store, from the second attempt on."""

    def __init__(self, store: JobStore, loop: ServerLoop) -> None:
        self._store = store
        self._loop = loop

    async def errors(self, job: JobContext) -> Sequence[str]:
        """StoreAway where the store does not answer."""
        if job.attempt == 1:
            return ()
        [found] = await self._loop.run(lambda: self._store.get(job.queue, [job.job_id], View.BASIC))
        return () if found is None else [error.message for error in found.errors]
