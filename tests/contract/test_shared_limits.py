"""Limits that several queues share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from support.eventually import until_async
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.queue_limits import Limit, LimitScope, Rate
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.shared_limits import SharedLimit, SharedLimitState
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore
from tocsin_server.store.shared_book import Book

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    a_draft,
    a_request,
    added,
    claimed,
    completed,
    crashed,
    failed,
    finished,
    released,
)
from contract.providers import Provider


@pytest.fixture
async def other(provider: Provider) -> AsyncIterator[JobStore]:
    """Another handle on the same store, as another server has it."""
    async with provider.store() as store:
        yield store


def a_limit(
    max_active: int | None = 2, queues: Sequence[str] = ("a", "b"), rate: Rate | None = None, name: str = "l"
) -> SharedLimit:
    return SharedLimit(name, tuple(queues), max_active, rate)


async def filled(store: JobStore, *queues: str, jobs: int = 5) -> None:
    await added(store, *(a_draft(queue=queue) for _ in range(jobs) for queue in queues))


async def come(store: JobStore, number: int, queue: str, *, settling: bool = False) -> list[Claimed]:
    """So many jobs are leased: a place may be kept a moment for another queue. settling: the chore runs meanwhile."""
    found: list[Claimed] = []

    async def enough() -> bool:
        if settling:
            await store.shared.settle()
        found.extend(await claimed(store, number - len(found), queue=queue))
        return len(found) == number

    await until_async(enough, within=5)
    return found


async def active(store: JobStore) -> int:
    """Places that the one limit says are taken."""
    [state] = await store.shared.shared_limits()
    return state.total


async def settled(store: JobStore) -> None:
    """As the chore does it, until it had its turn."""

    async def checked() -> int:
        said, _, _ = await store.shared._places.read_shared()  # type: ignore[attr-defined]
        return Book(said).checked

    before = await checked()

    async def looked() -> bool:
        await store.shared.settle()
        return await checked() != before

    await until_async(looked, within=5)


async def test_a_shared_limit_is_read_as_it_was_put_and_goes_with_a_delete(store: JobStore, other: JobStore) -> None:
    one, two = a_limit(), a_limit(None, ["b"], Rate(10, MINUTE, 3), "m")
    await store.shared.put_shared_limit(two)
    await store.shared.put_shared_limit(one)
    assert await other.shared.shared_limits() == [SharedLimitState(one, {}), SharedLimitState(two, {})]
    assert [state.limit for state in await other.shared.limits_of("a")] == [one]
    assert [state.limit for state in await other.shared.shared_limits(["m", "n"])] == [two]
    assert await other.shared.delete_shared_limit("l")
    assert not await other.shared.delete_shared_limit("l")
    assert [state.limit for state in await store.shared.shared_limits()] == [two]


async def test_no_more_run_at_once_in_all_its_queues(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(3))
    await filled(store, "a", "b", "c")
    await come(store, 2, "a")
    [one] = await come(store, 1, "b")
    assert await claimed(store, queue="a") == []
    assert await claimed(store, queue="b") == []
    await come(store, 5, "c"), "it is in no shared limit"
    await finished(store, completed(one))
    await come(store, 1, "b")


async def test_a_limit_that_is_put_while_jobs_run_counts_them(store: JobStore, other: JobStore) -> None:
    await filled(store, "a", "b")
    running = await claimed(store, 3, queue="a")
    await other.shared.put_shared_limit(a_limit(2))
    assert await claimed(store, queue="b") == []
    assert await claimed(store, queue="a") == []
    await finished(store, *map(completed, running))
    await come(store, 2, "b")


async def test_raising_lets_more_begin_lowering_stops_nothing_and_deleting_lets_all_begin(
    store: JobStore, other: JobStore
) -> None:
    await store.shared.put_shared_limit(a_limit(2))
    await filled(store, "a", "b")
    running = await claimed(store, queue="a")
    await other.shared.put_shared_limit(a_limit(3))
    running += await come(store, 1, "b")
    await other.shared.put_shared_limit(a_limit(1))
    await finished(store, *map(completed, running[:2]))
    assert await claimed(store, queue="b") == []
    await finished(store, completed(running[2]))
    await come(store, 1, "b")
    await other.shared.delete_shared_limit("l")
    await come(store, 3, "b")
    await come(store, 3, "a")


async def test_a_queue_that_leaves_is_free_and_one_that_joins_counts(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b", "c")
    await come(store, 1, "a")
    await claimed(store, 2, queue="c")
    await store.shared.put_shared_limit(a_limit(1, ["b", "c"]))
    await come(store, 4, "a")
    assert await claimed(store, queue="b") == []
    assert await active(store) == 2


async def test_a_queue_of_several_limits_needs_a_place_in_each(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(3, ["a", "b"]))
    await store.shared.put_shared_limit(a_limit(2, ["b", "c"], name="m"))
    await filled(store, "a", "b", "c")
    await come(store, 2, "b")
    await come(store, 1, "a")
    assert await claimed(store, queue="c") == []


async def test_a_queues_own_limits_hold_beside_it(store: JobStore) -> None:
    own = Limit("own", LimitScope.QUEUE, max_active=1)
    await store.put_settings("a", QueueSettings(limits=(own,)), paused=False)
    await store.shared.put_shared_limit(a_limit(3))
    await filled(store, "a", "b")
    await come(store, 1, "a")
    await come(store, 2, "b"), "what a claim did not use was given back"
    await store.put_settings("a", QueueSettings(), paused=False)
    assert await claimed(store, queue="a") == []
    await store.shared.delete_shared_limit("l")
    await come(store, 4, "a")


@pytest.mark.parametrize("end", [completed, failed, crashed, released])
async def test_each_end_gives_the_place_back(store: JobStore, end: object) -> None:
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b", jobs=1)
    [one] = await claimed(store, queue="a")
    await finished(store, end(one))  # type: ignore[operator]
    await come(store, 1, "b")


async def test_a_lease_that_ran_out_holds_its_place_until_it_is_taken_back(
    store: JobStore, other: JobStore, backdate: Backdate
) -> None:
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b", jobs=1)
    [one] = await claimed(store, queue="a", lease=MINUTE)
    backdate.lease(one.job, by=2 * MINUTE)
    assert await claimed(store, queue="b") == []
    await other.reap("a")
    await come(store, 1, "b", settling=True)


async def test_what_ended_and_was_not_told_is_found(store: JobStore, other: JobStore) -> None:
    """Its server died after it recorded the end."""
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b", jobs=1)
    [one] = await claimed(store, queue="a")
    await finished(other, completed(one))  # a handle that never heard of the limit tells nobody
    assert await claimed(store, queue="b") == []
    await come(store, 1, "b", settling=True)


async def test_an_extended_lease_keeps_its_place_however_often_anybody_looks(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b", jobs=1)
    await claimed(store, queue="a", lease=HOUR)
    for _ in range(2):
        await settled(store)
        assert await claimed(store, queue="b") == []


async def test_a_claim_that_is_asked_again_finds_what_it_leased_though_the_limit_is_full(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b")
    request = a_request()
    first = await store.claim("a", {"t": 5}, 5, lease=MINUTE, request=request)
    again = await store.claim("a", {"t": 5}, 5, lease=MINUTE, request=request, repeated=True)
    assert [one.lease for one in again.claimed] == [one.lease for one in first.claimed]
    assert len(again.claimed) == 1
    other = await store.claim("b", {"t": 5}, 5, lease=MINUTE, request=a_request(), repeated=True)
    assert other.claimed == ()


async def test_a_rate_lets_so_many_begin_over_all_queues_and_says_when_the_next_may(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(None, rate=Rate(60, HOUR, burst=2)))
    await filled(store, "a", "b")
    await come(store, 1, "a")
    await come(store, 1, "b")
    assert await claimed(store, queue="a") == []
    tick = (await store.ticks(["a"]))["a"]
    now = await store.ping()
    assert tick.next_start is not None
    assert timedelta(seconds=50) < tick.next_start - now <= MINUTE
    [state] = await store.shared.shared_limits()
    assert state.time == tick.next_start


async def test_a_rate_goes_on_at_its_time(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(None, rate=Rate(1, timedelta(milliseconds=300))))
    await filled(store, "a", "b")
    await come(store, 1, "a")
    assert await claimed(store, queue="b") == []
    await come(store, 1, "b")


async def test_what_a_claim_did_not_use_of_a_rate_goes_back(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(None, rate=Rate(10, HOUR, burst=10)))
    await filled(store, "a", jobs=1)
    await come(store, 1, "a")
    await filled(store, "b", jobs=20)
    await come(store, 9, "b")


async def test_who_waits_is_rung_when_a_place_is_free(store: JobStore, other: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b", jobs=1)
    [one] = await claimed(store, queue="a")
    assert await claimed(other, queue="b") == []
    listening, rung = asyncio.Event(), asyncio.Event()

    async def listen() -> None:
        async for wake in other.wakes():
            if wake.missed:
                listening.set()
            elif wake.queue == "b" and wake.due is None and not (wake.settings or wake.cancels):
                rung.set()

    task = asyncio.create_task(listen())
    async with asyncio.timeout(10):
        await listening.wait()
        rung.clear()
        await finished(store, completed(one))
        await rung.wait()
    task.cancel()
    await come(other, 1, "b")


async def test_queues_that_wait_take_turns(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b", jobs=4)
    [one] = await claimed(store, queue="a")
    served = []
    for _ in range(6):
        for queue in "ab":
            assert await claimed(store, queue=queue) == []
        await finished(store, completed(one))
        for queue in "ab":
            if found := await claimed(store, queue=queue):
                served.append(queue)
                [one] = found
                break
    assert served.count("a") == served.count("b") == 3, served


async def test_never_more_run_than_may_though_handles_claim_at_once(provider: Provider) -> None:
    queues = ("a", "b", "c")
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(provider.store()) for _ in range(3)]
        await stores[0].shared.put_shared_limit(a_limit(4, queues))
        await filled(stores[0], *queues, jobs=40 // provider.slowness + 5)
        left, running, most = 3 * (40 // provider.slowness + 5), 0, 0

        async def work(store: JobStore, seed: int) -> None:
            nonlocal left, running, most
            random_ = random.Random(seed)
            while left:
                queue = random_.choice(queues)
                found = await claimed(store, random_.randint(1, 3), queue=queue)
                running += len(found)
                most = max(most, running)
                for _ in range(random_.randint(0, 9)):
                    await asyncio.sleep(0)
                # Counted before the store knows: so it is never less than what runs there by its own word.
                running -= len(found)
                left -= len(found)
                await finished(random_.choice(stores), *map(completed, found))
                await store.shared.settle()

        async with asyncio.timeout(60):
            await asyncio.gather(*(work(store, seed) for seed, store in enumerate(stores * 2)))
        assert 1 < most <= 4


async def test_a_queue_in_a_shared_limit_is_not_forgotten(store: JobStore) -> None:
    await store.shared.put_shared_limit(a_limit())
    assert not await store.forget("a")
    await store.shared.delete_shared_limit("l")
    assert await store.forget("a")


async def test_a_handle_that_claims_and_dies_before_it_used_its_places_leaks_none(
    store: JobStore, other: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b")
    places = store.shared._places  # type: ignore[attr-defined]
    late: list[object] = []

    async def die(*arguments: object, **words: object) -> object:
        late.append((arguments, words))
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(places, "claim_granted", die)
        with pytest.raises(asyncio.CancelledError):
            await claimed(store, queue="a")
    if len(late) == 1 and late[0][1]["granted"] is None:  # type: ignore[index]
        pytest.fail("it had no grant yet")
    assert await claimed(other, queue="b") == []
    [one] = await come(other, 1, "b", settling=True)
    # What was about to be used comes after all: its queue refuses it.
    (arguments, words) = late[-1]  # type: ignore[misc]
    await places.claim_granted(*arguments, **words)
    assert (await store.figures("a")).total(State.ACTIVE) == 0
    assert await claimed(store, queue="a") == []
    await finished(other, completed(one))
    await come(other, 1, "a")


async def test_a_handle_that_dies_after_it_leased_and_before_it_said_so_leaks_none(
    store: JobStore, other: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.shared.put_shared_limit(a_limit(3))
    await filled(store, "a", "b", jobs=2)
    with monkeypatch.context() as patch:
        patch.setattr(store.shared, "_claimed", lambda queue, taken, limit, claim, word: claim)
        leased = await claimed(store, queue="a")
    assert len(leased) == 2
    assert await claimed(other, queue="b") == [], "what it took is held until the queue was asked"
    await come(other, 1, "b", settling=True)
    assert await active(other) == 3


async def test_a_put_that_dies_before_its_queues_know_is_ended_by_a_claim(
    store: JobStore, other: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store, "a", "b")
    await claimed(store, 1, queue="a")

    async def die(queues: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(store.shared, "_join", die)
        with pytest.raises(asyncio.CancelledError):
            await store.shared.put_shared_limit(a_limit(1))
    await settled(other)
    assert await claimed(other, queue="b") == []
    assert await active(other) == 1


async def test_a_delete_that_dies_before_its_queues_know_is_ended_by_a_claim(
    store: JobStore, other: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.shared.put_shared_limit(a_limit(1))
    await filled(store, "a", "b")

    async def die(queues: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(store.shared, "_leave", die)
        with pytest.raises(asyncio.CancelledError):
            await store.shared.delete_shared_limit("l")
    await come(other, 5, "a")
    assert await other.forget("b") is False
    await come(other, 5, "b")
