"""Chores step after a tick; one that fails or hangs is counted, and stops neither itself for good nor the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest
from contract.builders import MILLISECOND, a_draft, added
from support.spied_store import SpiedStore
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.queues import Tick
from tocsin_server.maintenance.chore import Chore
from tocsin_server.maintenance.runner import ChoreRunner
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker


class Counting(Chore):
    """Has so many steps to do after each tick, and notes them where all do."""

    def __init__(self, name: str, steps: int, noted: list[str], error: Exception | None = None) -> None:
        self.name, self._steps, self._noted, self._error = name, steps, noted, error
        self._left = 0
        self.rounds = asyncio.Semaphore(0)

    def hear(self, ticks: Mapping[str, Tick]) -> None:
        assert set(ticks) == {"q"}
        self._left = self._steps

    async def step(self) -> bool:
        self._noted.append(self.name)
        self._left -= 1
        if self._left <= 0:
            self.rounds.release()
        if self._error is not None:
            raise self._error
        return self._left > 0


class Hanging(Counting):
    """Waits for an answer that does not come."""

    async def step(self) -> bool:
        self.rounds.release()
        await asyncio.Event().wait()
        return False


Run = Callable[[Sequence[Chore]], ChoreRunner]


@pytest.fixture
async def run(spied: SpiedStore) -> AsyncIterator[Run]:
    await added(spied.as_store, a_draft())
    ticker = Ticker(spied.as_store, StoreClock(), 50 * MILLISECOND)
    runners: list[ChoreRunner] = []

    def run(chores: Sequence[Chore]) -> ChoreRunner:
        runners.append(ChoreRunner(ticker, StoreClock(), chores))
        runners[-1].start()
        ticker.start()
        return runners[-1]

    yield run
    for runner in runners:
        await runner.close()
    await ticker.close()


async def test_a_chore_steps_until_it_has_nothing_to_do(run: Run) -> None:
    noted: list[str] = []
    long, short = Counting("long", 3, noted), Counting("short", 1, noted)
    run([long, short])
    await long.rounds.acquire()
    await short.rounds.acquire()
    assert (noted.count("long"), noted.count("short")) == (3, 1)


async def test_a_chore_that_hangs_delays_no_other(run: Run) -> None:
    noted: list[str] = []
    hanging, good = Hanging("hanging", 1, noted), Counting("good", 1, noted)
    run([hanging, good])
    await hanging.rounds.acquire()
    for _ in range(3):
        await good.rounds.acquire()
    assert noted == ["good"] * 3


@pytest.mark.parametrize("error", [StoreAway("planted"), RuntimeError("planted")])
async def test_a_chore_that_fails_is_counted_and_tried_again_at_the_next_tick(run: Run, error: Exception) -> None:
    noted: list[str] = []
    bad, good = Counting("bad", 1, noted, error), Counting("good", 1, noted)
    runner = run([bad, good])
    for _ in range(3):
        await bad.rounds.acquire()
        await good.rounds.acquire()
    assert runner.figures["bad"].failures >= 2
    assert runner.figures["good"].failures == 0
    assert runner.figures["good"].steps >= 2
