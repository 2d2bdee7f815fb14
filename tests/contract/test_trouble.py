"""What a store does when it has no room, when it cannot be reached, and when it is closed; what it says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime

import pytest
from tocsin_server.domain.commands import RunJob
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.domain.job import Retention, View
from tocsin_server.domain.lease import AttemptOutcome, Ending, Extension, Lease
from tocsin_server.domain.logs import LogLine
from tocsin_server.domain.queues import QueueSettings, WorkerFigures
from tocsin_server.domain.states import State
from tocsin_server.store.interface import Durability, JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    LATER,
    MINUTE,
    NOW,
    WISHES,
    a_draft,
    a_job,
    a_query,
    a_request,
    added,
    all_extended,
    claimed,
    claimed_one,
    completed,
    failed,
    finished,
    read,
    released,
    standing,
    wish,
)
from contract.conftest import Contents
from contract.providers import Flavour, Provider

LOST = Lease("q", "a", 1, bytes(14))
WORKER = WorkerFigures("w", ("t",), 1, 0, 0)
Call = Callable[[JobStore], Awaitable[object]]
READS: dict[str, Call] = {
    "ping": lambda store: store.ping(),
    "logs": lambda store: store.logs("q", "a"),
    "explain": lambda store: store.explain("q", ["a"]),
    "get": lambda store: store.get("q", ["a"], View.BASIC),
    "page": lambda store: store.page(a_query()),
    "ticks": lambda store: store.ticks(["q"]),
    "cursor": lambda store: store.cursor("q"),
    "queues": lambda store: store.queues(),
    "count_queues": lambda store: store.count_queues(),
    "figures": lambda store: store.figures("q"),
    "settings": lambda store: store.settings(["q"]),
    "workers": lambda store: store.workers(),
    "read_note": lambda store: store.read_note("q", "a"),
    "notes": lambda store: store.notes("q"),
}
WRITES: dict[str, Call] = {
    "add": lambda store: store.add([a_draft()]),
    "put": lambda store: store.put([a_job()], over=False),
    "add to several queues": lambda store: store.add([a_draft(queue="q"), a_draft(queue="r")]),
    "cancel": lambda store: store.cancel("q", [wish("a")]),
    "update": lambda store: store.update("q", [RunJob("a")]),
    "delete": lambda store: store.delete("q", ["a"]),
    "claim": lambda store: store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request()),
    "promote": lambda store: store.promote("q"),
    "extend": lambda store: store.extend([Extension(LOST)], MINUTE),
    "finish": lambda store: store.finish([AttemptOutcome(LOST, Ending.COMPLETED)]),
    "reap": lambda store: store.reap("q"),
    "trim": lambda store: store.trim("q", completed_max=1, failed_max=1),
    "put_settings": lambda store: store.put_settings("q", QueueSettings(), paused=True),
    "announce": lambda store: store.announce([WORKER], "w", MINUTE),
    "write_note": lambda store: store.write_note("q", "a", b"", revision=0, until=LATER),
}


async def test_the_clock_is_the_stores(store: JobStore) -> None:
    first, second = await store.ping(), await store.ping()
    assert first <= second
    assert first.tzinfo is UTC
    assert abs(datetime.now(UTC) - first) < MINUTE


async def test_a_store_says_what_it_is(store: JobStore, flavour: Flavour) -> None:
    info = await store.info()
    assert info.provider == flavour.provider
    assert info.version.startswith(flavour.product)
    assert info.durability in Durability
    assert not info.embedded


async def test_a_full_store_takes_no_new_jobs(store: JobStore, provider: Provider, contents: Contents) -> None:
    await added(store, a_draft("a", when=HOUR))
    before = contents(counters=False)
    with provider.full():
        for mode in WISHES:
            for job_id in (None, "b"):
                with pytest.raises(StoreFull):
                    await store.add([a_draft(job_id, on_conflict=mode)])
    assert contents(counters=False) == before


async def test_a_full_store_can_be_read(store: JobStore, provider: Provider) -> None:
    await standing(store, State.FAILED, "a")
    with provider.full():
        for call in READS.values():
            await call(store)
        assert (await read(store, "a")).state is State.FAILED
        assert (await store.page(a_query())).total == 1


async def test_a_full_store_drains(store: JobStore, provider: Provider, backdate: Backdate) -> None:
    await added(store, *(a_draft(f"{i}", retention=Retention(NOW, HOUR)) for i in range(6)))
    lost = await claimed_one(store)
    backdate.lease(lost.job, by=HOUR)
    with provider.full():
        done, dead, back, *rest = await claimed(store)
        said = Extension(done.lease, (0.5, "half"), (LogLine(2, "half"),))
        assert all_extended(await store.extend([said], HOUR))
        assert await finished(store, completed(done, b"r"), failed(dead), released(back)) == [
            State.COMPLETED,
            State.FAILED,
            State.WAITING,
        ]
        assert len(await store.reap("q")) == 1
        assert await store.trim("q", completed_max=9, failed_max=9) == 1
        assert await store.delete("q", [dead.job.job_id]) == [None]
        assert len(rest) == 2
    assert (await store.figures("q")).counts == {State.WAITING: {"t": 2}, State.ACTIVE: {"t": 2}}


@pytest.fixture
def mortal(flavour: Flavour) -> Iterator[Provider]:
    """A provider of this test's own, to be stopped."""
    with flavour.mortal() as provider:
        yield provider


async def refusals(store: JobStore, calls: Mapping[str, Call]) -> Mapping[str, type]:
    """What each call raises; all are made at once, for each waits for the store a while."""
    answers = await asyncio.gather(*(call(store) for call in calls.values()), return_exceptions=True)
    return {name: type(answer) for name, answer in zip(calls, answers, strict=True)}


async def test_reading_from_a_store_that_is_gone_is_store_away(mortal: Provider) -> None:
    async with mortal.store() as store:
        await added(store, a_draft("a"))
        mortal.stop()
        assert await refusals(store, READS) == dict.fromkeys(READS, StoreAway)


async def test_writing_to_a_store_that_is_gone_says_whether_it_may_have_acted(mortal: Provider) -> None:
    async with mortal.store() as store:
        await added(store, a_draft("a"))
        mortal.stop()
        assert set((await refusals(store, WRITES)).values()) <= {StoreAway, OutcomeUnknown}
        # Now that no connection is left, nothing can have been sent.
        assert await refusals(store, WRITES) == dict.fromkeys(WRITES, StoreAway)
