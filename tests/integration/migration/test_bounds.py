"""What a move and an import hold in memory does not grow with the jobs: each is tried with few and with many."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from contract.builders import a_draft, added
from support.redis_backend import RedisBackend
from tocsin_server.migrate.move.reading import oldest_first
from tocsin_server.migrate.systems.ledger import Ledger, mark_of
from tocsin_server.store.interface import JobStore

from integration.migration.conftest import Migrate, OpenPlace

KIB, MIB = 1 << 10, 1 << 20
MADE = datetime(2026, 1, 2, tzinfo=UTC)


async def peak_of(run: Callable[[], Awaitable[None]]) -> int:
    """The most bytes of Python's objects that stand while it runs, and did not before."""
    tracemalloc.start()
    try:
        await run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak


@pytest.fixture
async def store(redis: RedisBackend, open_place: OpenPlace) -> JobStore:
    """An empty one: what is held is held outside of it."""
    return (await open_place(redis.url)).store


async def test_the_memory_that_is_told_is_the_commands_own(
    redis: RedisBackend, open_place: OpenPlace, migrate: Migrate
) -> None:
    """Linux counts to a process what the one that started it had: a move from a large program seemed to grow."""
    ballast = bytearray(b"x") * (300 * MIB)
    await added((await open_place(redis.url)).store, a_draft())
    ran = migrate("--from", redis.url, "--to", f"{redis.url}/1")
    assert len(ballast) == 300 * MIB
    assert 20 < ran.peak_mib < 200


async def test_jobs_that_come_oldest_first_are_not_all_held(store: JobStore) -> None:
    """So a queue comes to one that has jobs of its own."""

    async def read_all(queue: str, jobs: int) -> None:
        last = count = 0
        async for some in oldest_first(store, queue):
            for job in some:
                assert job.arrival > last
                last, count = job.arrival, count + 1
        assert count == jobs

    peaks = []
    for queue, jobs in (("few", 2_000), ("many", 12_000)):
        for start in range(0, jobs, 1_000):
            await added(store, *(a_draft(f"j{start + number:06}", queue=queue) for number in range(1_000)))
        peaks.append(await peak_of(lambda queue=queue, jobs=jobs: read_all(queue, jobs)))  # type: ignore[misc]
    assert peaks[1] - peaks[0] < 100 * KIB


async def test_what_was_brought_in_is_not_held_but_known(store: JobStore) -> None:
    async def bring(origin: str, jobs: int) -> None:
        marks = [mark_of(str(number), MADE) for number in range(400)]
        for start in range(0, jobs, 400):
            some = [mark_of(str(number), MADE) for number in range(start, start + 400)]
            await ledger.promise(some)
            ledger.placed(some)
        await ledger.close()
        again = await Ledger.opened(store, "q", origin)
        assert all(map(again.was_placed, marks))
        assert again.was_placed(mark_of(str(jobs - 1), MADE))
        assert not again.was_placed(mark_of(str(jobs), MADE))
        again.forget()

    peaks = []
    for origin, jobs in (("few", 4_000), ("many", 40_000)):
        ledger = await Ledger.opened(store, "q", origin)
        peaks.append(await peak_of(lambda origin=origin, jobs=jobs: bring(origin, jobs)))  # type: ignore[misc]
        ledger.forget()
    assert peaks[1] - peaks[0] < 100 * KIB
