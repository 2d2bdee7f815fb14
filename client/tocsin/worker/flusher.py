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

#: Seconds that outcomes wait for those before them. A source may keep its queues on several servers: what one of them
#: does not take for long must not keep the others from theirs.
PATIENCE = 0.25

#: An attempt, where one began, and the outcome to record.
Due = tuple[Attempt | None, AttemptOutcome]


class Flusher:
    """Records outcomes in the order they come, but past those that the source does not take for long. `last_words` is
    called first, so that the last progress stands."""

    def __init__(self, source: Source, last_words: Callable[[Sequence[Attempt]], Awaitable[None]]) -> None:
        self._source = source
        self._last_words = last_words
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
                batch, self._due = self._due[:BATCH], self._due[BATCH:]
                task = asyncio.create_task(self._record(batch))
                self._under_way[task] = len(batch)
                task.add_done_callback(self._recorded)
                del batch  # payloads must not wait here for the next one
                await asyncio.wait({task}, timeout=PATIENCE)
        finally:
            self._task = None

    async def _record(self, batch: Sequence[Due]) -> None:
        await self._last_words([attempt for attempt, _ in batch if attempt is not None])
        await self._finish([outcome for _, outcome in batch])

    def _recorded(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("outcomes were not recorded", exc_info=error)

    async def _finish(self, outcomes: Sequence[AttemptOutcome]) -> None:
        try:
            answers = await self._source.finish(outcomes)
        except Exception as error:
            # The source repeats by itself while the store is away, so this is an outcome it cannot take, or a bug.
            if len(outcomes) > 1:
                for outcome in outcomes:
                    await self._finish([outcome])
                return
            logger.exception("the outcome of a job of type %r was not recorded: %s", outcomes[0].job.type, error)
            return
        for outcome, recorded in zip(outcomes, answers, strict=True):
            if not recorded:
                logger.warning(
                    "job %s of type %r: attempt %d had lost its lease, its outcome was dropped",
                    outcome.job.job_id,
                    outcome.job.type,
                    outcome.job.attempt,
                )
