"""JobStore.forget, and the quotas of queues and of jobs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.domain.errors import QuotaExceeded
from tocsin_server.domain.job import Kept, OnConflict, Replaced
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueFigures, QueueSettings, Tick
from tocsin_server.domain.quotas import Quotas
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    HOUR,
    LATER,
    NOW,
    STATES,
    a_draft,
    a_job,
    a_query,
    added,
    good,
    listed,
    outcomes,
    placed,
    refused,
    standing,
)
from contract.conftest import Contents
from contract.damaging import Damage
from contract.providers import Provider

DAYS = timedelta(days=30)


@pytest.mark.parametrize("state", STATES)
async def test_a_queue_in_which_a_job_stands_is_not_forgotten(store: JobStore, state: State) -> None:
    await standing(store, state, "a")
    assert await store.forget("q") is False
    assert await store.forget("q", unused_for=NOW) is False
    assert await store.queues() == ["q"]
    assert await listed(store, a_query()) == ["a"]


async def test_what_is_forgotten_leaves_nothing(store: JobStore, contents: Contents) -> None:
    await store.put_settings("other", QueueSettings(), paused=False)
    before = contents()
    await standing(store, State.COMPLETED, "a", tags={"k": "v"})
    await standing(store, State.FAILED, "b", type="u")
    limits = (Limit("l", LimitScope.QUEUE, max_active=1),)
    await store.put_settings("q", QueueSettings(completed_max=1, limits=limits), paused=True)
    await store.delete("q", ["a", "b"])
    assert await store.forget("q") is True
    assert await store.queues() == ["other"]
    assert await store.count_queues() == 1
    assert contents() == before
    figures = await store.figures("q")
    assert figures == QueueFigures(figures.now, {}, None, 0.0, 0.0)
    assert await store.ticks(["q"]) == {"q": Tick(0, None, None, None)}
    assert await store.settings(["q"]) == [QueueSettings()]


async def test_a_queue_that_never_was_is_gone_already(store: JobStore, contents: Contents) -> None:
    before = contents()
    assert await store.forget("never") is True
    assert contents() == before


async def test_a_forgotten_queue_begins_anew_and_watchers_are_told_of_a_gap(store: JobStore) -> None:
    await standing(store, State.CANCELLED, "a")
    cursor = await store.cursor("q")
    await store.delete("q", ["a"])
    assert await store.forget("q") is True
    await added(store, a_draft("a", when=HOUR))
    assert await store.queues() == ["q"]
    assert await listed(store, a_query()) == ["a"]
    assert (await store.events("q", cursor, wait=NOW)).gap


async def test_another_store_that_has_used_it_uses_it_anew(store: JobStore, provider: Provider) -> None:
    async with provider.store() as other:
        [job] = await added(other, a_draft(when=HOUR))
        await other.delete("q", [job.job_id], ended_only=False)
        assert await store.forget("q") is True
        await added(other, a_draft("b", when=HOUR))
        assert await store.queues() == ["q"]


async def test_unused_is_what_holds_nothing_says_nothing_and_did_not_change(store: JobStore) -> None:
    async def emptied(queue: str) -> None:
        [job] = await added(store, a_draft(queue=queue))
        await store.delete(queue, [job.job_id], ended_only=False)

    for name in ("used lately", "set", "paused", "noted", "unused"):
        await emptied(name.replace(" ", "-"))
    await store.put_settings("set", QueueSettings(failed_max=1), paused=False)
    await store.put_settings("paused", QueueSettings(), paused=True)
    await store.put_settings("unused", QueueSettings(failed_max=1), paused=True)
    await store.put_settings("unused", QueueSettings(), paused=False)
    assert await store.write_note("noted", "a", b"v", revision=0, until=LATER)
    assert await store.forget("used-lately", unused_for=DAYS) is False
    for name in ("set", "paused", "noted"):
        assert await store.forget(name, unused_for=-HOUR) is False, name
    assert await store.forget("unused", unused_for=-HOUR) is True
    assert await store.forget("set") is True
    assert await store.queues() == ["noted", "paused", "used-lately"]


async def test_of_a_queue_without_a_trace_of_its_last_use_the_time_counts_from_the_first_look(store: JobStore) -> None:
    await store.put_settings("q", QueueSettings(), paused=False)
    assert await store.forget("q", unused_for=HOUR) is False
    assert await store.forget("q", unused_for=HOUR) is False
    assert await store.queues() == ["q"]


async def test_a_queue_beyond_the_quota_is_refused_and_those_that_stand_are_used(provider: Provider) -> None:
    async with provider.store(quotas=Quotas(queues=2)) as store:
        await added(store, a_draft(queue="a"), a_draft(queue="b"))
        answers = await store.add([a_draft(queue="c"), a_draft(queue="a")])
        refused(answers[0], QuotaExceeded)
        good(answers[1])
        with pytest.raises(QuotaExceeded, match=r"quotas\.queues"):
            await store.add([a_draft(queue="d")])
        with pytest.raises(QuotaExceeded):
            await store.put_settings("d", QueueSettings(), paused=False)
        with pytest.raises(QuotaExceeded):
            await store.put([a_job(queue="d")], over=False)
        assert await store.queues() == ["a", "b"]
    async with provider.store(quotas=Quotas(queues=2)) as other:  # with no memory of its own
        await added(other, a_draft(queue="b"))
        await other.put_settings("a", QueueSettings(), paused=False)
        with pytest.raises(QuotaExceeded):
            await other.add([a_draft(queue="c")])


async def test_a_name_that_was_lost_comes_back_beyond_the_quota(provider: Provider, damage: Damage) -> None:
    async with provider.store(quotas=Quotas(queues=2)) as store:
        await added(store, a_draft(queue="a"), a_draft(queue="b"))
        damage.lose_name("a")
        await added(store, a_draft(queue="c"))
        while not (await store.check()).done:
            pass
        assert await store.queues() == ["a", "b", "c"]


async def test_a_job_beyond_the_quota_is_refused_and_what_stands_may_be_replaced(provider: Provider) -> None:
    async with provider.store(quotas=Quotas(jobs=3)) as store:
        await added(store, a_draft("a"), a_draft("b"))
        answers = await store.add([a_draft("c"), a_draft("d"), a_draft(), a_draft(queue="r")])
        good(answers[0])
        assert "quotas.jobs_per_queue" in str(refused(answers[1], QuotaExceeded))
        refused(answers[2], QuotaExceeded)
        good(answers[3])
        assert await outcomes(store, a_draft("a", on_conflict=OnConflict.REPLACE)) == [Replaced]
        assert await outcomes(store, a_draft("b", on_conflict=OnConflict.KEEP)) == [Kept]
        [answer] = await store.put([a_job("e")], over=False)
        refused(answer, QuotaExceeded)
        assert [one.name for one in await placed(store, a_job("a"), over=True)] == ["REPLACED"]
        assert sorted(await listed(store, a_query())) == ["a", "b", "c"]


async def test_a_type_without_jobs_makes_room_for_another(store: JobStore) -> None:
    jobs = await added(store, *(a_draft(type=f"t{number}") for number in range(1000)))
    refused((await store.add([a_draft(type="one more")]))[0], QuotaExceeded)
    await store.delete("q", [jobs[0].job_id], ended_only=False)
    good((await store.add([a_draft(type="one more")]))[0])
