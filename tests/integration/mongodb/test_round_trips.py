"""How often the store is asked, one after another, and how often a majority of its servers is waited for.

In a replica set of several machines each round trip costs a network's, and each wait for a majority costs another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from contract.builders import HOUR, MINUTE, a_draft, a_query, a_request, added, claimed_one, completed, wish
from support.mongo_servers import MongoServer
from support.mongo_stores import JOBS, opened
from support.mongo_trace import Trace, tracing
from tocsin_server.domain.job import Job, OnConflict, View
from tocsin_server.domain.lease import Extension
from tocsin_server.domain.queue_limits import Limit, LimitScope, OnFull
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.operations.cancel_jobs import CancelJobs
from tocsin_server.store.mongo.store import MongoStore

EVENTS = f"{JOBS}.events"
Call = Callable[[], Awaitable[object]]


async def _schedule(store: MongoStore) -> Call:
    return lambda: store.add([a_draft()])


async def _schedule_by_id(store: MongoStore) -> Call:
    return lambda: store.add([a_draft("a")])


async def _keep(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    return lambda: store.add([a_draft("a", on_conflict=OnConflict.KEEP)])


async def _claim(store: MongoStore) -> Call:
    await added(store, a_draft("a", body=b"x"))
    return lambda: store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())


async def _claim_what_came_due(store: MongoStore) -> Call:
    for name in ("a", "b"):
        [job] = await added(store, a_draft(name, when=timedelta(milliseconds=1)))
    while await store.ping() <= job.schedule_time:
        pass
    return lambda: store.claim("q", {"t": 2}, 2, lease=MINUTE, request=a_request())


async def _claim_in_vain(store: MongoStore) -> Call:
    return lambda: store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())


async def _schedule_where_a_limit_is_strict(store: MongoStore) -> Call:
    limit = Limit("l", LimitScope.QUEUE, max_active=3, on_full=OnFull.CANCEL_NEW)
    await store.put_settings("q", QueueSettings(limits=(limit,)), paused=False)
    await added(store, a_draft())
    return lambda: store.add([a_draft()])


async def _claim_by_age(store: MongoStore) -> Call:
    await store.put_settings("q", QueueSettings(priority_ageing=MINUTE), paused=False)
    return await _claim(store)


async def _claim_some_by_age(store: MongoStore) -> Call:
    await added(store, *(a_draft() for _ in range(3)))
    return await _claim_by_age(store)


async def _claim_turns(store: MongoStore) -> Call:
    await store.put_settings("q", QueueSettings(fair_turns=True), paused=False)
    await added(store, *(a_draft() for _ in range(3)))
    await claimed_one(store)
    return lambda: store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())


async def _claim_turns_of_what_came(store: MongoStore) -> Call:
    call = await _claim_turns(store)
    await added(store, a_draft())
    return call


async def _finish(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    return lambda: store.finish([completed(one)])


async def _cancel(store: MongoStore) -> Call:
    await added(store, *(a_draft(f"{number}", when=HOUR) for number in range(64)))
    return lambda: store.cancel("q", [wish(f"{number}") for number in range(64)])


async def _cancel_none(store: MongoStore) -> Call:
    return lambda: store.cancel("q", [wish(f"{number}") for number in range(64)])


async def _cancel_again(store: MongoStore) -> Call:
    await (await _cancel(store))()
    return lambda: store.cancel("q", [wish(f"{number}") for number in range(64)])


async def _heartbeat(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    return lambda: store.extend([Extension(one.lease)], MINUTE)


#: A call, and what it comes to: round trips in sequence, waits for a majority, commands.
CALLS: dict[str, tuple[Callable[[MongoStore], Awaitable[Call]], int, int, int]] = {
    "schedule": (_schedule, 3, 2, 4),
    "schedule by id": (_schedule_by_id, 4, 2, 5),
    "keep what stands": (_keep, 2, 1, 2),
    "claim": (_claim, 4, 2, 8),
    "claim what has come due": (_claim_what_came_due, 4, 2, 8),
    "schedule where a limit is strict": (_schedule_where_a_limit_is_strict, 8, 4, 10),
    "claim where priorities grow": (_claim_by_age, 4, 2, 8),
    "claim where priorities grow, and more wait": (_claim_some_by_age, 6, 2, 10),
    "claim where keys take turns": (_claim_turns, 10, 5, 15),
    "claim where keys take turns, and jobs came since": (_claim_turns_of_what_came, 12, 7, 17),
    "claim in vain": (_claim_in_vain, 1, 0, 3),
    "finish": (_finish, 3, 2, 3),
    "cancel 64": (_cancel, 4, 2, 4),
    "cancel what is not there": (_cancel_none, 2, 1, 2),
    "cancel again": (_cancel_again, 2, 1, 2),
    "heartbeat": (_heartbeat, 1, 1, 1),
}


async def trips(store: MongoStore, prepare: Callable[[MongoStore], Awaitable[Call]]) -> Trace:
    await added(store, a_draft(type="other", when=HOUR))  # the queue and its types are known
    await added(store, a_draft("known", when=HOUR))
    call = await prepare(store)
    await asyncio.gather(*(store.ping() for _ in range(8)))  # there are connections enough for what goes on at once
    with tracing() as trace:
        await call()
    return trace


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_asks_no_more_often_than_said(store: MongoStore, name: str) -> None:
    prepare, in_sequence, waits, commands = CALLS[name]
    trace = await trips(store, prepare)
    assert (trace.in_sequence, trace.waits, len(trace.sent)) == (in_sequence, waits, commands), trace.names


async def test_64_cancels_in_flight_share_their_commands(store: MongoStore) -> None:
    names = [f"{number}" for number in range(256)]
    await added(store, *(a_draft(name, when=HOUR) for name in names))
    cancelling, left, states = CancelJobs(store), iter(names), []

    async def caller() -> None:
        for name in left:
            [job] = await cancelling.cancel("q", [wish(name)])
            assert isinstance(job, Job)
            states.append(job.state)

    with tracing() as trace:
        await asyncio.gather(*(caller() for _ in range(64)))
    assert states == [State.CANCELLED] * 256
    assert len(trace.sent) <= 256 * 0.25, trace.names


async def test_no_answer_of_a_full_batch_is_asked_for_in_two(store: MongoStore) -> None:
    await added(store, *(a_draft() for _ in range(200)))
    with tracing() as trace:
        claim = await store.claim("q", {"t": 200}, 200, lease=MINUTE, request=a_request())
        await store.extend([Extension(one.lease) for one in claim.claimed], MINUTE)
        await store.finish([completed(one) for one in claim.claimed])
        await store.page(a_query(limit=200))
        await store.get("q", [one.job.job_id for one in claim.claimed], View.FULL)
    assert len(claim.claimed) == 200
    assert [name for name in trace.names if name.startswith("getMore")] == []


async def test_a_stream_outlives_its_idle_time_where_answers_must_come_soon(server: MongoServer) -> None:
    with tracing() as trace:
        async with opened(server.url, answer_within=timedelta(milliseconds=400)) as store:
            wakes = store.wakes()
            assert (await anext(wakes)).missed
            missed = asyncio.ensure_future(anext(wakes))
            await asyncio.wait([missed], timeout=2)
            assert not missed.done(), "the stream was lost, and another begun"
            missed.cancel()
            await asyncio.wait([missed])
    assert trace.names.count(f"aggregate {EVENTS}") == 1
