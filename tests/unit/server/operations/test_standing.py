"""Figures of queues are read where something has changed, and not where nothing has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import timedelta

import pytest
from contract.builders import HOUR, MILLISECOND, a_draft, added
from support.spied_store import SpiedStore
from tocsin_server.domain.queues import QueueFigures
from tocsin_server.domain.states import State
from tocsin_server.operations.standing import StandingFigures
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker
from tocsin_server.store.interface import JobStore


@pytest.fixture
async def ticker(spied: SpiedStore) -> AsyncIterator[Ticker]:
    ticker = Ticker(spied.as_store, StoreClock(), 50 * MILLISECOND)
    yield ticker
    await ticker.close()


class Shown:
    """Whoever shows the figures that were read."""

    def __init__(self) -> None:
        self.figures: dict[str, QueueFigures] = {}
        self._changed = asyncio.Event()

    def take(self, figures: Mapping[str, QueueFigures]) -> None:
        self.figures.update(figures)
        self._changed.set()

    def drop(self, queues: Collection[str]) -> None:
        for queue in queues:
            self.figures.pop(queue, None)
        self._changed.set()

    async def until(self, **jobs: int) -> None:
        """Wait until so many jobs are shown of each of these queues, and no other queue is."""
        async with asyncio.timeout(10):
            while {name: sum(one.total(state) for state in State) for name, one in self.figures.items()} != jobs:
                self._changed.clear()
                await self._changed.wait()


def standing_of(store: JobStore, ticker: Ticker, shown: Shown) -> StandingFigures:
    return StandingFigures(store, ticker, timedelta(milliseconds=20), take=shown.take, drop=shown.drop)


@pytest.fixture
async def shown(spied: SpiedStore, ticker: Ticker) -> AsyncIterator[Shown]:
    shown = Shown()
    standing = standing_of(spied.as_store, ticker, shown)
    ticker.start()
    standing.start()
    yield shown
    await standing.close()


async def test_queues_are_read_again_where_they_changed_alone(spied: SpiedStore, shown: Shown) -> None:
    await added(spied.as_store, a_draft(queue="a"), a_draft(queue="b", when=HOUR))
    await shown.until(a=1, b=1)
    unchanged, reads = shown.figures["b"], spied.calls["many_figures"]
    await spied.until_called("ticks", 3)
    assert spied.calls["many_figures"] == reads
    await added(spied.as_store, a_draft(queue="a"))
    await shown.until(a=2, b=1)
    assert shown.figures["b"] is unchanged


async def test_a_queue_that_is_gone_is_shown_no_more(spied: SpiedStore, shown: Shown) -> None:
    [job, _] = await added(spied.as_store, a_draft(queue="a", when=HOUR), a_draft(queue="b"))
    await shown.until(a=1, b=1)
    await spied.as_store.delete("a", [job.job_id], ended_only=False)
    await spied.as_store.forget("a")
    await shown.until(b=1)


async def test_while_the_store_is_away_the_last_figures_stay_and_are_made_up_for(
    spied: SpiedStore, shown: Shown
) -> None:
    await added(spied.as_store, a_draft(queue="a"))
    await shown.until(a=1)
    spied.away.add("many_figures")
    await added(spied.as_store, a_draft(queue="a"))
    await spied.until_called("many_figures", 2)
    assert shown.figures["a"].total(State.WAITING) == 1
    spied.away.discard("many_figures")
    await shown.until(a=2)


async def test_no_more_are_read_at_a_time_than_ticks(spied: SpiedStore, ticker: Ticker) -> None:
    spied.as_store.ticks_at_once = 2
    asked: list[int] = []
    many = spied.as_store.many_figures

    async def counted(queues: list[str]) -> object:
        asked.append(len(queues))
        return await many(queues)

    spied.as_store.many_figures = counted  # type: ignore[method-assign,assignment]
    shown = Shown()
    standing = standing_of(spied.as_store, ticker, shown)
    await added(spied.as_store, *(a_draft(queue=name, when=HOUR) for name in "abcde"))
    ticker.start()
    standing.start()
    await shown.until(a=1, b=1, c=1, d=1, e=1)
    await standing.close()
    assert max(asked) == 2
