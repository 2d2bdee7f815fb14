"""Servers that want the same jobs: each waits a little at random when it has lost, and none for long."""

from __future__ import annotations

import asyncio
import contextlib
import time

from contract.builders import HOUR, MINUTE, a_draft, a_request, added, good, read
from support.mongo_servers import MongoServer
from support.mongo_stores import JOBS, opened
from support.mongo_trace import tracing
from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.job import OnConflict, Replaced
from tocsin_server.store.mongo.store import MongoStore

CALLS = 30


async def test_all_who_replace_one_job_at_once_do_so_and_soon(store: MongoStore, server: MongoServer) -> None:
    """By compare and swap all but one would lose each round, and try again: as many rounds as there are callers."""
    [job] = await added(store, a_draft("a", when=HOUR))
    cursor = await store.cursor("q")
    async with contextlib.AsyncExitStack() as stack:
        stores = [store, *[await stack.enter_async_context(opened(server.url)) for _ in range(2)]]
        begun = time.monotonic()
        with tracing() as trace:
            answers = await asyncio.gather(
                *(
                    stores[at % 3].add([a_draft("a", priority=at, on_conflict=OnConflict.REPLACE)])
                    for at in range(CALLS)
                )
            )
    assert all(isinstance(answer, Replaced) for [answer] in answers)
    assert (await read(store, "a")).revision == job.revision + CALLS
    assert trace.names.count(f"findAndModify {JOBS}") < 3 * CALLS, "they outran each other"
    assert time.monotonic() - begun < 20
    revisions: list[int] = []
    while len(revisions) < CALLS:
        batch = await store.events("q", cursor, wait=MINUTE)
        assert batch.events, "not all is told"
        revisions += [event.job.revision for event in batch.events]
        cursor = batch.cursor
    assert revisions == list(range(job.revision + 1, job.revision + CALLS + 1))


async def test_who_loses_a_race_waits_before_the_next(store: MongoStore, server: MongoServer) -> None:
    [job] = await added(store, a_draft("a", when=HOUR))
    async with contextlib.AsyncExitStack() as stack:
        stores = [store, *[await stack.enter_async_context(opened(server.url)) for _ in range(2)]]
        with tracing() as trace:
            answers = await asyncio.gather(
                *(stores[at % 3].update("q", [UpdateJob("a", priority=at)]) for at in range(CALLS))
            )
    assert sorted(good(answer).revision for [answer] in answers) == list(range(2, CALLS + 2))
    assert (await read(store, "a")).revision == job.revision + CALLS
    # 4 to 5 times as many as calls; where nobody waits, all meet again and all but one lose: 8 times.
    assert trace.names.count(f"findAndModify {JOBS}.queues") < 6.3 * CALLS


async def test_claims_of_several_servers_lease_each_job_once(store: MongoStore, server: MongoServer) -> None:
    await added(store, *(a_draft() for _ in range(200)))
    leased: list[str] = []

    async def claim(store: MongoStore) -> None:
        while True:
            claim = await store.claim("q", {"t": 10}, 10, lease=MINUTE, request=a_request())
            leased.extend(one.job.job_id for one in claim.claimed)
            if not claim.claimed and not claim.more:
                return

    async with contextlib.AsyncExitStack() as stack:
        others = [await stack.enter_async_context(opened(server.url)) for _ in range(2)]
        await asyncio.gather(*map(claim, [store, *others]))
    assert len(leased) == len(set(leased)) == 200


async def test_who_claims_beside_others_takes_the_highest_priority_all_the_same(store: MongoStore) -> None:
    await added(store, *(a_draft(f"low {number}") for number in range(30)))
    await added(store, *(a_draft(f"high {number}", priority=9) for number in range(5)))
    begun: set[str] = set()
    for _ in range(6):
        store._claim._lost["q"] = time.monotonic()  # to another server, just now
        claim = await store.claim("q", {"t": 5}, 5, lease=MINUTE, request=a_request())
        jobs = [one.job for one in claim.claimed]
        assert jobs == sorted(jobs, key=lambda job: (-job.spec.priority, job.arrival))
        assert len({job.spec.priority for job in jobs}) == 1
        begun |= {job.job_id for job in jobs}
    assert len(begun) == 30
    assert {f"high {number}" for number in range(5)} <= begun
