"""Turns of keys on MongoDB: what servers leave that die, or are slow, and what a claim reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from contract.builders import (
    EARLIER,
    HOUR,
    MINUTE,
    SECOND,
    a_draft,
    a_job,
    added,
    claimed,
    claimed_one,
    completed,
    failed,
    finished,
    wish,
)
from support.mongo_backend import MongoBackend
from support.mongo_trace import tracing
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.explaining import Turn
from tocsin_server.domain.job import Draft
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.key_turns import KeyTurn
from tocsin_server.store.mongo.store import MongoStore

FAIR = QueueSettings(fair_turns=True)


@pytest.fixture
async def store(mongo_database: MongoBackend) -> AsyncIterator[MongoStore]:
    connection = MongoConnection(mongo_database.url, answer_within=timedelta(seconds=30), max_connections=8)
    store = MongoStore(connection, manual_clock=True)
    await store.open()
    yield store
    await store.close()


def of(key: str, **words: Any) -> Draft:
    return a_draft(conditions=Conditions(key) if key else NO_CONDITIONS, **words)


async def fair(store: MongoStore, *keys: str) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, *(of(key) for key in keys))


async def died(*_: object, **__: object) -> Any:
    raise StoreAway("its server is dead")


async def turns(store: MongoStore, count: int) -> list[str]:
    """Whose jobs begin, one claim a job."""
    keys = []
    for _ in range(count):
        one = await claimed_one(store)
        keys.append(one.job.spec.conditions.limit_key)
        await finished(store, completed(one))
    return keys


async def known(store: MongoStore) -> dict[str, Collection[str]]:
    """Keys that have documents, and of which types."""
    return {one.get("of", ""): one["types"] async for one in store._turns._turns.find({})}


async def test_keys_that_waited_when_turns_came_have_theirs_though_the_setter_died(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await added(store, *(of(key) for key in ["a", "a", "a", "b", ""]))
    with monkeypatch.context() as patch:
        patch.setattr(store._turns, "begin", died)
        with pytest.raises(Exception, match="dead"):
            await store.put_settings("q", FAIR, paused=False)
    assert sorted(await turns(store, 3)) == ["", "a", "b"]
    assert await turns(store, 2) == ["a", "a"]


async def test_a_job_whose_writer_did_not_know_yet_of_turns_is_found(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fair(store)
    monkeypatch.setattr("tocsin_server.store.mongo.commit.mark_unfiled", lambda *_: None)
    await added(store, of("late"))
    monkeypatch.undo()
    assert await claimed(store) == []
    await store.move_clock(await store.ping() + timedelta(seconds=11))
    assert await turns(store, 1) == ["late"]


async def test_a_turn_whose_server_died_before_it_told_of_it_is_had(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fair(store, *"aaabbb")
    assert await turns(store, 2) == ["a", "b"]
    with monkeypatch.context() as patch:
        patch.setattr(store._commit, "write", died)
        with pytest.raises(StoreAway):
            await claimed_one(store)  # it was the turn of "a"
    assert await turns(store, 4) == ["b", "a", "b", "a"]


async def test_a_claim_that_was_outrun_has_given_no_turn(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await fair(store, *"aaabbb")
    swap, seen = store._places.swap, list[str]()

    async def and_another_claims(document: Any) -> bool:
        monkeypatch.undo()
        seen.extend(await turns(store, 1))
        return await swap(document)

    monkeypatch.setattr(store._places, "swap", and_another_claims)
    seen += await turns(store, 5)
    assert seen == list("ababab")


async def test_a_key_whose_job_comes_while_a_claim_finds_none_stays(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fair(store, "a", "b")
    assert await turns(store, 2) == ["a", "b"]
    drop, dropped = store._turns.drop, list[str]()

    async def but_jobs_come_and_are_filed(queue: str, found: Iterable[tuple[KeyTurn, Sequence[str]]]) -> None:
        monkeypatch.undo()
        empty = list(found)
        dropped.extend(one.key for one, _ in empty)
        await added(store, of("b"))
        assert await claimed(store, types=["u"]) == []
        assert "b" in await known(store)
        await drop(queue, empty)

    monkeypatch.setattr(store._turns, "drop", but_jobs_come_and_are_filed)
    assert await claimed(store) == []
    assert dropped == ["b"]  # the other one was found to be empty beside it
    assert await known(store) == {"b": ["t"]}
    assert await turns(store, 1) == ["b"]
    assert await claimed(store) == []
    assert await known(store) == {}


async def test_of_a_type_that_a_key_has_no_more_it_goes_alone(store: MongoStore) -> None:
    await fair(store)
    await added(store, of("a"), of("a", type="u", when=timedelta(0)))
    await claimed_one(store)
    assert await claimed(store) == []
    assert await known(store) == {"a": ["u"]}


async def test_a_job_that_comes_back_while_it_is_filed_is_filed_once_more(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written meanwhile under another number keeps its mark."""
    await fair(store)
    await added(store, of("a", job_id="x"))
    add = store._turns._add

    async def and_it_comes_anew(*words: Any) -> None:
        monkeypatch.undo()
        await add(*words)
        await store.cancel("q", [wish("x")])
        assert await store.delete("q", ["x"]) == [None]
        await added(store, of("b", job_id="x"))

    monkeypatch.setattr(store._turns, "_add", and_it_comes_anew)
    assert await claimed(store) == []
    assert await turns(store, 1) == ["b"]


