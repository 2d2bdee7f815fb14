"""Servers that want the same jobs: each waits a little at random when it has lost, and none for long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

from contract.builders import MINUTE, a_draft, a_request, added, read
from support.mongo_servers import MongoServer
from support.mongo_stores import opened
from support.mongo_trace import tracing
from tocsin_server.domain.job import OnConflict, Replaced
from tocsin_server.store.mongo.store import MongoStore

CALLS = 30


async def test_all_who_replace_one_job_at_once_do_so_and_soon(store: MongoStore, server: MongoServer) -> None:
    """Without pauses each round all but one lose, and try again together: as many rounds as there are callers."""
    [job] = await added(store, a_draft("a"))
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
    writes = Counter(one.name for one in trace.sent)["findAndModify"]
    assert writes < 6.3 * CALLS, "who lost did not wait for the others"  # 4 to 5 times; 8 without waiting
    assert time.monotonic() - begun < 20


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
