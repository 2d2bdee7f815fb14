"""Nothing that was acknowledged stands in a queue whose name is not among the queues', whatever the store has lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, a_draft, a_job, a_query, added, claimed_one, completed, finished, listed, placed
from contract.damaging import Damage
from contract.providers import Provider

Use = Callable[[JobStore], Awaitable[object]]
USES: dict[str, Use] = {
    "add": lambda store: added(store, a_draft(when=HOUR)),
    "put": lambda store: placed(store, a_job("b", State.SCHEDULED)),
    "put_settings": lambda store: store.put_settings("q", QueueSettings(completed_max=1), paused=False),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
async def test_a_queue_that_was_emptied_under_a_store_appears_again_with_its_next_use(
    provider: Provider, store: JobStore, use: Use
) -> None:
    await added(store, a_draft("a"), a_draft(queue="other"))
    provider.clear()
    await use(store)
    async with provider.store() as other:  # it has no memory of its own
        assert await other.queues() == ["q"]


async def test_a_name_that_is_lost_while_jobs_stand_is_back_after_the_names_were_read(
    provider: Provider, store: JobStore, damage: Damage
) -> None:
    await added(store, a_draft("a", when=HOUR), a_draft(queue="other"))
    await store.queues()
    damage.lose_name("q")
    await store.queues()
    await added(store, a_draft("b", when=HOUR))
    async with provider.store() as other:
        assert await other.queues() == ["other", "q"]
        assert await listed(other, a_query()) == ["b", "a"]


async def test_jobs_of_an_emptied_store_are_run_and_counted_as_any_others(provider: Provider, store: JobStore) -> None:
    await added(store, a_draft("before"), a_draft("waits", when=HOUR))
    await store.queues()
    provider.clear()
    await store.queues()
    await added(store, a_draft("after"))
    await finished(store, completed(await claimed_one(store)))
    figures = await store.figures("q")
    assert {state: dict(types) for state, types in figures.counts.items()} == {State.COMPLETED: {"t": 1}}
    assert await store.queues() == ["q"]