async def test_a_claim_costs_no_more_where_more_waits(store: MongoStore) -> None:
    await fair(store, *"abc")

    async def commands() -> Counter[str]:
        with tracing() as trace:
            one = await claimed_one(store)
        await finished(store, completed(one))
        await claimed(store, types=["u"])  # writes the turn out
        for one_sent in trace.sent:
            if one_sent.name == "aggregate" and one_sent.collection.endswith("turns"):
                stages = one_sent.command["pipeline"]
                [jobs] = [stage["$lookup"]["pipeline"] for stage in stages if "$lookup" in stage]
                assert {"$limit": 2} in stages
                assert {"$limit": 2} in jobs
        return Counter(trace.names)

    await claimed(store, types=["u"])  # files them
    few = await commands()
    await added(store, *(of(key) for key in "aaaabbbbcccc" * 10))
    await claimed(store, types=["u"])
    assert await commands() == few


async def test_turns_of_many_keys_are_read_one_after_another(store: MongoStore) -> None:
    keys = [f"{number:03}" for number in range(70)]
    await fair(store, *keys, *keys)
    begun = [one.job.spec.conditions.limit_key for one in await claimed(store, 140)]
    assert begun == [*keys, *keys]


async def test_a_retry_has_its_keys_turn_and_place_before_others_of_it(store: MongoStore) -> None:
    limits = (Limit("one", LimitScope.KEY, max_active=1), Limit("one u", LimitScope.KEY, "u", max_active=1))
    await store.put_settings("q", QueueSettings(limits=limits, fair_turns=True), paused=False)
    await added(store, of("a", job_id="a"), of("b", job_id="b"))
    a, b = await claimed(store)
    await finished(store, failed(a, HOUR), completed(b))
    await added(store, of("a", job_id="urgent", priority=9), of("b", job_id="b1"))
    assert [one.job.job_id for one in await claimed(store)] == ["b1"]
    await store.move_clock(await store.ping() + HOUR)
    again = await claimed_one(store)
    assert again.job.job_id == "a"
    await finished(store, completed(again))
    assert [one.job.job_id for one in await claimed(store)] == ["urgent"]


async def test_it_is_told_whose_turn_comes_first_before_and_after_turns_are_written(store: MongoStore) -> None:
    await fair(store, *"aabbcc")

    async def before(key: str) -> int:
        job_id = f"last {key}"
        await added(store, of(key, job_id=job_id))
        [outlook] = await store.explain("q", [job_id])
        assert outlook is not None
        assert isinstance(outlook.hindrance, Turn)
        return outlook.hindrance.before

    assert [await before(key) for key in "abc"] == [0, 1, 2]
    assert await turns(store, 1) == ["a"]
    assert [await before(key) for key in "d"] == [3]  # after the turns that were given already
    [outlook] = await store.explain("q", ["last a"])
    assert outlook is not None
    assert outlook.hindrance == Turn("a", 2)


async def test_a_queue_that_is_forgotten_leaves_no_turns(store: MongoStore) -> None:
    await fair(store, *"ab")
    assert len(await turns(store, 2)) == 2
    assert await known(store) != {}
    jobs = await store._jobs.collection.distinct("id")
    await store.delete("q", jobs)
    assert await store.forget("q")
    assert await known(store) == {}


async def test_the_types_of_a_key_are_merged_as_its_jobs_gain_priority(store: MongoStore) -> None:
    await store.put_settings("q", replace(FAIR, priority_ageing=MINUTE), paused=False)
    jobs = [
        a_job(
            f"{n}",
            type="tu"[n % 2],
            priority=n % 3,
            conditions=Conditions("k"),
            life={"schedule_time": EARLIER + n * 7 % 11 * 30 * SECOND},
        )
        for n in range(30)
    ]
    await store.put(jobs, over=False)
    order = sorted(jobs, key=lambda job: (job.schedule_time - job.spec.priority * MINUTE, job.schedule_time))
    found = [await claimed_one(store, types="tu", lease=HOUR) for _ in jobs]
    assert [one.job.job_id for one in found] == [job.job_id for job in order]
