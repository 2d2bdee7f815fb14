"""JobStore.ticks and JobStore.wakes: how a dispatcher learns that there is something to do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from support.eventually import until_async
from tocsin_server.domain.commands import RetryJob, RunJob, UpdateJob
from tocsin_server.domain.job import OnConflict, Retention
from tocsin_server.domain.queues import QueueSettings, Tick
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore, Wake

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    LATER,
    MINUTE,
    NOW,
    SECOND,
    End,
    a_draft,
    added,
    cancelled,
    claimed,
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    read,
    released,
    standing,
    wish,
)
from contract.conftest import Contents
from contract.providers import Provider

NUDGES = "nudges"
_nudges = itertools.count(1)


async def tick(store: JobStore, queue: str = "q") -> Tick:
    return (await store.ticks([queue]))[queue]


async def test_a_queue_that_was_never_used_has_an_empty_tick(store: JobStore, contents: Contents) -> None:
    before = contents()
    assert await store.ticks(["never", "q"]) == {name: Tick(0, None, None, None) for name in ("never", "q")}
    assert await store.ticks([]) == {}
    assert contents() == before


async def test_each_queue_has_a_tick_of_its_own(store: JobStore) -> None:
    await added(store, a_draft(queue="one", when=LATER), a_draft(queue="two"))
    ticks = await store.ticks(["two", "one", "never"])
    assert (ticks["one"].wakes, ticks["one"].next_due) == (0, LATER)
    assert ticks["two"].wakes > 0
    assert ticks["two"].next_due is None
    assert ticks["never"] == Tick(0, None, None, None)


async def test_next_due_is_the_earliest_of_the_scheduled(store: JobStore) -> None:
    await added(store, *(a_draft(f"{i}", when=LATER + i * SECOND) for i in (5, 3, 8)))
    assert (await tick(store)).next_due == LATER + 3 * SECOND
    await added(store, a_draft("sooner", when=LATER))
    assert (await tick(store)).next_due == LATER
    await store.cancel("q", [wish("sooner")])
    assert (await tick(store)).next_due == LATER + 3 * SECOND
    await store.update("q", [RunJob("3")])
    assert (await tick(store)).next_due == LATER + 5 * SECOND
    await store.update("q", [UpdateJob("5", when=LATER + HOUR)])
    assert (await tick(store)).next_due == LATER + 8 * SECOND
    await store.delete("q", ["8"], ended_only=False)
    assert (await tick(store)).next_due == LATER + HOUR
    await added(store, a_draft("5", on_conflict=OnConflict.REPLACE))
    assert (await tick(store)).next_due is None


async def test_a_failed_attempt_sets_the_next_due_time(store: JobStore) -> None:
    await added(store, a_draft("a"))
    await finished(store, failed(await claimed_one(store), HOUR))
    assert (await tick(store)).next_due == (await read(store, "a")).schedule_time


async def test_next_lease_end_is_the_earliest_of_the_active(store: JobStore) -> None:
    await added(store, a_draft(), a_draft())
    long, short = await claimed_one(store, lease=HOUR), await claimed_one(store, lease=MINUTE)
    assert short.job.start_time is not None
    assert long.job.start_time is not None
    assert (await tick(store)).next_lease_end == short.job.start_time + MINUTE
    await finished(store, completed(short))
    assert (await tick(store)).next_lease_end == long.job.start_time + HOUR
    await finished(store, released(long))
    assert (await tick(store)).next_lease_end is None


async def test_next_expiry_is_the_earliest_end_of_retention(store: JobStore) -> None:
    [day, hour] = [Retention(24 * HOUR, HOUR), Retention(HOUR, 24 * HOUR)]
    done, _ = await standing(store, State.COMPLETED, "done", retention=day)
    assert done.end_time is not None
    assert (await tick(store)).next_expiry == done.end_time + 24 * HOUR
    dead, _ = await standing(store, State.FAILED, "dead", retention=day)
    assert dead.end_time is not None
    assert (await tick(store)).next_expiry == dead.end_time + HOUR
    dropped, _ = await standing(store, State.CANCELLED, "dropped", retention=hour)
    assert dropped.end_time is not None
    await store.delete("q", ["dead"])
    assert (await tick(store)).next_expiry == dropped.end_time + HOUR
    await store.update("q", [RetryJob("dropped")])
    assert (await tick(store)).next_expiry == done.end_time + 24 * HOUR
    await store.delete("q", ["done"])
    assert (await tick(store)).next_expiry is None


Act = Callable[[JobStore, Backdate], Awaitable[object]]


async def _reap(store: JobStore, backdate: Backdate) -> None:
    backdate.lease(await read(store, "run"), by=HOUR)
    assert len(await store.reap("q")) == 1


async def _resume(store: JobStore, backdate: Backdate) -> None:
    await store.put_settings("q", QueueSettings(), paused=True)
    before = await tick(store)
    await store.put_settings("q", QueueSettings(), paused=False)
    assert (await tick(store)).wakes != before.wakes


async def _outcome(store: JobStore, name: str) -> None:
    ends: dict[str, End] = {"release": released, "crash": crashed, "fail": lambda one: failed(one, NOW)}
    [one] = await claimed(store, types=["ends"])
    await finished(store, ends[name](one))


MAKE_CLAIMABLE: dict[str, Act] = {
    "add": lambda store, _: added(store, a_draft()),
    "add of another type": lambda store, _: added(store, a_draft(type="other")),
    "replace in place": lambda store, _: added(store, a_draft("later", on_conflict=OnConflict.REPLACE)),
    "replace anew": lambda store, _: added(store, a_draft("done", on_conflict=OnConflict.REPLACE)),
    "run": lambda store, _: store.update("q", [RunJob("later")]),
    "retry": lambda store, _: store.update("q", [RetryJob("dead")]),
    "update": lambda store, _: store.update("q", [UpdateJob("later", when=NOW)]),
    "reap": _reap,
    "resume": _resume,
    "release": lambda store, _: _outcome(store, "release"),
    "crash": lambda store, _: _outcome(store, "crash"),
    "fail with no wait": lambda store, _: _outcome(store, "fail"),
}


async def a_full_house(store: JobStore) -> None:
    """A job in each state, and one of type "ends" that is due."""
    await standing(store, State.ACTIVE, "run", type="run")
    await standing(store, State.COMPLETED, "done")
    await standing(store, State.FAILED, "dead")
    await added(store, a_draft("later", when=HOUR), a_draft("ends", type="ends"))


@pytest.mark.parametrize("act", MAKE_CLAIMABLE.values(), ids=MAKE_CLAIMABLE.keys())
async def test_wakes_grows_when_a_job_becomes_claimable(store: JobStore, backdate: Backdate, act: Act) -> None:
    await a_full_house(store)
    before = await tick(store)
    await act(store, backdate)
    assert (await tick(store)).wakes > before.wakes


async def test_wakes_grows_when_jobs_come_due_in_a_claim_of_others(store: JobStore, backdate: Backdate) -> None:
    [job] = await added(store, a_draft("a", when=HOUR))
    before = await tick(store)
    backdate.due(job, by=2 * HOUR)
    assert await claimed(store, types=["other"]) == []
    after = await tick(store)
    assert (after.wakes > before.wakes, after.next_due) == (True, None)


async def test_wakes_stays_where_nothing_became_claimable(store: JobStore) -> None:
    await a_full_house(store)
    before = (await tick(store)).wakes
    await added(store, a_draft(when=HOUR), a_draft("later", on_conflict=OnConflict.KEEP))
    [one] = await claimed(store, types=["ends"])
    await finished(store, completed(one))
    await store.cancel("q", [wish("later"), wish("run")])
    await store.delete("q", ["done", "dead"])
    assert (await tick(store)).wakes == before


class Ear:
    """Hears a store's messages, but for those of the queue that shows that it hears at all."""

    def __init__(self, store: JobStore) -> None:
        self._messages: asyncio.Queue[Wake] = asyncio.Queue()
        self.deaf = True
        self.task = asyncio.create_task(self._listen(store))

    async def _listen(self, store: JobStore) -> None:
        async for wake in store.wakes():
            self.deaf = False
            if wake.queue != NUDGES:
                self._messages.put_nowait(wake)

    async def until(self, wanted: Callable[[Wake], bool]) -> Wake:
        """The first message that is wanted; the others are dropped."""
        async with asyncio.timeout(10):
            while True:
                wake = await self._messages.get()
                if wanted(wake):
                    return wake


