"""Limits on MongoDB are set and taken away by several writes: what a server leaves that dies between them, and what two
leave that do so at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from contract.builders import MINUTE, a_draft, a_request, added, claimed, completed, finished
from support.mongo_backend import MongoBackend
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.errors import OutcomeUnknown
from tocsin_server.domain.lease import Claimed
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.documents import Document
from tocsin_server.store.mongo.store import MongoStore

ONE = QueueSettings(limits=(Limit("one", LimitScope.KEY, max_active=1),))
NONE = QueueSettings()


@pytest.fixture
async def store(mongo_database: MongoBackend) -> AsyncIterator[MongoStore]:
    connection = MongoConnection(mongo_database.url, answer_within=timedelta(seconds=30), max_connections=8)
    store = MongoStore(connection)
    await store.open()
    yield store
    await store.close()


async def put(store: MongoStore, settings: QueueSettings) -> None:
    await store.put_settings("q", settings, paused=False)


async def two_of_a_key(store: MongoStore) -> None:
    await added(store, *(a_draft(f"{i}", conditions=Conditions("k")) for i in range(2)))


async def died(*_: object, **__: object) -> None:
    raise OutcomeUnknown("killed")


async def begun(store: MongoStore, **words: object) -> list[str]:
    """Jobs that begin; a claim that has to be made again and again for ever fails."""
    async with asyncio.timeout(10):
        found: list[Claimed] = await claimed(store, **words)  # type: ignore[arg-type]
    return [one.job.job_id for one in found]


async def test_limits_whose_setter_died_before_those_that_run_had_places_hold(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_of_a_key(store)
    [one] = await claimed(store, 1)
    with monkeypatch.context() as dying:
        dying.setattr(store._places, "take_in", died)
        with pytest.raises(OutcomeUnknown):
            await put(store, ONE)
    assert await begun(store) == []
    await finished(store, completed(one))
    assert await begun(store) == ["1"]


async def test_limits_of_which_another_server_took_the_places_away_hold(store: MongoStore) -> None:
    await put(store, ONE)
    await two_of_a_key(store)
    assert await begun(store) == ["0"]
    await store._places._places.delete_one({"_id": "q"})  # as versions did that took limits away while others set some
    assert await begun(store) == []


async def test_limits_that_come_again_wait_for_those_that_run(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, ONE)
    await put(store, NONE)
    await two_of_a_key(store)
    [one] = await claimed(store, 1)
    with monkeypatch.context() as dying:
        dying.setattr(store._places, "take_in", died)
        with pytest.raises(OutcomeUnknown):
            await put(store, ONE)
    assert await begun(store) == []
    await finished(store, completed(one))
    assert await begun(store) == ["1"]


async def test_a_claim_under_way_while_limits_go_and_come_again_exceeds_none(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, ONE)
    await added(store, *(a_draft(name, type=name, conditions=Conditions("k")) for name in "tu"))
    swap, others = store._places.swap, list[str]()

    async def and_go_and_come(document: Document) -> bool:
        monkeypatch.setattr(store._places, "swap", swap)
        done = await swap(document)
        await put(store, NONE)
        await put(store, ONE)
        others.extend(await begun(store, types=["u"]))
        return done

    monkeypatch.setattr(store._places, "swap", and_go_and_come)
    mine = (await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())).claimed
    assert len(mine) + len(others) == 1


async def test_limits_that_are_set_anew_hold_where_taking_them_away_was_not_ended(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, ONE)
    await two_of_a_key(store)
    with monkeypatch.context() as dying:
        dying.setattr(store._settings._settings, "replace_one", died)
        with pytest.raises(OutcomeUnknown):
            await put(store, NONE)
    await put(store, ONE)
    assert await begun(store) == ["0"]


async def test_a_queue_that_is_forgotten_leaves_no_places(store: MongoStore) -> None:
    await put(store, ONE)
    assert await store.forget("q")
    assert await store._places.read("q") is None
