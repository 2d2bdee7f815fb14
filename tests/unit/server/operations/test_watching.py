"""Watchers see each change once and in order, or are told that they missed some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import pytest
from contract.builders import HOUR, a_draft, added, cancelled
from support.eventually import until_async
from support.spied_store import SpiedStore
from tocsin_server.domain.commands import RunJob
from tocsin_server.domain.errors import Draining, InvalidFields, StoreAway, WatchAged
from tocsin_server.domain.events import Event, EventBatch
from tocsin_server.domain.job import Job
from tocsin_server.domain.job_errors import JobNotFound
from tocsin_server.domain.states import State
from tocsin_server.operations.watching import Gap, Start, Watching
from tocsin_server.store.interface import JobStore

ALL: frozenset[State] = frozenset()
ANY: frozenset[str] = frozenset()


@pytest.fixture
async def watching(spied: SpiedStore) -> AsyncIterator[Watching]:
    await added(spied.as_store, a_draft("before", when=HOUR))
    watching = Watching(spied.as_store)
    yield watching
    await watching.close()


async def taken(changes: AsyncIterator[Event | Gap | Start], many: int) -> list[Event | Gap | Start]:
    async with asyncio.timeout(5):
        return [await anext(changes) for _ in range(many)]


async def rest(changes: AsyncIterator[Event | Gap | Start]) -> list[Event | Gap | Start]:
    async with asyncio.timeout(5):
        return [change async for change in changes]


def ids(changes: list[Event | Gap | Start]) -> list[str]:
    return [change.job.job_id for change in changes if isinstance(change, Event)]


def states(changes: list[Event | Gap | Start]) -> list[State]:
    return [change.job.state for change in changes if isinstance(change, Event)]


async def scheduled(spied: SpiedStore, *job_ids: str, type: str = "t") -> list[Job]:
    return await added(spied.as_store, *(a_draft(job_id, when=HOUR, type=type) for job_id in job_ids))


async def sent(spied: SpiedStore, name: str) -> None:
    """Return once the store was asked."""

    async def asked() -> bool:
        return name in spied.arguments

    await until_async(asked, within=5)


# --- one job ---


async def test_a_job_is_shown_as_it_stands_then_each_change_until_its_end(
    spied: SpiedStore, watching: Watching
) -> None:
    [job] = await scheduled(spied, "a")
    async with watching.job("q", "a") as changes:
        await spied.as_store.update("q", [RunJob("a")])
        await scheduled(spied, "other")
        await cancelled(spied.as_store, job)
        assert states(await rest(changes)) == [State.SCHEDULED, State.WAITING, State.CANCELLED]


async def test_a_job_that_has_ended_is_shown_once(spied: SpiedStore, watching: Watching) -> None:
    [job] = await scheduled(spied, "a")
    await cancelled(spied.as_store, job)
    async with watching.job("q", "a") as changes:
        assert states(await rest(changes)) == [State.CANCELLED]


async def test_an_unknown_job_is_not_found(watching: Watching) -> None:
    with pytest.raises(JobNotFound):
        async with watching.job("q", "nobody"):
            pass


async def test_a_change_between_subscribing_and_reading_is_neither_lost_nor_doubled(
    spied: SpiedStore, watching: Watching
) -> None:
    [job] = await scheduled(spied, "a")
    gate = spied.gates["get"] = asyncio.Event()  # it is read, but the answer is on its way
    async with asyncio.TaskGroup() as group:

        async def watch() -> list[State]:
            async with watching.job("q", "a") as changes:
                return states(await rest(changes))

        seen = group.create_task(watch())
        await sent(spied, "get")
        await spied.as_store.update("q", [RunJob("a")])
        gate.set()
        await cancelled(spied.as_store, job)
    assert seen.result() in (
        [State.SCHEDULED, State.WAITING, State.CANCELLED],
        [State.WAITING, State.CANCELLED],
    )


async def test_a_deleted_job_ends_its_watch(spied: SpiedStore, watching: Watching) -> None:
    await scheduled(spied, "a")
    async with watching.job("q", "a") as changes:
        await spied.as_store.delete("q", ["a"], ended_only=False)
        first, last = await rest(changes)
    assert isinstance(first, Event)
    assert isinstance(last, Event)
    assert (first.deleted, last.deleted) == (False, True)


async def test_after_a_gap_a_job_is_shown_as_it_stands(spied: SpiedStore) -> None:
    watching = Watching(spied.as_store, buffer=1)
    [job] = await scheduled(spied, "a")
    async with watching.job("q", "a") as changes:
        for change in (spied.as_store.update("q", [RunJob("a")]), cancelled(spied.as_store, job)):
            read = asyncio.create_task(spied.until_called("events", 1))
            await asyncio.sleep(0)
            await change
            await read
        first, gap, last = await rest(changes)
    assert isinstance(gap, Gap)
    assert states([first, last]) == [State.SCHEDULED, State.CANCELLED]
    await watching.close()


# --- a filter ---


async def test_a_filter_shows_changes_from_now(spied: SpiedStore, watching: Watching) -> None:
    async with watching.matching("q", frozenset({State.CANCELLED}), frozenset({"t"}), "") as changes:
        jobs = [*await scheduled(spied, "a", "b"), *await scheduled(spied, "c", type="u")]
        for job in jobs:
            await cancelled(spied.as_store, job)
        seen = await taken(changes, 2)
    assert ids(seen) == ["a", "b"]
    assert set(states(seen)) == {State.CANCELLED}


async def test_a_deletion_is_a_change_into_no_state(spied: SpiedStore, watching: Watching) -> None:
    async with (
        watching.matching("q", frozenset(State), ANY, "") as stated,
        watching.matching("q", ALL, ANY, "") as all_,
    ):
        await scheduled(spied, "a")
        await spied.as_store.delete("q", ["a"], ended_only=False)
        await scheduled(spied, "b")
        assert ids(await taken(stated, 2)) == ["a", "b"]
        seen = await taken(all_, 3)
    assert [change.deleted for change in seen if isinstance(change, Event)] == [False, True, False]


async def test_a_cursor_goes_on_where_it_was_taken_into_the_present(spied: SpiedStore, watching: Watching) -> None:
    names = [f"{i:03}" for i in range(150)]
    async with watching.matching("q", ALL, ANY, "") as changes:
        for name in names[:100]:  # more than one read brings
            await scheduled(spied, name)
        first = await taken(changes, 10)
        assert isinstance(first[-1], Event)
    async with watching.matching("q", ALL, ANY, first[-1].cursor) as changes:
        past = await taken(changes, 40)
        for name in names[100:]:
            await scheduled(spied, name)
        seen = past + await taken(changes, 100)
    assert ids(first + seen) == names


async def test_changes_made_while_a_watcher_catches_up_come_once_and_in_order(
    spied: SpiedStore, watching: Watching
) -> None:
    names = [f"{i:03}" for i in range(300)]
    at = await spied.as_store.cursor("q")

    async def write() -> None:
        for name in names:
            await scheduled(spied, name)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        async with watching.matching("q", ALL, ANY, at) as one, watching.matching("q", ALL, ANY, at) as other:
            assert ids(await taken(one, 300)) == names
            assert ids(await taken(other, 300)) == names


class LateTail:
    """A store whose long polls, which only a tail makes, are answered late."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self.gate = asyncio.Event()

    async def events(self, queue: str, after: str, *, wait: timedelta, limit: int = 1000) -> EventBatch:
        batch = await self._store.events(queue, after, wait=wait, limit=limit)
        if wait:
            await self.gate.wait()
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_what_a_watcher_has_read_itself_does_not_come_again_from_a_tail_that_lags(spied: SpiedStore) -> None:
    store = LateTail(spied.as_store)
    watching = Watching(cast(JobStore, store))
    await scheduled(spied, "before")
    at = await spied.as_store.cursor("q")
    async with watching.matching("q", ALL, ANY, "") as first, watching.matching("q", ALL, ANY, at) as changes:
        await scheduled(spied, "a", "b")
        assert ids(await taken(changes, 2)) == ["a", "b"]
        next_ = asyncio.create_task(taken(changes, 1))
        await spied.until_called("events", 1)  # it has found nothing more, and joined the tail
        store.gate.set()
        assert ids(await taken(first, 2)) == ["a", "b"]
        await scheduled(spied, "c")
        assert ids(await next_) == ["c"]
    await watching.close()


