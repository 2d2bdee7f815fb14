"""Keeps leases alive and carries progress and logged lines, never on a loop that runs handlers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence

from tocsin.worker.attempt import Attempt
from tocsin.worker.source import Heartbeat, HeartbeatAnswer, Source

logger = logging.getLogger("tocsin.worker")

#: Seconds between two batches of progress and lines: of progress what is said more often is stored as last said.
WORDS_EVERY = 0.25


class Heartbeats:
    """Extends the leases of `running`, all in one call: every source.heartbeat_every, and when the source wants it.

    What attempts say travels at once, then at most every WORDS_EVERY, without the other leases. `answered` hears of
    each attempt whose lease is lost or whose cancel was asked.
    """

    def __init__(
        self,
        source: Source,
        running: Collection[Attempt],
        answered: Callable[[Attempt, HeartbeatAnswer], None],
    ) -> None:
        self._source = source
        self._running = running
        self._answered = answered
        self._every = source.heartbeat_every.total_seconds()
        self._saying: dict[Attempt, None] = {}  # those with progress or lines to store, in order
        self._all_due = time.monotonic() + self._every
        self._words_due = 0.0
        self._wake = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._failing = False

    def said(self, attempt: Attempt) -> None:
        """Store its progress and its lines soon."""
        self._saying[attempt] = None
        self._wake.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        listener = asyncio.create_task(self._listen())
        try:
            while True:
                try:
                    await self._turn()
                except Exception:  # a bug must not let all leases run out
                    logger.exception("a heartbeat failed")
                    await asyncio.sleep(WORDS_EVERY)
        finally:
            listener.cancel()

    async def last_words(self, ended: Sequence[Attempt]) -> None:
        """Store what attempts that have ended had said and logged, where it is not stored yet. Their outcomes come
        after it."""
        for attempt in ended:
            self._saying.pop(attempt, None)
        # One under way now may carry it: it is looked at again once that is done.
        if any(attempt.unsaid for attempt in ended):
            async with self._one_at_a_time:
                if left := [attempt for attempt in ended if attempt.unsaid]:
                    await self._extend(left)

    async def _listen(self) -> None:
        while True:
            try:
                await self._source.beat_wanted()
            except Exception as error:
                logger.warning("no word of cancels but with heartbeats, for now: %s", error)
                await asyncio.sleep(self._every)
                continue
            self._all_due = 0.0
            self._wake.set()

    async def _turn(self) -> None:
        due = min(self._all_due, self._words_due) if self._saying else self._all_due
        if (wait := due - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
        self._wake.clear()
        now = time.monotonic()
        if now >= self._all_due:
            self._all_due = now + self._every
            beating = list(self._running)
        elif self._saying and now >= self._words_due:
            beating = [attempt for attempt in self._saying if attempt in self._running]
        else:
            return
        self._words_due = now + WORDS_EVERY
        self._saying.clear()
        if not beating:
            return
        async with self._one_at_a_time:
            beaten = await self._extend(beating)
        if not beaten:
            self._all_due = min(self._all_due, time.monotonic() + self._every / 4)

    async def _extend(self, beating: Sequence[Attempt]) -> bool:
        heartbeats, said = [], []
        for attempt in beating:
            attempt.told = False  # before reading: what is said from here on is told again
            word = attempt.said
            said.append(word)
            lines = attempt.lines.take() if attempt.lines else ()
            heartbeats.append(Heartbeat(attempt.job, None if word is attempt.sent else word, lines))
        try:
            answers = await self._source.extend(heartbeats)
        except Exception as error:
            if not self._failing:
                logger.warning("leases of %d running jobs could not be extended: %s", len(beating), error)
            self._failing = True
            for attempt, beat in zip(beating, heartbeats, strict=True):
                if beat.log and attempt.lines is not None:
                    attempt.lines.put_back(beat.log)
            return False
        self._failing = False
        for attempt, word, beat, answer in zip(beating, said, heartbeats, answers, strict=True):
            attempt.sent = word
            if beat.log and attempt.lines is not None:
                attempt.lines.arrived()
            if attempt in self._running and (answer.lost or answer.cancel_reason is not None):
                self._answered(attempt, answer)
        return True
