"""Jobs of one key: the next one waits for the one that runs; and several servers at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from tocsin_server.domain.commands import HoldJob, RetryJob, UpdateJob
from tocsin_server.domain.conditions import Collapse, CollapseMode, Conditions
from tocsin_server.domain.job import Kept, New, OnConflict, Replaced, View
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    HOUR,
    NOW,
    SECOND,
    a_draft,
    a_job,
    cancelled,
    claimed,
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    good,
    placed,
    read,
    released,
)
from contract.keyed_jobs import (
    DEBOUNCE,
    KEEP,
    REPLACE,
    RUN_AGAIN_AFTER,
    THROTTLE,
    begun,
    body_of,
    did,
    keyed,
    passed,
    states,
)
from contract.providers import Provider

# --- run again after ---

End = Callable[[JobStore, Claimed], Awaitable[object]]


async def _cancel(store: JobStore, one: Claimed) -> None:
    await cancelled(store, one.job)
    await finished(store, failed(one, retry_in=HOUR))


async def _retried(store: JobStore, one: Claimed) -> None:
    await finished(store, failed(one, retry_in=NOW))
    assert (await read(store, "b")).state is State.BLOCKED
    await finished(store, completed(await claimed_one(store)))


async def _delete_at_retry(store: JobStore, one: Claimed) -> None:
    await finished(store, failed(one, retry_in=HOUR))
    assert (await read(store, "b")).state is State.BLOCKED
    await store.delete("q", [one.job.job_id], ended_only=False)


async def _cancel_at_retry(store: JobStore, one: Claimed) -> None:
    await finished(store, failed(one, retry_in=HOUR))
    await cancelled(store, one.job)


async def _replaced_by_another_key(store: JobStore, one: Claimed) -> None:
    await finished(store, failed(one, retry_in=HOUR))
    await store.add([a_draft("a", when=HOUR, on_conflict=OnConflict.REPLACE)])


async def _crash(store: JobStore, one: Claimed) -> None:
    for _ in range(2):
        await finished(store, crashed(one))
        one = await claimed_one(store)
    assert (await read(store, "b")).state is State.BLOCKED
    await finished(store, crashed(one))


ENDS: dict[str, End] = {
    "completed": lambda store, one: finished(store, completed(one)),
    "failed": lambda store, one: finished(store, failed(one)),
    "cancelled": _cancel,
    "poison": _crash,
    "after a retry": _retried,
    "deleted before its retry": _delete_at_retry,
    "cancelled before its retry": _cancel_at_retry,
    "become another": _replaced_by_another_key,
}


@pytest.mark.parametrize("how", ENDS)
async def test_the_next_is_let_go_when_the_one_before_has_ended(store: JobStore, how: str) -> None:
    one = await begun(store, keyed(RUN_AGAIN_AFTER, "a", body=b"1"))
    assert await did(store, keyed(RUN_AGAIN_AFTER, "b", body=b"2")) == (New, "b")
    job = await read(store, "b")
    assert (job.state, job.revision) == (State.BLOCKED, 1)
    assert await did(store, keyed(RUN_AGAIN_AFTER, "c", body=b"3")) == (Replaced, "b")
    assert (await read(store, "b", View.BASIC)).state is State.BLOCKED
    assert not await claimed(store)
    cursor, wakes = await store.cursor("q"), (await store.ticks(["q"]))["q"].wakes
    await ENDS[how](store, one)
    job = await read(store, "b")
    assert job.state is State.WAITING
    assert (await store.ticks(["q"]))["q"].wakes > wakes
    batch = await store.events("q", cursor, wait=SECOND)
    told = [event.job.state for event in batch.events if event.job.job_id == "b"]
    assert told == [State.WAITING]
    one = await claimed_one(store)
    assert (one.job.job_id, await body_of(store, "b")) == ("b", b"3")
    assert await did(store, keyed(RUN_AGAIN_AFTER, "d")) == (New, "d")
    await finished(store, completed(one))
    assert (await read(store, "d")).state is State.WAITING


async def test_the_next_is_let_go_when_the_lease_of_the_one_before_is_lost(movable: JobStore) -> None:
    one = await begun(movable, keyed(RUN_AGAIN_AFTER, "a"))
    await did(movable, keyed(RUN_AGAIN_AFTER, "b"))
    await cancelled(movable, one.job)
    await passed(movable, HOUR)
    await movable.reap("q")
    assert (await read(movable, "b")).state is State.WAITING


async def test_one_that_waits_on_is_not_counted_as_trimmed(movable: JobStore) -> None:
    await begun(movable, keyed(RUN_AGAIN_AFTER, "a"))
    await did(movable, keyed(RUN_AGAIN_AFTER, "b"))
    await passed(movable, HOUR)
    assert await movable.trim("q", completed_max=100, failed_max=100) == 0
    assert (await read(movable, "b")).state is State.BLOCKED


async def test_what_is_given_back_holds_its_key(store: JobStore) -> None:
    one = await begun(store, keyed(RUN_AGAIN_AFTER, "a"))
    await did(store, keyed(RUN_AGAIN_AFTER, "b"))
    await finished(store, released(one))
    assert [found.job.job_id for found in await claimed(store)] == ["a"]


async def test_one_that_has_not_begun_becomes_the_newest(store: JobStore) -> None:
    await did(store, keyed(RUN_AGAIN_AFTER, "a", when=HOUR))
    assert await did(store, keyed(RUN_AGAIN_AFTER, "b", body=b"2")) == (Replaced, "a")
    assert await states(store) == {State.WAITING: 1}


async def test_the_next_keeps_its_own_time(movable: JobStore) -> None:
    one = await begun(movable, keyed(RUN_AGAIN_AFTER, "a"))
    await did(movable, keyed(RUN_AGAIN_AFTER, "b", when=HOUR))
    await finished(movable, completed(one))
    assert (await read(movable, "b")).state is State.SCHEDULED
    await passed(movable, HOUR)
    assert (await claimed_one(movable)).job.job_id == "b"


async def test_the_next_can_be_cancelled_held_and_changed(store: JobStore) -> None:
    one = await begun(store, keyed(RUN_AGAIN_AFTER, "a"))
    await did(store, keyed(RUN_AGAIN_AFTER, "b"))
    await cancelled(store, await read(store, "b"))
    assert await did(store, keyed(RUN_AGAIN_AFTER, "c")) == (New, "c")
    await store.update("q", [HoldJob("c"), UpdateJob("c", priority=7)])
    assert await did(store, keyed(RUN_AGAIN_AFTER, "d", priority=8)) == (Replaced, "c")
    await finished(store, completed(one))
    job = await read(store, "c")
    assert (job.state, job.held, job.spec.priority) == (State.WAITING, True, 8)


async def test_the_next_under_its_own_id_goes_on_waiting(store: JobStore) -> None:
    one = await begun(store, keyed(RUN_AGAIN_AFTER, "a"))
    await did(store, keyed(RUN_AGAIN_AFTER, "b"))
    again = keyed(RUN_AGAIN_AFTER, "b", body=b"2", on_conflict=OnConflict.REPLACE)
    assert await did(store, again) == (Replaced, "b")
    assert (await read(store, "b")).state is State.BLOCKED
    await finished(store, completed(one))
    assert (await read(store, "b")).state is State.WAITING


async def test_an_ended_job_that_is_tried_again_has_its_key_again(store: JobStore) -> None:
    await finished(store, failed(await begun(store, keyed(KEEP, "a"))))
    await store.update("q", [RetryJob("a")])
    assert await did(store, keyed(KEEP)) == (Kept, "a")


# --- several servers ---


@pytest.fixture
async def stores(provider: Provider) -> AsyncIterator[list[JobStore]]:
    """One for each of several servers."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(provider.store()) for _ in range(3)]


