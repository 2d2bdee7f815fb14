"""JobStore.check: what was spoiled of what leads to jobs is right again after a pass or two; the jobs are as before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tocsin_server.domain.commands import RunJob
from tocsin_server.domain.filters import Order
from tocsin_server.domain.job import New, View
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    LATER,
    STATES,
    a_draft,
    a_query,
    added,
    claimed,
    completed,
    finished,
    listed,
    outcomes,
    read,
    standing,
)
from contract.conftest import Contents
from contract.damaging import Damage
from contract.providers import Provider

TAGS = {"k": "v"}
Spoil = Callable[[Damage], None]
SPOIL: dict[str, Spoil] = {
    "name": lambda damage: damage.lose_name("q"),
    "lists": lambda damage: damage.lose_lists("q"),
    "counters": lambda damage: damage.miscount("q"),
    "ids": lambda damage: damage.lose_ids("q"),
    "clock": lambda damage: damage.lose_clock("q"),
    "head": lambda damage: damage.lose_head("q"),
}


async def a_full_house(store: JobStore) -> None:
    """A job in each state, named for it, and one with an id of the store's making."""
    for state in (*(one for one in STATES if one is not State.WAITING), State.WAITING):
        await standing(store, state, state.name, tags=TAGS, **({"type": "u"} if state is State.ACTIVE else {}))
    await added(store, a_draft(when=LATER))


async def a_pass(store: JobStore) -> Mapping[str, int]:
    """All that stands is looked at once; what was mended."""
    mended: dict[str, int] = {}
    for _ in range(10_000):
        checked = await store.check()
        for what, number in checked.mended.items():
            mended[what] = mended.get(what, 0) + number
        if checked.done:
            return mended
    raise AssertionError("it never comes to the end")


async def mended(store: JobStore) -> None:
    """After two passes; a third finds nothing."""
    await a_pass(store)
    await a_pass(store)
    assert await a_pass(store) == {}


async def shown(store: JobStore) -> dict[str, Any]:
    """What users see of the queue."""
    tick = (await store.ticks(["q"]))["q"]
    by_id = await store.get("q", [state.name for state in STATES], View.FULL)
    return {
        "names": await store.queues(),
        "counts": (await store.figures("q")).counts,
        "clock": (tick.next_due, tick.next_lease_end, tick.next_expiry, tick.waiting),
        "by id": by_id,
        "newest": await listed(store, a_query()),
        "soonest": await listed(store, a_query(states=frozenset({State.SCHEDULED}), order=Order.SOONEST)),
        "by tag": await listed(store, a_query(tags=TAGS)),
        **{state.name: await listed(store, a_query(states=frozenset({state}))) for state in STATES},
    }


async def test_where_all_fits_nothing_is_mended_or_written(store: JobStore, contents: Contents) -> None:
    await a_full_house(store)
    await store.put_settings("settings only", QueueSettings(completed_max=1), paused=True)
    before = contents()
    assert await a_pass(store) == {}
    assert await a_pass(store) == {}
    assert contents() == before


async def test_an_empty_store_has_nothing_to_check(store: JobStore) -> None:
    assert await a_pass(store) == {}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL.keys())
async def test_what_was_lost_is_made_anew_from_the_jobs(
    provider: Provider, store: JobStore, damage: Damage, spoil: Spoil
) -> None:
    await a_full_house(store)
    before = await shown(store)
    spoil(damage)
    async with provider.store() as other:  # it has no memory of how things were
        await mended(other)
        assert await shown(other) == before
    [again] = await outcomes(store, a_draft("one more"))
    assert again is New
    assert "one more" in await listed(store, a_query())
    assert len(await listed(store, a_query())) == len(before["newest"]) + 1


@pytest.mark.parametrize("state", STATES)
async def test_a_job_that_nothing_led_to_goes_its_way_again(
    store: JobStore, damage: Damage, backdate: Backdate, state: State
) -> None:
    await a_full_house(store)
    job = await read(store, state.name)
    damage.misplace(job)
    await mended(store)
    match state:
        case State.SCHEDULED:
            await store.update("q", [RunJob(job.job_id)])
            assert job.job_id in [one.job.job_id for one in await claimed(store)]
        case State.WAITING:
            assert (await store.ticks(["q"]))["q"].waiting
            assert [one.job.job_id for one in await claimed(store)] == [job.job_id]
        case State.ACTIVE:
            backdate.lease(job, by=HOUR)
            assert len(await store.reap("q")) == 1
            assert (await read(store, job)).state is State.WAITING
        case _:
            backdate.end(job, by=31 * 24 * HOUR)
            assert await store.trim("q", completed_max=100, failed_max=100) == 1
            assert await store.get("q", [job.job_id], View.BASIC) == [None]


@pytest.mark.parametrize("state", STATES)
async def test_what_led_to_a_job_that_is_gone_goes_too(store: JobStore, damage: Damage, state: State) -> None:
    await a_full_house(store)
    before = (await store.figures("q")).counts
    damage.lose_record(await read(store, state.name))
    await mended(store)
    assert (await store.figures("q")).counts == {one: types for one, types in _without(before, state).items() if types}
    assert state.name not in await listed(store, a_query())
    assert state.name not in await listed(store, a_query(tags=TAGS))
    tick = (await store.ticks(["q"]))["q"]
    assert tick.waiting is (state is not State.WAITING)
    assert (tick.next_lease_end is None) is (state is State.ACTIVE)
    [outcome] = await outcomes(store, a_draft(state.name, when=HOUR))
    assert outcome is New


def _without(counts: Mapping[State, Mapping[str, int]], state: State) -> dict[State, dict[str, int]]:
    """One job less in the state."""
    type_ = "u" if state is State.ACTIVE else "t"
    left = {one: dict(types) for one, types in counts.items()}
    left[state][type_] -= 1
    if not left[state][type_]:
        del left[state][type_]
    return left


async def test_others_may_use_the_store_meanwhile(store: JobStore) -> None:
    await added(store, *(a_draft(f"{number}", tags=TAGS) for number in range(120)))
    for _ in range(12):
        checked = await store.check()
        assert checked.mended == {}
        ones = await claimed(store, 10)
        await finished(store, *map(completed, ones))
    await mended(store)
    assert dict((await store.figures("q")).counts) == {State.COMPLETED: {"t": 120}}
