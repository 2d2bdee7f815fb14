"""JobStore.announce and JobStore.workers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from support.eventually import until_async
from tocsin_server.domain.queues import HeldJob, WorkerFigures
from tocsin_server.store.interface import JobStore

from contract.builders import EARLIER, HOUR, MINUTE, NOW
from contract.conftest import Contents
from contract.providers import Provider


def a_worker(name: str = "w1", busy: int = 3) -> WorkerFigures:
    return WorkerFigures(name, ("email", "sms"), 8, busy, 1)


async def speak(store: JobStore, worker: WorkerFigures, ttl: timedelta) -> None:
    await store.announce([worker], worker.worker, ttl)


async def test_no_worker_was_heard_of(store: JobStore, contents: Contents) -> None:
    before = contents()
    assert await store.workers() == []
    assert contents() == before


async def test_a_worker_comes_back_as_it_spoke(store: JobStore, provider: Provider) -> None:
    said = WorkerFigures("host {:} \u202e", (), 8, 3, 1, ("q", "r"), ("no mail transport", ""))
    before = await store.ping()
    await speak(store, said, MINUTE)
    async with provider.store() as other:
        [found] = await other.workers()
    assert found.seen_time is not None
    assert before <= found.seen_time <= await store.ping()
    assert found == replace(said, seen_time=found.seen_time)


async def test_one_that_was_heard_of_before_says_so_and_nobody_was_heard_of_later(store: JobStore) -> None:
    long_ago = replace(a_worker("a"), seen_time=EARLIER)
    of_a_wrong_clock = replace(a_worker("b"), seen_time=await store.ping() + HOUR)
    await store.announce([long_ago, of_a_wrong_clock], "server", MINUTE)
    one, other = await store.workers()
    assert one == long_ago
    assert other.seen_time is not None
    assert other.seen_time <= await store.ping()


async def test_a_server_speaks_for_many(store: JobStore, provider: Provider) -> None:
    held = tuple(HeldJob("q", f"\u00e4 {number}", "email", number) for number in range(1, 4))
    remote = WorkerFigures(
        "resizer-1",
        ("email",),
        4,
        3,
        0,
        ("q",),
        remote=True,
        version="2.11.0",
        language="go",
        labels={"host": "a.b", "dr.\u00fcben": ""},
        since=EARLIER,
        held=held,
        free=1,
    )
    said = [a_worker("b"), remote, a_worker("a")]
    await store.announce(said, "server 1", MINUTE)
    await store.announce([a_worker("c"), remote], "server 2", MINUTE)
    async with provider.store() as other:
        found = await other.workers()
    assert [worker.worker for worker in found] == ["a", "b", "c", "resizer-1", "resizer-1"]
    assert [replace(worker, seen_time=None) for worker in found[3:]] == [remote, remote]


async def test_who_is_named_no_more_is_gone(store: JobStore, contents: Contents) -> None:
    before = contents()
    await store.announce([a_worker("a"), a_worker("b")], "server", MINUTE)
    await store.announce([a_worker("b")], "server", MINUTE)
    assert [worker.worker for worker in await store.workers()] == ["b"]
    await store.announce([], "server", MINUTE)
    assert await store.workers() == []
    assert contents() == before


async def test_the_last_word_stands(store: JobStore) -> None:
    await speak(store, a_worker(busy=1), MINUTE)
    await speak(store, a_worker(busy=2), MINUTE)
    assert [worker.busy for worker in await store.workers()] == [2]


async def test_workers_come_by_name(store: JobStore) -> None:
    for name in ("b", "c", "B", "a"):
        await speak(store, a_worker(name), MINUTE)
    assert [worker.worker for worker in await store.workers()] == ["B", "a", "b", "c"]


async def test_a_word_is_good_for_its_time_only(store: JobStore) -> None:
    await speak(store, a_worker("long"), HOUR)
    await speak(store, a_worker("short"), timedelta(milliseconds=300))

    async def names() -> list[str]:
        return [worker.worker for worker in await store.workers()]

    assert await names() == ["long", "short"]

    async def gone() -> bool:
        return await names() == ["long"]

    await until_async(gone, within=5)


async def test_no_time_at_all_takes_it_back(store: JobStore) -> None:
    await speak(store, a_worker("stays"), MINUTE)
    await speak(store, a_worker(), MINUTE)
    await speak(store, a_worker(), NOW)
    await speak(store, a_worker("never was"), NOW)
    assert [worker.worker for worker in await store.workers()] == ["stays"]