@pytest.mark.parametrize("mode", [KEEP, REPLACE, THROTTLE, DEBOUNCE, RUN_AGAIN_AFTER])
async def test_servers_that_are_asked_at_one_moment_make_one_job(stores: list[JobStore], mode: CollapseMode) -> None:
    window = HOUR if mode in (THROTTLE, DEBOUNCE) else NOW
    for key in "abc":
        answers = await asyncio.gather(
            *(store.add([keyed(mode, key=key, window=window)]) for store in stores for _ in range(3))
        )
        done = [good(one) for answer in answers for one in answer]
        made = [one for one in done if isinstance(one, New)]
        assert len(made) == 1
        others = [one.job.job_id for one in done if not isinstance(one, New)]
        assert others == [made[0].job_id] * 8
    assert sum((await states(stores[0])).values()) == 3


async def test_each_trigger_is_followed_by_a_run_that_begins_later(stores: list[JobStore]) -> None:
    """RUN_AGAIN_AFTER: what was triggered last is run last, and never two at once, whoever ends and triggers when."""
    runs: list[int] = []
    triggered = asyncio.Event()

    async def triggers(store: JobStore, first: int) -> None:
        for number in range(first, first + 6):
            good((await store.add([keyed(RUN_AGAIN_AFTER, body=b"%d" % number)]))[0])

    async def works(store: JobStore) -> None:
        while not triggered.is_set() or set(await states(store)) != {State.COMPLETED}:
            for one in await claimed(store):
                assert (await states(store))[State.ACTIVE] == 1
                runs.append(int(await body_of(store, one.job.job_id)))
                await finished(store, completed(one))

    workers = [asyncio.create_task(works(store)) for store in stores]
    await asyncio.gather(*(triggers(store, 100 * at) for at, store in enumerate(stores)))
    triggered.set()
    await asyncio.wait_for(asyncio.gather(*workers), 60)
    assert runs[-1] % 100 == 5
    assert 1 <= len(runs) <= 18


async def test_a_next_one_that_is_placed_without_the_one_before_is_let_go(movable: JobStore) -> None:
    conditions = Conditions(collapse=Collapse("k", RUN_AGAIN_AFTER))
    await placed(movable, a_job("a", State.BLOCKED, life={"attempt": 0}, conditions=conditions))
    await movable.trim("q", completed_max=100, failed_max=100)
    assert (await claimed_one(movable)).job.job_id == "a"