@contextlib.asynccontextmanager
async def listening(store: JobStore) -> AsyncIterator[Ear]:
    """An ear that hears from now on."""
    ear = Ear(store)

    async def hears() -> bool:
        # Always another setting: one that stands already is no news.
        await store.put_settings(NUDGES, QueueSettings(completed_max=next(_nudges)), paused=False)
        return not ear.deaf

    try:
        await until_async(hears, within=10, what="a first message")
        yield ear
    finally:
        ear.task.cancel()
        await asyncio.wait([ear.task])


def claimable(wake: Wake) -> bool:
    return wake.queue == "q" and wake.due is None and not wake.cancels and not wake.settings


@pytest.mark.parametrize("act", MAKE_CLAIMABLE.values(), ids=MAKE_CLAIMABLE.keys())
async def test_a_job_that_becomes_claimable_is_announced(store: JobStore, backdate: Backdate, act: Act) -> None:
    await a_full_house(store)
    async with listening(store) as ear:
        await act(store, backdate)
        await ear.until(lambda wake: wake.queue == "q" and wake.due is None and not wake.cancels)


async def test_another_stores_jobs_are_heard(store: JobStore, provider: Provider) -> None:
    async with provider.store() as other, listening(other) as ear:
        await added(store, a_draft())
        await ear.until(claimable)


