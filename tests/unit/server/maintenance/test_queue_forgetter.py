"""A queue in which nothing stands is forgotten once it was unused for long enough; one that is used costs no call."""

from __future__ import annotations

from datetime import timedelta

from contract.builders import HOUR, NOW, a_draft, added
from redis import Redis
from support.spied_store import SpiedStore
from tocsin_server.maintenance.queue_forgetter import QueueForgetter
from tocsin_server.store.redis.keys import Keys

DAYS = timedelta(days=30)


async def emptied(spied: SpiedStore, queue: str) -> None:
    [job] = await added(spied.as_store, a_draft(queue=queue))
    await spied.as_store.delete(queue, [job.job_id], ended_only=False)


async def a_tick(spied: SpiedStore, forgetter: QueueForgetter) -> None:
    store = spied.as_store
    forgetter.hear(await store.ticks(await store.queues()))
    await forgetter.step()


async def test_a_queue_unused_for_its_time_is_forgotten(spied: SpiedStore, valkey_client: Redis) -> None:
    await emptied(spied, "q")
    forgetter = QueueForgetter(spied.as_store, unused_for=DAYS)
    await a_tick(spied, forgetter)
    assert await spied.as_store.queues() == ["q"]
    # Its last change was a month ago.
    minutes = f"{Keys('tests').root('q')}:o"
    [minute] = valkey_client.hkeys(minutes)
    valkey_client.delete(minutes)
    valkey_client.hset(minutes, str(int(minute) - 30 * 24 * 60 - 1), 1)
    later = QueueForgetter(spied.as_store, unused_for=DAYS)
    await a_tick(spied, later)
    assert await spied.as_store.queues() == []


async def test_one_is_looked_at_a_second_and_none_again_within_its_time(spied: SpiedStore) -> None:
    for name in ("a", "b", "c"):
        await emptied(spied, name)
    forgetter = QueueForgetter(spied.as_store, unused_for=DAYS)
    for _ in range(5):
        await a_tick(spied, forgetter)
    assert spied.calls["forget"] == 1
    alone = QueueForgetter(spied.as_store, unused_for=DAYS, look_every=HOUR, pause=NOW)
    for _ in range(5):
        await a_tick(spied, alone)
    assert spied.calls["forget"] == 4


async def test_a_queue_that_holds_anything_costs_no_call(spied: SpiedStore) -> None:
    await added(spied.as_store, a_draft(queue="due"), a_draft(queue="later", when=HOUR))
    forgetter = QueueForgetter(spied.as_store, unused_for=DAYS)
    for _ in range(3):
        await a_tick(spied, forgetter)
    assert spied.calls["forget"] == 0