async def test_a_watch_says_where_it_begins_where_that_is_asked_for(spied: SpiedStore, watching: Watching) -> None:
    async with watching.matching("q", ALL, ANY, "", start=True) as changes:
        [start] = await taken(changes, 1)
        assert isinstance(start, Start)
    await scheduled(spied, "a")
    async with watching.matching("q", ALL, ANY, start.cursor, start=True) as changes:
        assert ids(await taken(changes, 1)) == ["a"]


async def test_a_cursor_that_cannot_be_read_is_refused(watching: Watching) -> None:
    with pytest.raises(InvalidFields):
        async with watching.matching("q", ALL, ANY, "garbage"):
            pass


async def test_a_cursor_of_another_epoch_is_a_gap_first(spied: SpiedStore, watching: Watching) -> None:
    strange = "0123456789abcdef.1-1.1"
    async with watching.matching("q", ALL, ANY, strange) as changes:
        [gap] = await taken(changes, 1)
        assert isinstance(gap, Gap)
        assert gap.start == strange
        await scheduled(spied, "a")
        assert ids(await taken(changes, 1)) == ["a"]


async def test_a_slow_watcher_is_told_of_its_gap_and_goes_on(spied: SpiedStore) -> None:
    watching = Watching(spied.as_store, buffer=3)
    await scheduled(spied, "before")
    async with watching.matching("q", ALL, ANY, "") as changes:
        read = asyncio.create_task(spied.until_called("events", 1))
        await asyncio.sleep(0)
        await scheduled(spied, "a", "b", "c", "d")
        await read
        [gap] = await taken(changes, 1)
        assert isinstance(gap, Gap)
        await scheduled(spied, "e")
        assert ids(await taken(changes, 1)) == ["e"]
    async with watching.matching("q", ALL, ANY, gap.start) as changes:
        assert ids(await taken(changes, 5)) == ["a", "b", "c", "d", "e"]
    await watching.close()