async def test_an_earlier_due_time_is_announced(store: JobStore) -> None:
    await added(store, a_draft("far", when=LATER))
    async with listening(store) as ear:
        await added(store, a_draft("near", when=LATER - HOUR))
        assert (await ear.until(lambda wake: wake.due is not None)).due == LATER - HOUR
        await store.update("q", [UpdateJob("far", when=LATER - 2 * HOUR)])
        assert (await ear.until(lambda wake: wake.due is not None)).due == LATER - 2 * HOUR


async def test_a_wish_to_cancel_a_running_job_is_announced(store: JobStore) -> None:
    await standing(store, State.ACTIVE, "a")
    async with listening(store) as ear:
        await cancelled(store, await read(store, "a"))
        assert (await ear.until(lambda wake: wake.cancels)).queue == "q"


async def test_changed_settings_are_announced(store: JobStore) -> None:
    await added(store, a_draft(when=HOUR))
    async with listening(store) as ear:
        await store.put_settings("q", QueueSettings(), paused=True)
        assert (await ear.until(lambda wake: wake.settings)).queue == "q"


async def test_a_new_queue_is_announced(store: JobStore) -> None:
    async with listening(store) as ear:
        await added(store, a_draft(queue="new", when=HOUR))
        assert (await ear.until(lambda wake: wake.settings)).queue == "new"


async def test_several_listeners_hear_everything(store: JobStore) -> None:
    async with listening(store) as one, listening(store) as two:
        await added(store, a_draft())
        assert await one.until(claimable) == await two.until(claimable) == Wake("q", None)


async def test_listening_ends_when_the_store_is_closed(provider: Provider) -> None:
    async with provider.store() as store, listening(store) as ear:
        await store.close()
        async with asyncio.timeout(10):
            await ear.task
