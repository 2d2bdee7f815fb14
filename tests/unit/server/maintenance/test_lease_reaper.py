"""Jobs of a dead process wait again within a tick, and live ones are let be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from contract.backdating import Backdate
from contract.builders import HOUR, MILLISECOND, SECOND, a_draft, added, claimed, claimed_one, read
from support.spied_store import SpiedStore
from tocsin_server.domain.errors import StoreFull
from tocsin_server.domain.queues import Tick
from tocsin_server.domain.states import State
from tocsin_server.maintenance import lease_reaper
from tocsin_server.maintenance.lease_reaper import LeaseReaper
from tocsin_server.maintenance.runner import ChoreRunner
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.operations.ticking import Ticker

TICK = 100 * MILLISECOND


async def ticks(spied: SpiedStore) -> Mapping[str, Tick]:
    store = spied.as_store
    return await store.ticks(await store.queues())


async def test_a_lease_that_ran_out_is_taken_back_within_a_tick(spied: SpiedStore, backdate: Backdate) -> None:
    store, clock = spied.as_store, StoreClock()
    ticker = Ticker(store, clock, TICK)
    runner = ChoreRunner(ticker, clock, [LeaseReaper(store, clock)])
    ticker.start()
    runner.start()
    await added(store, a_draft())
    one = await claimed_one(store, lease=HOUR)
    backdate.lease(one.job, by=2 * HOUR)
    await spied.until_called("reap", 1)
    job = await read(store, one)
    assert (job.state, job.crashes, job.failures) == (State.WAITING, 1, 0)
    assert runner.figures["lease_reaper"].failures == 0
    await runner.close()
    await ticker.close()


async def test_leases_that_stand_cost_no_call(spied: SpiedStore) -> None:
    store = spied.as_store
    reaper = LeaseReaper(store, StoreClock())
    await added(store, a_draft())
    await claimed_one(store)
    reaper.hear(await ticks(spied))
    assert await reaper.step() is False
    assert spied.calls["reap"] == 0


async def test_many_are_taken_back_in_bounded_steps(spied: SpiedStore, backdate: Backdate) -> None:
    store = spied.as_store
    await added(store, *(a_draft() for _ in range(250)), a_draft(queue="other"))
    for one in [*await claimed(store, lease=HOUR), await claimed_one(store, queue="other", lease=HOUR)]:
        backdate.lease(one.job, by=2 * HOUR)
    reaper = LeaseReaper(store, StoreClock())
    reaper.hear(await ticks(spied))
    steps = 1
    while await reaper.step():
        steps += 1
    assert steps == 4
    figures = await store.figures("q")
    assert figures.total(State.WAITING) == 250


async def test_two_that_reap_at_once_count_each_crash_once(spied: SpiedStore, backdate: Backdate) -> None:
    store = spied.as_store
    await added(store, a_draft())
    one = await claimed_one(store, lease=HOUR)
    backdate.lease(one.job, by=2 * HOUR)
    reapers = [LeaseReaper(store, StoreClock()) for _ in range(2)]
    heard = await ticks(spied)
    for reaper in reapers:
        reaper.hear(heard)
    await asyncio.gather(*(reaper.step() for reaper in reapers))
    assert (await read(store, one)).crashes == 1


async def test_after_a_store_that_took_no_writes_those_whose_leases_ended_meanwhile_go_first(
    spied: SpiedStore, backdate: Backdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = spied.as_store, 1000.0
    monkeypatch.setattr(lease_reaper.time, "monotonic", lambda: now)
    reaper = LeaseReaper(store, StoreClock())
    await added(store, a_draft())
    one = await claimed_one(store)
    backdate.lease(one.job, by=HOUR)
    spied.break_with["reap"] = StoreFull("no room")
    reaper.hear(await ticks(spied))
    with pytest.raises(StoreFull):
        await reaper.step()
    del spied.break_with["reap"]
    now += 2
    reaper.hear(await ticks(spied))
    assert await reaper.step() is False
    assert (await read(store, one)).state is State.ACTIVE
    now += 3
    reaper.hear(await ticks(spied))
    await reaper.step()
    assert (await read(store, one)).state is State.WAITING


async def test_after_a_store_that_was_away_too(
    spied: SpiedStore, backdate: Backdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = spied.as_store, 1000.0
    monkeypatch.setattr(lease_reaper.time, "monotonic", lambda: now)
    reaper = LeaseReaper(store, StoreClock())
    await added(store, a_draft())
    one = await claimed_one(store)
    reaper.hear(await ticks(spied))
    backdate.lease(one.job, by=HOUR)
    for pause, state in ((10, State.ACTIVE), (1, State.ACTIVE), (2, State.WAITING)):
        now += pause
        reaper.hear(await ticks(spied))
        await reaper.step()
        assert (await read(store, one)).state is state


async def test_with_long_ticks_leases_are_taken_back_at_once(
    spied: SpiedStore, backdate: Backdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = spied.as_store, 1000.0
    monkeypatch.setattr(lease_reaper.time, "monotonic", lambda: now)
    reaper = LeaseReaper(store, StoreClock(), 10 * SECOND)
    await added(store, a_draft())
    one = await claimed_one(store)
    reaper.hear(await ticks(spied))
    backdate.lease(one.job, by=HOUR)
    now += 10
    reaper.hear(await ticks(spied))
    await reaper.step()
    assert (await read(store, one)).state is State.WAITING