# --- tails and ends ---


async def test_all_watchers_of_a_queue_share_one_tail_which_stops_with_the_last(
    spied: SpiedStore, watching: Watching
) -> None:
    async with watching.matching("q", ALL, ANY, "") as one, watching.matching("q", ALL, ANY, "") as other:
        async with watching.job("q", "before") as third:
            await taken(third, 1)
        await scheduled(spied, "a")
        assert ids(await taken(one, 1)) == ids(await taken(other, 1)) == ["a"]
    assert spied.calls["cursor"] == 1
    asked = len(spied.arguments["events"])
    await scheduled(spied, "b")
    assert len(spied.arguments["events"]) == asked
    async with watching.matching("q", ALL, ANY, "") as again:
        await scheduled(spied, "c")
        assert ids(await taken(again, 1)) == ["c"]


async def test_where_the_store_fails_all_streams_end_with_its_error_and_new_ones_try_again(
    spied: SpiedStore, watching: Watching
) -> None:
    spied.break_with["events"] = StoreAway("gone")
    async with watching.matching("q", ALL, ANY, "") as one, watching.matching("q", ALL, ANY, "") as other:
        for changes in (one, other):
            with pytest.raises(StoreAway):
                await rest(changes)
    del spied.break_with["events"]
    async with watching.matching("q", ALL, ANY, "") as changes:
        await scheduled(spied, "a")
        assert ids(await taken(changes, 1)) == ["a"]
    spied.break_with["cursor"] = StoreAway("gone")
    with pytest.raises(StoreAway):
        async with watching.matching("q", ALL, ANY, ""):
            pass


async def test_a_drain_ends_streams_and_refuses_new_ones(spied: SpiedStore, watching: Watching) -> None:
    async with watching.matching("q", ALL, ANY, "") as changes:
        watching.drain()
        with pytest.raises(Draining):
            await rest(changes)
    with pytest.raises(Draining):
        async with watching.job("q", "before"):
            pass


async def test_a_stream_ends_at_its_longest_age(spied: SpiedStore) -> None:
    watching = Watching(spied.as_store, max_age=timedelta(milliseconds=50))
    async with watching.matching("q", ALL, ANY, "") as changes:
        with pytest.raises(WatchAged):
            await rest(changes)
    await watching.close()


async def test_a_queue_that_was_never_used_is_watched_from_its_first_job_on(spied: SpiedStore) -> None:
    watching = Watching(spied.as_store)
    async with watching.matching("new", ALL, ANY, "") as changes:
        for name in ("a", "b"):
            await added(spied.as_store, a_draft(name, queue="new", when=HOUR))
        assert ids(await taken(changes, 2)) == ["a", "b"]
    await watching.close()
