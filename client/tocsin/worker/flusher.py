"""Gives outcomes to the source: at once when idle, and together when more come while some are under way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from tocsin.worker.attempt import Attempt
from tocsin.worker.source import AttemptOutcome, Source

logger = logging.getLogger("tocsin.worker")

#: CONTRACT: a batch has at most this many items.
BATCH = 1000

#: Seconds between two tries to record what the source has raised at: the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

#: An attempt, where one began, and the outcome to record.
Due = tuple[Attempt | None, AttemptOutcome]


class Flusher:
    """Records outcomes in the order they come, but past those that the source does not take for long. `last_words` is
    called first, so that the last progress stands."""

    def __init__(self, source: Source, last_words: Callable[[Sequence[Attempt]], Awaitable[None]]) -> None:
        self._source = source
        self._last_words = last_words
        self.owed: dict[Attempt, None] = {}  # attempts whose outcomes the source has not taken; their leases must hold
        self._due: list[Due] = []
        self._under_way: dict[asyncio.Task[None], int] = {}  # how many outcomes each has
        self._task: asyncio.Task[None] | None = None

    @property
    def unflushed(self) -> int:
        """Outcomes that the source has not taken yet."""
        return len(self._due) + sum(self._under_way.values())

    def add(self, attempt: Attempt | None, outcome: AttemptOutcome) -> None:
        """Record it soon. All that are added in one turn of the loop go together."""
        self._due.append((attempt, outcome))
        if attempt is not None:
            self.owed[attempt] = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush())

    async def idle(self) -> None:
        """Return when nothing is left to record."""
        while left := [*self._under_way, *([self._task] if self._task is not None else [])]:
            await asyncio.wait(left)

    def close(self) -> None:
        """Give up on what is left; those leases run out."""
        for task in (self._task, *self._under_way):
            if task is not None:
                task.cancel()

    async def _flush(self) -> None:
        try:
            while self._due:
                await self._source.lull()
                batch, self._due = self._due[:BATCH], self._due[BATCH:]
                task = asyncio.create_task(self._record(batch))
                self._under_way[task] = len(batch)
                task.add_done_callback(self._recorded)
                del batch  # payloads must not wait here for the next one
                await asyncio.wait({task}, timeout=self._source.patience)
        finally:
            self._task = None

    async def _record(self, batch: Sequence[Due]) -> None:
        await self._last_words([attempt for attempt, _ in batch if attempt is not None])
        await self._finish(batch)

    def _recorded(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("outcomes were not recorded", exc_info=error)

    async def _finish(self, batch: Sequence[Due]) -> None:
        """Until the source has taken them. It repeats by itself while its store is away, so what it raises is a fault:
        that is no reason to throw away what a handler has done, and none to let its neighbours wait."""
        pause = FIRST_PAUSE
        while True:
            try:
                answers = await self._source.finish([outcome for _, outcome in batch])
                break
            except Exception:
                if len(batch) > 1:
                    await asyncio.gather(*(self._finish([one]) for one in batch))
                    return
                if pause == FIRST_PAUSE:
                    logger.exception("the outcome of a job of type %r waits to be recorded", batch[0][1].job.type)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        for (attempt, outcome), recorded in zip(batch, answers, strict=True):
            if attempt is not None:
                self.owed.pop(attempt, None)
            if not recorded:
                logger.warning(
                    "job %s of type %r: attempt %d had lost its lease, its outcome was dropped",
                    outcome.job.job_id,
                    outcome.job.type,
                    outcome.job.attempt,
                )
