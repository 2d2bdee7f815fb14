"""Who waits for a job's end hears of it at once, and costs the store nothing meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from contract.builders import HOUR, MINUTE, a_draft, added, cancelled, claimed_one, completed, finished
from support.spied_store import SpiedStore
from tocsin_server.domain.errors import Draining, StoreAway
from tocsin_server.domain.job import OnConflict, View
from tocsin_server.domain.job_errors import JobNotFound
from tocsin_server.domain.states import State
from tocsin_server.operations.watching import Watching

NOT_AT_ALL, A_MOMENT = timedelta(0), timedelta(milliseconds=50)


@pytest.fixture
async def watching(spied: SpiedStore) -> AsyncIterator[Watching]:
    watching = Watching(spied.as_store)
    yield watching
    await watching.close()


async def test_of_a_job_that_has_ended_nothing_is_waited_for(spied: SpiedStore, watching: Watching) -> None:
    await added(spied.as_store, a_draft("a"))
    await finished(spied.as_store, completed(await claimed_one(spied.as_store), b"r"))
    job = await watching.ended("q", "a", View.FULL, MINUTE)
    assert (job.state, job.result) == (State.COMPLETED, b"r")
    assert (spied.calls["get"], spied.calls["cursor"]) == (1, 0)


async def test_without_a_wait_it_is_as_it_stands(spied: SpiedStore, watching: Watching) -> None:
    await added(spied.as_store, a_draft("a"))
    assert (await watching.ended("q", "a", View.BASIC, NOT_AT_ALL)).state is State.WAITING
    assert (spied.calls["get"], spied.calls["cursor"]) == (1, 0)


async def test_after_the_wait_it_is_as_it_stands(spied: SpiedStore, watching: Watching) -> None:
    await added(spied.as_store, a_draft("a"))
    assert (await watching.ended("q", "a", View.BASIC, A_MOMENT)).state is State.WAITING
    assert (await watching.ended("q", "a", View.BASIC, A_MOMENT)).state is State.WAITING


async def test_the_end_is_heard_at_once(spied: SpiedStore, watching: Watching) -> None:
    await added(spied.as_store, a_draft("a"))
    waiting = asyncio.ensure_future(watching.ended("q", "a", View.FULL, MINUTE))
    await spied.until_called("get", 2)  # it is subscribed
    one = await claimed_one(spied.as_store)
    await finished(spied.as_store, completed(one, b"r"))
    async with asyncio.timeout(5):
        job = await waiting
    assert (job.state, job.result) == (State.COMPLETED, b"r")


async def test_an_unknown_job_is_not_found(watching: Watching) -> None:
    with pytest.raises(JobNotFound):
        await watching.ended("q", "a", View.BASIC, MINUTE)


async def test_a_job_that_is_deleted_is_not_found(spied: SpiedStore, watching: Watching) -> None:
    await added(spied.as_store, a_draft("a"))
    waiting = asyncio.ensure_future(watching.ended("q", "a", View.BASIC, MINUTE))
    await spied.until_called("get", 2)
    await spied.as_store.delete("q", ["a"], ended_only=False)
    with pytest.raises(JobNotFound):
        async with asyncio.timeout(5):
            await waiting


async def test_a_job_that_ended_and_was_made_anew_meanwhile_is_as_it_stands(
    spied: SpiedStore, watching: Watching
) -> None:
    [job] = await added(spied.as_store, a_draft("a", when=HOUR))
    waiting = asyncio.ensure_future(watching.ended("q", "a", View.BASIC, MINUTE))
    await spied.until_called("get", 2)
    gate = spied.gates["events"] = asyncio.Event()
    await cancelled(spied.as_store, job)
    await added(spied.as_store, a_draft("a", when=HOUR, on_conflict=OnConflict.REPLACE))
    gate.set()
    async with asyncio.timeout(5):
        assert (await waiting).state in (State.CANCELLED, State.SCHEDULED)


async def test_a_thousand_who_wait_ask_the_store_for_nothing(spied: SpiedStore, watching: Watching) -> None:
    await added(spied.as_store, *(a_draft(f"{number}", when=HOUR) for number in range(1000)))
    waiting = [asyncio.ensure_future(watching.ended("q", f"{number}", View.BASIC, MINUTE)) for number in range(1000)]
    while spied.calls["get"] < 2000:
        await spied.until_called("get", 1)
    before = dict(spied.calls)
    [job] = await added(spied.as_store, a_draft("other", when=HOUR))
    await cancelled(spied.as_store, job)
    [one] = await added(spied.as_store, a_draft("999", when=HOUR, on_conflict=OnConflict.KEEP))
    await cancelled(spied.as_store, one)
    async with asyncio.timeout(5):
        assert (await waiting[999]).state is State.CANCELLED
    assert spied.calls["get"] == before["get"] + 1
    assert spied.calls["cursor"] == 1
    assert not any(task.done() for task in waiting[:999])
    watching.drain()
    ends = await asyncio.gather(*waiting[:999], return_exceptions=True)
    assert {type(end) for end in ends} == {Draining}


async def test_a_drain_ends_a_wait(spied: SpiedStore, watching: Watching) -> None:
    await added(spied.as_store, a_draft("a"))
    waiting = asyncio.ensure_future(watching.ended("q", "a", View.BASIC, MINUTE))
    await spied.until_called("get", 2)
    watching.drain()
    with pytest.raises(Draining):
        async with asyncio.timeout(5):
            await waiting


async def test_a_store_that_fails_ends_a_wait(spied: SpiedStore, watching: Watching) -> None:
    await added(spied.as_store, a_draft("a"))
    spied.break_with["events"] = StoreAway("gone")
    with pytest.raises(StoreAway):
        async with asyncio.timeout(5):
            await watching.ended("q", "a", View.BASIC, MINUTE)
