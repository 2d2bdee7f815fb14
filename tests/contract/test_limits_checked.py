"""JobStore.check, of a queue with limits."""

from __future__ import annotations

import pytest
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import HOUR, a_draft, added, claimed, failed, finished
from contract.conftest import Contents
from contract.damaging import Damage
from contract.test_check import a_pass, mended
from contract.test_limits import ids

ONE = Limit("l", LimitScope.KEY, max_active=1)


async def a_busy_queue(store: JobStore, *, fair: bool = False) -> None:
    """Of keys some run, some wait behind them, some wait for a retry."""
    await store.put_settings("q", QueueSettings(limits=(ONE,), fair_turns=fair), paused=False)
    await added(store, *(a_draft(f"{key}{i}", conditions=Conditions(key)) for i in range(3) for key in "abc"))
    a, _ = await claimed(store, 2)
    await finished(store, failed(a, HOUR))


@pytest.mark.parametrize("fair", [False, True])
async def test_where_all_fits_nothing_is_written(store: JobStore, contents: Contents, fair: bool) -> None:
    await a_busy_queue(store, fair=fair)
    before = contents()
    assert await a_pass(store) == {}
    assert contents() == before


@pytest.mark.parametrize("fair", [False, True])
async def test_rows_of_keys_that_nothing_leads_to_are_found_again(store: JobStore, damage: Damage, fair: bool) -> None:
    await a_busy_queue(store, fair=fair)
    damage.lose_filing("q")
    await mended(store)
    assert ids(await claimed(store)) == ["c0"]


async def test_a_key_that_had_its_turn_with_another_type_stands_as_it_should(store: JobStore) -> None:
    await store.put_settings("q", QueueSettings(fair_turns=True), paused=False)
    await added(store, a_draft(), a_draft(type="u"))
    assert len(await claimed(store, 1)) == 1
    assert await a_pass(store) == {}


async def test_a_retry_whose_lease_was_lost_has_its_place_as_it_should(store: JobStore, backdate: Backdate) -> None:
    await store.put_settings("q", QueueSettings(limits=(ONE,)), paused=False)
    await added(store, *(a_draft(name, conditions=Conditions("k")) for name in "ab"))
    [one] = await claimed(store)
    backdate.lease(one.job, by=HOUR)
    assert len(await store.reap("q")) == 1
    assert await a_pass(store) == {}
    assert ids(await claimed(store)) == ["a"]


async def test_a_queue_whose_limits_were_lost_runs_all_its_jobs(store: JobStore, damage: Damage) -> None:
    await a_busy_queue(store)
    damage.lose_head("q")
    await mended(store)
    assert len(await claimed(store)) == 6 + 1  # the retry is not due


async def test_a_place_that_nobody_has_is_given_back(store: JobStore, damage: Damage) -> None:
    await a_busy_queue(store)
    [c] = await claimed(store)
    damage.lose_record(c.job)
    await mended(store)
    assert ids(await claimed(store)) == ["c1"]
