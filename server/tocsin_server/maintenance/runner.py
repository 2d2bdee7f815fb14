"""Runs the chores of the store: counts and times them, and lets none of them stop another."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from tocsin_server.background import Loop
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import Chore, QueueChore
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: Several servers read the same ticks; a wait drawn from this keeps them from doing the same chore in the same moment.
#: Twice is no harm, only work: the second finds nothing.
_SPREAD = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True)
class ChoreFigures:
    """What a chore has done since the server's start."""

    steps: int = 0
    failures: int = 0
    busy: timedelta = timedelta(0)


class ChoreRunner:
    """Lets each chore hear the ticks, and step until it has nothing to do. Make it before the ticker is started.

    Each runs in a task of its own: a step that waits long for a part of the store delays no other chore. hurried: where
    somebody waits for the chores, they begin at once.
    """

    def __init__(self, ticker: Ticker, clock: StoreClock, chores: Sequence[Chore], *, hurried: bool = False) -> None:
        self._clock = clock
        self._spread = 0.0 if hurried else _SPREAD.total_seconds()
        self._chores = chores
        self._ticked = {chore.name: asyncio.Event() for chore in chores}
        self._loops = [Loop(partial(self._run, chore), f"chore {chore.name}") for chore in chores]
        self._figures = {chore.name: ChoreFigures() for chore in chores}
        ticker.on_tick(self._hear)
        ticker.on_names(self._keep)

    @property
    def figures(self) -> Mapping[str, ChoreFigures]:
        """By the chore's name."""
        return dict(self._figures)

    @property
    def mended(self) -> Mapping[str, int]:
        """What the chores that mend have mended since the server's start."""
        return {what: number for chore in self._chores for what, number in chore.mended.items()}

    def notice(self, queue: str) -> None:
        """A message told of something to do in a queue: those chores that hear of that step now."""
        for chore in self._chores:
            if isinstance(chore, QueueChore) and chore.hears_messages:
                chore.notice(queue)
                self._ticked[chore.name].set()

    def start(self) -> None:
        """Begin."""
        for loop in self._loops:
            loop.start()

    async def close(self) -> None:
        """Stop after the steps under way."""
        await asyncio.gather(*(loop.close() for loop in self._loops))

    def _hear(self, ticks: Mapping[str, Tick]) -> None:
        for chore in self._chores:
            chore.hear(ticks)
            self._ticked[chore.name].set()

    def _keep(self, queues: Collection[str]) -> None:
        for chore in self._chores:
            chore.keep(queues)

    async def _run(self, chore: Chore) -> None:
        ticked = self._ticked[chore.name]
        while True:
            await self._wait(ticked, chore.next_time())
            ticked.clear()
            await asyncio.sleep(random.uniform(0, self._spread))  # noqa: S311 - spreads load, guards nothing
            while await self._step(chore):
                pass

    async def _wait(self, ticked: asyncio.Event, until: datetime | None) -> None:
        """For the next tick, or until the store's clock shows that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if until is None else max(0, self._clock.seconds_until(until))):
                await ticked.wait()

    async def _step(self, chore: Chore) -> bool:
        begun, failed, more = time.monotonic(), 0, False
        try:
            more = await chore.step()
        except TocsinError as error:
            failed = 1
            _log.warning("chore_failed", chore=chore.name, error=str(error))
        except Exception:
            failed = 1
            _log.exception("chore_failed", chore=chore.name)
        took = time.monotonic() - begun
        done = self._figures[chore.name]
        self._figures[chore.name] = ChoreFigures(
            done.steps + 1, done.failures + failed, done.busy + timedelta(seconds=took)
        )
        if more:
            await asyncio.sleep(took if chore.rests or failed else 0)
        return more
