"""Servers tell each other who runs jobs, and ask the store nothing where nobody does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.eventually import until_async
from support.spied_store import SpiedStore
from tocsin_server.domain.queues import HeldJob, WorkerFigures
from tocsin_server.operations.announcing import Announcing
from tocsin_server.operations.store_clock import StoreClock

HELD = (HeldJob("q", "a", "t", 1),)
REMOTE = WorkerFigures("w1", ("t",), 3, 1, 0, ("q",), remote=True, held=HELD, free=2)
EARLIER = datetime(2020, 11, 30, tzinfo=UTC)
LOOP = WorkerFigures("server-1", ("u",), 20, 0, 0)


@asynccontextmanager
async def announcing(spied: SpiedStore, by: str, words: Sequence[WorkerFigures]) -> AsyncIterator[Announcing]:
    made = Announcing(spied.as_store, StoreClock(), by, [lambda: words])
    made.start()
    yield made
    await made.close()


async def test_what_one_server_says_another_hears_until_it_stops(spied: SpiedStore) -> None:
    async with announcing(spied, "server-2", []) as other:
        async with announcing(spied, "server-1", [LOOP, REMOTE]):
            await until_async(other.workers, within=5)
            found = await other.workers()
            assert [replace(one, seen_time=None) for one in found] == [LOOP, REMOTE]
            assert all(one.seen_time is not None for one in found)
        assert await other.workers() == []


async def test_nobody_is_said_by_nobody(spied: SpiedStore) -> None:
    async with announcing(spied, "server-1", []) as made:
        assert await made.workers() == []
    assert spied.calls["announce"] == 0


async def test_another_worker_is_told_of_soon(spied: SpiedStore) -> None:
    words: list[WorkerFigures] = []
    async with announcing(spied, "server-1", words) as made:
        words.append(REMOTE)
        made.changed()
        async with announcing(spied, "server-2", []) as other:
            await until_async(other.workers, within=2)


async def test_one_of_whom_two_servers_tell_is_one(spied: SpiedStore) -> None:
    more = replace(REMOTE, types=("v",), busy=2, slots=4, held=(*HELD, HeldJob("q", "b", "v", 1)))
    async with announcing(spied, "server-1", [REMOTE]), announcing(spied, "server-2", [more]) as other:
        await spied.until_called("announce", 1)

        async def joined() -> WorkerFigures | None:
            [one] = await other.workers()
            return one if one.busy == 3 else None

        one = await until_async(joined, within=5)
        assert one is not None
        assert (one.types, one.free, [held.job_id for held in one.held]) == (("t", "v"), 4, ["a", "b"])


async def test_a_record_names_a_bounded_number_of_attempts(spied: SpiedStore) -> None:
    held = tuple(HeldJob("q", str(n), "t", 1) for n in range(100))
    words = [replace(REMOTE, worker=f"w{n}", held=held) for n in range(30)]
    async with announcing(spied, "server-1", words), announcing(spied, "server-2", []) as other:
        await until_async(other.workers, within=5)
        found = await other.workers()
    assert len(found) == 30
    assert sum(len(one.held) for one in found) == 500


async def test_a_worker_that_calls_again_and_again_is_not_told_of_each_time(
    spied: SpiedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin_server.operations.announcing._EVERY", timedelta(milliseconds=10))
    monkeypatch.setattr("tocsin_server.operations.announcing._SOON", timedelta(0))
    words = [replace(REMOTE, seen_time=EARLIER)]
    asked = 0

    def heard() -> list[WorkerFigures]:
        nonlocal asked
        asked += 1
        words[:] = [replace(REMOTE, seen_time=EARLIER + timedelta(seconds=asked))]
        return words

    made = Announcing(spied.as_store, StoreClock(), "server-1", [heard])
    made.start()

    async def often() -> bool:
        return asked > 5

    await until_async(often, within=5)
    assert spied.calls["announce"] == 1
    [one] = await made.workers()
    assert one.seen_time is not None
    assert EARLIER < one.seen_time < EARLIER + timedelta(days=1)  # here it is as it is
    await made.close()
