"""What is acknowledged stands on a majority of the servers, also where there was nothing to write.

A read of the primary may show what a failover takes back: who was told "it stands", or "it is gone", by it alone was
promised too much. So each such answer writes back what it read, on the condition that it still stands so, and waits for
the majority.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from contract.builders import (
    MINUTE,
    a_draft,
    a_job,
    a_request,
    added,
    cancelled,
    claimed_one,
    completed,
    finished,
    read,
    released,
    standing,
    wish,
)
from pymongo.database import Database
from support.mongo_servers import Document, MongoServer
from support.mongo_stores import JOBS, opened
from support.mongo_trace import tracing
from tocsin_server.domain.commands import RetryJob, RunJob
from tocsin_server.domain.job import Job, New, OnConflict
from tocsin_server.domain.job_errors import JobNotFound
from tocsin_server.domain.states import State
from tocsin_server.store.mongo.store import MongoStore

Call = Callable[[MongoStore], Awaitable[object]]


async def _cancelled_again(store: MongoStore) -> Call:
    [job] = await added(store, a_draft("a"))
    await cancelled(store, job)
    return lambda store: store.cancel("q", [wish("a")])


async def _cancel_asked_again(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    await claimed_one(store)
    await store.cancel("q", [wish("a")])
    return lambda store: store.cancel("q", [wish("a")])


async def _kept(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    return lambda store: store.add([a_draft("a", on_conflict=OnConflict.KEEP)])


async def _exists(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    return lambda store: store.add([a_draft("a", on_conflict=OnConflict.FAIL)])


async def _run(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    return lambda store: store.update("q", [RunJob("a")])


async def _retried(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    return lambda store: store.update("q", [RetryJob("a")])


async def _finished_again(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await store.finish([completed(one)])
    return lambda store: store.finish([completed(one)])


async def _claimed_again(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    request = a_request()
    await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=request)
    return lambda store: store.claim("q", {"t": 1}, 1, lease=MINUTE, request=request, repeated=True)


async def _placed_kept(store: MongoStore) -> Call:
    await store.put([a_job("a")], over=False)
    return lambda store: store.put([a_job("a")], over=False)


async def _placed_same(store: MongoStore) -> Call:
    await store.put([a_job("a")], over=True)
    return lambda store: store.put([a_job("a")], over=True)


async def _not_there(store: MongoStore) -> Call:
    await added(store, a_draft("another"))
    return lambda store: store.cancel("q", [wish("a")])


async def _none_are_there(store: MongoStore) -> Call:
    await added(store, a_draft("another"))
    return lambda store: store.delete("q", ["a", "b", "a"])


async def _ended(store: MongoStore) -> Call:
    await standing(store, State.COMPLETED, "a")
    return lambda store: store.cancel("q", [wish("a")])


async def _lease_lost(store: MongoStore) -> Call:
    await added(store, a_draft("a"))
    late = await claimed_one(store)
    await finished(store, released(late))
    await claimed_one(store)
    return lambda store: store.finish([completed(late)])


REPEATS = {
    "cancel of a cancelled job": _cancelled_again,
    "cancel asked again": _cancel_asked_again,
    "add, kept": _kept,
    "add, refused as it exists": _exists,
    "run of a waiting job": _run,
    "retry of a waiting job": _retried,
    "finish again": _finished_again,
    "claim again": _claimed_again,
    "cancel of no job": _not_there,
    "delete of no jobs": _none_are_there,
    "cancel of a completed job": _ended,
    "finish of a lease that was lost": _lease_lost,
    "put, kept": _placed_kept,
    "put, the same": _placed_same,
}


@pytest.mark.parametrize("prepare", REPEATS.values(), ids=REPEATS.keys())
async def test_an_answer_that_writes_nothing_waits_for_a_majority(
    store: MongoStore, database: Database[Document], prepare: Callable[[MongoStore], Awaitable[Call]]
) -> None:
    call = await prepare(store)
    before = {name: list(database[name].find()) for name in database.list_collection_names()}
    with tracing() as trace:
        await call(store)
    assert {name: list(database[name].find()) for name in database.list_collection_names()} == before
    writes = [one for one in trace.sent if one.name == "update"]
    assert [(one.collection, one.waits) for one in writes] == [(JOBS, True)]


def after_reading(store: MongoStore, act: Callable[[], Awaitable[object]]) -> None:
    """Once, between a call's reading and its writing, do this."""
    load = store._jobs.load

    async def interrupted(*args: object) -> object:
        found = await load(*args)  # type: ignore[arg-type]  # passed on
        store._jobs.load = load  # type: ignore[method-assign]  # once
        await act()
        return found

    store._jobs.load = interrupted  # type: ignore[method-assign,assignment]


async def test_what_changes_before_it_is_acknowledged_is_read_again(store: MongoStore, server: MongoServer) -> None:
    """Else it would be said to stand though it was deleted meanwhile, and the repeated schedule would be lost."""
    await added(store, a_draft("a"))
    async with opened(server.url) as other:
        after_reading(store, lambda: other.delete("q", ["a"], ended_only=False))
        [answer] = await store.add([a_draft("a", on_conflict=OnConflict.KEEP)])
    assert isinstance(answer, New)
    assert (await read(store, "a")).arrival == answer.arrival


async def test_what_is_scheduled_before_it_is_said_to_be_gone_is_read_again(
    store: MongoStore, server: MongoServer
) -> None:
    await added(store, a_draft("a"))
    async with opened(server.url) as other:
        after_reading(store, lambda: other.add([a_draft("b")]))
        answers = await store.cancel("q", [wish("a"), wish("b"), wish("c")])
    assert [type(answer) for answer in answers] == [Job, Job, JobNotFound]
    assert (await read(store, "b")).state is State.CANCELLED
