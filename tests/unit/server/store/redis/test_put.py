"""JobStore.put in Redis: what it keeps in the index of ids, and an answer that is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from contract.builders import a_draft, a_job, a_query, added, listed, placed
from redis import Redis
from support.redis_servers import Proxy
from support.spied_store import SpiedStore
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway
from tocsin_server.domain.job import Put, View
from tocsin_server.store.interface import JobStore
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.store import RedisStore

NAMESPACE = "tests"


async def test_only_ids_that_do_not_tell_their_arrival_take_room_in_the_index(
    spied: SpiedStore, valkey_client: Redis
) -> None:
    store = spied.as_store
    made = await added(store, *(a_draft(queue="there") for _ in range(4)))
    jobs = [replace(job, spec=replace(job.spec, queue="q")) for job in made]
    assert await placed(store, *jobs[:3], a_job("callers", arrival=9)) == [Put.CREATED] * 4
    assert valkey_client.hkeys("tests:{q}:d") == [b"callers"]
    assert await placed(store, replace(jobs[3], arrival=3)) == [Put.CREATED]
    assert set(valkey_client.hkeys("tests:{q}:d")) == {b"callers", jobs[3].job_id.encode()}
    ids = [job.job_id for job in jobs]
    assert await store.delete("q", [*ids, "callers"], ended_only=False) == [None] * 5
    assert valkey_client.exists("tests:{q}:d") == 0


async def test_nothing_is_left_of_a_job_that_was_replaced_and_deleted(spied: SpiedStore, valkey_client: Redis) -> None:
    store = spied.as_store
    await placed(store, a_job("a", arrival=3, tags={"k": "v"}, life={"result": b"r"}))
    await placed(store, a_job("a", arrival=4, tags={"l": "w"}, life={"result": b"r"}), over=True)
    await placed(store, a_job("a", arrival=4, type="u"), over=True)
    await store.delete("q", ["a"], ended_only=False)
    kinds = {key.removeprefix(b"tests:{q}:")[:1] for key in valkey_client.scan_iter(match="tests:{q}:*")}
    assert kinds == {b"q", b"k", b"v", b"o"}, "the queue's own fields, tick and changes are all that stays"


@pytest.fixture
async def proxied(proxy: Proxy) -> AsyncIterator[JobStore]:
    """A store whose every word passes through the proxy."""
    store = RedisStore(RedisConnection(proxy.url, answer_within=timedelta(seconds=5)), NAMESPACE)
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize(("over", "again"), [(False, Put.KEPT), (True, Put.SAME)])
async def test_a_call_whose_answer_was_lost_is_repeated_and_places_nothing_twice(
    proxied: JobStore, proxy: Proxy, over: bool, again: Put
) -> None:
    await placed(proxied, a_job("warm"))  # the script is known from here on, so that its hash is all that is sent
    jobs = [a_job(f"{n}", arrival=n % 5) for n in range(20)]
    proxy.cut_after = b"EVALSHA"
    with pytest.raises(OutcomeUnknown):
        await proxied.put(jobs, over=over)
    proxy.cut_after = None
    before = await proxied.get("q", [job.job_id for job in jobs], View.FULL)
    assert None not in before
    assert await placed(proxied, *jobs, over=over) == [again] * 20
    assert await proxied.get("q", [job.job_id for job in jobs], View.FULL) == before


async def test_where_a_later_part_is_not_answered_the_answers_of_earlier_ones_stand(
    proxied: JobStore, proxy: Proxy
) -> None:
    await placed(proxied, a_job("warm"))
    marker = "the one whose call is lost"
    jobs = [a_job(f"{n:03}", arrival=n + 10) for n in range(50)]
    jobs += [a_job(marker), *(a_job(f"{n}", arrival=n) for n in range(200, 260))]
    proxy.cut_after = marker.encode()
    answers = await proxied.put(jobs, over=True)
    assert answers[:50] == [Put.CREATED] * 50
    assert {type(answer) for answer in answers[50:100]} == {OutcomeUnknown}
    assert {type(answer) for answer in answers[100:]} == {StoreAway}
    proxy.cut_after = None
    assert await placed(proxied, *jobs, over=True) == [Put.SAME] * 100 + [Put.CREATED] * 11
    assert len(await listed(proxied, a_query(limit=100))) == 112
