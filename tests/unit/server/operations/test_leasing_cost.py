"""Waiting costs one look a tick, whatever stands in the store: nothing is asked for over and over."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from contract.builders import HOUR, MILLISECOND, a_draft, added
from redis import Redis
from support.running_leasing import Parts, StartParts, first_leased
from support.spied_store import SpiedStore
from tocsin_server.domain.queues import QueueSettings

TICK = 100 * MILLISECOND
TICKS = 6


@contextlib.asynccontextmanager
async def a_waiting_caller(parts: Parts) -> AsyncIterator[asyncio.Task[object]]:
    waiting: asyncio.Task[object] = asyncio.create_task(first_leased(parts.leasing, {"t": 1}, 1))
    yield waiting
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def calls_over_some_ticks(spied: SpiedStore) -> Counter[str]:
    # What was heard before is dealt with by then; what is looked at out of turn counts as a tick here.
    await spied.until_called("ticks", 3)
    before = spied.calls.copy()
    await spied.until_called("ticks", TICKS)
    return spied.calls - before


async def test_with_all_jobs_far_ahead_a_tick_costs_two_commands(
    spied: SpiedStore, start_parts: StartParts, valkey_client: Redis
) -> None:
    await added(spied.as_store, *(a_draft(when=HOUR) for _ in range(1000)))
    async with start_parts(tick=TICK) as parts, a_waiting_caller(parts):
        await spied.until_called("ticks", 2)
        before = commands(valkey_client)
        calls = await calls_over_some_ticks(spied)
        used = commands(valkey_client) - before
    assert calls == {"ticks": TICKS, "count_queues": TICKS}
    assert set(used) == {"mget", "scard"}
    assert used.total() <= 2 * (TICKS + 4)


def commands(client: Redis) -> Counter[str]:
    stats = client.info("commandstats")
    assert isinstance(stats, dict)
    return Counter(
        {name.removeprefix("cmdstat_"): figures["calls"] for name, figures in stats.items() if name != "cmdstat_info"}
    )


async def test_a_paused_queue_with_due_jobs_is_let_be_until_it_is_resumed(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    store = spied.as_store
    await store.put_settings("q", QueueSettings(), paused=True)
    await added(store, a_draft(), *(a_draft(when=n * MILLISECOND) for n in range(1, 20)))
    async with start_parts(tick=TICK) as parts, a_waiting_caller(parts) as waiting:
        await calls_over_some_ticks(spied)  # all have become due by then, and been asked for
        assert (await calls_over_some_ticks(spied))["claim"] == 0
        await store.put_settings("q", QueueSettings(), paused=False)
        async with asyncio.timeout(1):
            await waiting


async def test_waiting_jobs_of_types_nobody_asks_for_are_let_be(spied: SpiedStore, start_parts: StartParts) -> None:
    await added(spied.as_store, *(a_draft(type="other") for _ in range(20)))
    async with start_parts(tick=TICK) as parts, a_waiting_caller(parts):
        assert (await calls_over_some_ticks(spied))["claim"] == 0


async def test_nothing_is_claimed_while_nobody_waits(spied: SpiedStore, start_parts: StartParts) -> None:
    await added(spied.as_store, *(a_draft() for _ in range(20)))
    async with start_parts(tick=TICK):
        assert (await calls_over_some_ticks(spied))["claim"] == 0


async def test_a_rush_of_jobs_for_others_is_not_asked_about_one_by_one(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    store = spied.as_store
    async with start_parts(tick=HOUR) as parts, a_waiting_caller(parts):
        for _ in range(300):
            await added(store, a_draft(type="other"))
        assert spied.calls["claim"] < 100


async def test_a_store_that_is_away_is_asked_once_a_tick(spied: SpiedStore, start_parts: StartParts) -> None:
    await added(spied.as_store, a_draft())
    async with start_parts(tick=TICK) as parts:
        spied.away |= {"claim", "ticks", "count_queues"}
        async with a_waiting_caller(parts):
            await spied.until_called("count_queues", TICKS)
            assert spied.calls["claim"] <= 2 * TICKS


async def test_types_of_which_a_queue_has_nothing_are_asked_for_once(
    spied: SpiedStore, start_parts: StartParts
) -> None:
    """A server has handlers of many types, a queue mostly jobs of one."""
    store = spied.as_store
    free = {"t": 2, "u": 2, "v": 2}
    async with start_parts(tick=HOUR) as parts:
        await added(store, *(a_draft() for _ in range(10)))
        for _ in range(5):
            await first_leased(parts.leasing, free, 6)
        asked = [set(arguments[1]) for arguments, _ in spied.arguments["claim"]]
        assert asked[0] == {"t", "u", "v"}
        assert asked[2:] == [{"t"}] * len(asked[2:]), asked
        await added(store, a_draft(type="u"))
        *_, job = await first_leased(parts.leasing, {"u": 2}, 6)
        assert job.job.spec.type == "u"
