"""Full limits on MongoDB: what a server leaves that dies, or is slow, between a job and what becomes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from contract.builders import NOW, a_draft, added, claimed, completed, finished, read
from support.eventually import until_async
from support.mongo_backend import MongoBackend
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway
from tocsin_server.domain.queue_limits import Limit, LimitScope, OnFull
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.mongo import full
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.store import MongoStore
from tocsin_server.store.mongo.transitions import Standing

TWO = QueueSettings(limits=(Limit("two", LimitScope.QUEUE, max_active=2, on_full=OnFull.CANCEL_NEW),))


@pytest.fixture
async def store(mongo_database: MongoBackend) -> AsyncIterator[MongoStore]:
    connection = MongoConnection(mongo_database.url, answer_within=timedelta(seconds=30), max_connections=8)
    store = MongoStore(connection)
    await store.open()
    await store.put_settings("q", TWO, paused=False)
    yield store
    await store.close()


async def died(*_: object, **__: object) -> None:
    raise StoreAway("its server is dead")


async def test_a_job_whose_server_died_before_it_was_judged_is_judged_by_a_claim(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await added(store, a_draft("0"))
    with monkeypatch.context() as patch:
        patch.setattr(store._places, "swap", died)
        with pytest.raises(OutcomeUnknown):
            await store.add([a_draft("1"), a_draft("2")])
    assert [(await read(store, name)).state for name in "12"] == [State.SCHEDULED] * 2
    assert [one.job.job_id for one in await claimed(store)] == ["0", "1"]
    assert (await read(store, "2")).state is State.CANCELLED


async def test_who_was_about_to_let_a_job_wait_and_died_holds_up_nobody_and_comes_too_late(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Standing] = []

    async def stands_still(jobs: Sequence[Standing]) -> set[str]:
        late.extend(jobs)
        raise StoreAway("it stands still")

    with monkeypatch.context() as patch:
        patch.setattr(store._jobs, "swap", stands_still)
        with pytest.raises(OutcomeUnknown):
            await store.add([a_draft("0"), a_draft("1")])
    await added(store, a_draft("2"))  # the two are counted, for their server may be slow
    assert (await read(store, "2")).state is State.CANCELLED
    await store._jobs.collection.update_many({}, {"$set": {"due": (await store.ping()) + timedelta(hours=1)}})

    async def waits() -> bool:
        [one] = await added(store, a_draft())
        return one.state is State.WAITING

    await until_async(waits, within=10, what="those that were about to wait are counted no more")
    assert await store._jobs.swap(late) == {"0", "1"}  # it goes on, too late


async def test_a_job_that_a_claim_judged_as_it_was_added_is_answered_as_it_stands(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap, places = store._places.swap, 0

    async def and_another_claims(document: Document) -> bool:
        nonlocal places
        places += 1
        if places == 1:
            [one] = await claimed(store)
            await finished(store, completed(one))
        return await swap(document)

    cursor = await store.cursor("q")
    monkeypatch.setattr(store._places, "swap", and_another_claims)
    [new] = await added(store, a_draft("0"))
    assert new.state is State.WAITING
    assert (await read(store, "0")).state is State.COMPLETED
    events = (await store.events("q", cursor, wait=NOW)).events
    assert [event.job.state for event in events] == [
        State.SCHEDULED,
        State.WAITING,
        State.ACTIVE,
        State.COMPLETED,
    ]


async def test_a_job_that_another_server_lets_wait_is_counted_by_who_read_it_before(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await added(store, a_draft("0"))
    with monkeypatch.context() as patch:
        patch.setattr(store._places, "swap", died)
        with pytest.raises(OutcomeUnknown):
            await store.add([a_draft("1"), a_draft("2")])
    due = list((await store._jobs.load("q", ["1", "2"])).values())
    await store._full.make_waiting("q", list((await store._jobs.load("q", ["2"])).values()))
    await store._full.make_waiting("q", due)
    assert [(await read(store, name)).state for name in "012"] == [State.WAITING, State.CANCELLED, State.WAITING]


async def test_a_slow_server_that_lets_a_job_wait_at_last_is_seen_by_who_took_it_for_dead(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Standing] = []

    async def stands_still(jobs: Sequence[Standing]) -> set[str]:
        late.extend(jobs)
        raise StoreAway("it stands still")

    await added(store, a_draft("0"))
    with monkeypatch.context() as patch:
        patch.setattr(store._jobs, "swap", stands_still)
        with pytest.raises(OutcomeUnknown):
            await store.add([a_draft("1")])
    with monkeypatch.context() as patch:
        patch.setattr(store._full, "_judge", died)
        with pytest.raises(OutcomeUnknown):
            await store.add([a_draft("2")])
    monkeypatch.setattr(full, "UNDER_WAY", timedelta(0))
    swap = store._jobs.swap

    async def but_it_goes_on(jobs: Sequence[Standing]) -> set[str]:
        monkeypatch.undo()
        assert await swap(late) == set()
        return await swap(jobs)

    monkeypatch.setattr(store._jobs, "swap", but_it_goes_on)
    due = await store._jobs.load("q", ["1", "2"])
    await store._full.make_waiting("q", [due["2"], due["1"]])
    assert [(await read(store, name)).state for name in "012"] == [State.WAITING, State.WAITING, State.CANCELLED]
