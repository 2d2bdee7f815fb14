"""Each message reaches those whom it concerns, whatever befalls the listening."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from contract.builders import HOUR, a_draft, added, claimed_one, wish
from redis import Redis
from support.eventually import until_async
from support.spied_store import SpiedStore
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.operations.wakeups import Wakeups


class Heard:
    """What hearers were told."""

    def __init__(self, wakeups: Wakeups) -> None:
        self.work: asyncio.Queue[tuple[str, datetime | None]] = asyncio.Queue()
        self.cancels: asyncio.Queue[str] = asyncio.Queue()
        self.settings: asyncio.Queue[str] = asyncio.Queue()
        wakeups.on_work(lambda queue, due: self.work.put_nowait((queue, due)))
        wakeups.on_cancel(self.cancels.put_nowait)
        wakeups.on_settings(self.settings.put_nowait)


@pytest.fixture
def wakeups(spied: SpiedStore) -> Wakeups:
    return Wakeups(spied.as_store)


@pytest.fixture
def heard(wakeups: Wakeups) -> Heard:
    return Heard(wakeups)


@pytest.fixture
async def listening(wakeups: Wakeups, heard: Heard, valkey_client: Redis) -> AsyncIterator[None]:
    wakeups.start()

    async def subscribed() -> bool:
        return bool(valkey_client.pubsub_numsub("tests:wake")[0][1])

    await until_async(subscribed, within=5)
    yield
    await wakeups.close()


async def test_work_is_told_with_its_due_time(spied: SpiedStore, heard: Heard, listening: None) -> None:
    [now] = await added(spied.as_store, a_draft())
    assert await heard.work.get() == (now.queue, None)  # the queue is new
    [later] = await added(spied.as_store, a_draft(when=HOUR))
    assert await heard.work.get() == (now.queue, None)
    assert await heard.work.get() == (later.queue, later.schedule_time)


async def test_a_cancel_of_a_running_job_is_told_and_is_no_work(
    spied: SpiedStore, heard: Heard, listening: None
) -> None:
    store = spied.as_store
    [job] = await added(store, a_draft())
    await claimed_one(store)
    for _ in ("the queue is new", "a job came"):
        await heard.work.get()
    await store.cancel("q", [wish(job)])
    assert await heard.cancels.get() == "q"
    assert heard.work.empty()


async def test_new_settings_are_told_and_may_be_work(spied: SpiedStore, heard: Heard, listening: None) -> None:
    await spied.as_store.put_settings("q", QueueSettings(), paused=True)
    assert await heard.settings.get() == "q"
    assert await heard.work.get() == ("q", None)


async def test_a_hearer_that_fails_keeps_nothing_from_the_others(
    spied: SpiedStore, wakeups: Wakeups, valkey_client: Redis
) -> None:
    def fail(queue: str, due: datetime | None) -> None:
        raise RuntimeError("planted")

    wakeups.on_work(fail)
    heard = Heard(wakeups)
    wakeups.start()

    async def told() -> bool:
        await added(spied.as_store, a_draft())
        return heard.work.qsize() >= 2

    await until_async(told, within=5)
    await wakeups.close()


async def test_listening_goes_on_after_any_error(spied: SpiedStore, wakeups: Wakeups, heard: Heard) -> None:
    spied.break_with["wakes"] = RuntimeError("planted")
    wakeups.start()

    async def told() -> bool:
        await added(spied.as_store, a_draft())
        return not heard.work.empty()

    await until_async(told, within=5)
    assert spied.calls["wakes"] == 2
    await wakeups.close()


async def test_a_moved_clock_is_told_and_is_no_work(
    spied: SpiedStore, wakeups: Wakeups, heard: Heard, listening: None, valkey_client: Redis
) -> None:
    moved = asyncio.Event()
    wakeups.on_moved(moved.set)
    valkey_client.publish("tests:wake", b"\x10" + bytes(6))
    async with asyncio.timeout(5):
        await moved.wait()
    assert heard.work.empty()
