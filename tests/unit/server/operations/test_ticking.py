"""The store is read once a tick, for all who want to know, and when it last answered is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import pytest
from contract.builders import HOUR, MILLISECOND, a_draft, added
from support.spied_store import SpiedStore
from tocsin_server.domain.queues import Tick
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker

Heard = asyncio.Queue[Mapping[str, Tick]]


@pytest.fixture
def ticker(spied: SpiedStore) -> Ticker:
    return Ticker(spied.as_store, StoreClock(), 50 * MILLISECOND)


@pytest.fixture
async def heard(ticker: Ticker) -> AsyncIterator[Heard]:
    """What a hearer is told, beside one that fails."""

    def fail(ticks: Mapping[str, Tick]) -> None:
        raise RuntimeError("planted")

    heard: Heard = asyncio.Queue()
    ticker.on_tick(fail)
    ticker.on_tick(heard.put_nowait)
    yield heard
    await ticker.close()


async def test_all_queues_are_read_at_once_also_those_that_came_later(
    spied: SpiedStore, ticker: Ticker, heard: Heard
) -> None:
    [first, second] = await added(spied.as_store, a_draft(queue="a", when=HOUR), a_draft(queue="b", when=HOUR))
    ticker.start()
    ticks = await heard.get()
    assert {name: tick.next_due for name, tick in ticks.items()} == {
        "a": first.schedule_time,
        "b": second.schedule_time,
    }
    await added(spied.as_store, a_draft(queue="c"))
    async with asyncio.timeout(5):
        while set(await heard.get()) != {"a", "b", "c"}:
            pass
    assert spied.calls["ticks"] <= spied.calls["count_queues"] + spied.calls["queues"]


async def test_what_is_looked_at_is_told_at_once(spied: SpiedStore, ticker: Ticker, heard: Heard) -> None:
    await added(spied.as_store, a_draft(queue="a"), a_draft(queue="b"))
    await ticker.look("b")
    assert set(heard.get_nowait()) == {"b"}


async def test_when_the_store_last_answered_is_known_and_it_goes_on_when_it_is_back(
    spied: SpiedStore, ticker: Ticker, heard: Heard
) -> None:
    assert ticker.last_ok is None
    ticker.start()
    await heard.get()
    spied.away |= {"count_queues", "ticks"}
    await spied.until_called("count_queues", 2)
    last = ticker.last_ok
    await spied.until_called("count_queues", 2)
    assert ticker.last_ok == last
    spied.away.clear()
    await heard.get()
    assert ticker.last_ok is not None
    assert last is not None
    assert ticker.last_ok > last


async def test_the_stores_clock_is_known_from_the_first_tick_on(spied: SpiedStore, heard: Heard) -> None:
    clock = StoreClock()
    ticker = Ticker(spied.as_store, clock, HOUR)
    ticker.start()
    await spied.until_called("queues", 1)
    before = clock.now()
    now = await spied.as_store.ping()
    assert abs(now - before) < timedelta(seconds=0.1)
    assert spied.calls["ping"] == 2
    await ticker.close()
