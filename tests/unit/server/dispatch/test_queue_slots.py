"""What is set for a queue holds for what runs of it here: from the first claim on, and within a tick of a change."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

import pytest
from contract.builders import MILLISECOND, a_draft, added
from support.eventually import until_async
from support.running_leasing import Parts, StartParts
from support.spied_store import SpiedStore
from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers
from tocsin_server.dispatch.dispatcher import Dispatcher
from tocsin_server.domain.defaults import JobDefaults
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.operations.queues import QueueSettingsCache


class Crowd:
    """Handlers whose attempts wait, and who is in."""

    def __init__(self) -> None:
        self.inside: Counter[tuple[str, str]] = Counter()  # by queue and type
        self.gates: dict[tuple[str, str], asyncio.Event] = {}
        self.handlers = Handlers()
        for type_, concurrency in (("silent", None), ("three", 3), ("wide", 100)):
            self.handlers.on(type_, concurrency=concurrency)(self._run)

    async def _run(self, job: JobContext) -> None:
        who = (job.queue, job.type)
        self.inside[who] += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.inside[who] -= 1

    async def until(self, queue: str, type_: str, count: int) -> None:
        """Return when so many are in."""

        async def so_many() -> bool:
            return self.inside[queue, type_] == count

        await until_async(so_many, within=5, what=f"{count} of {type_} in {queue}, not {self.inside}")


class StartDispatcher(Protocol):
    def __call__(self, *, tick: timedelta = 100 * MILLISECOND) -> AbstractAsyncContextManager[Parts]: ...


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


@pytest.fixture
def start(spied: SpiedStore, start_parts: StartParts, crowd: Crowd) -> StartDispatcher:
    @contextlib.asynccontextmanager
    async def start(*, tick: timedelta = 100 * MILLISECOND) -> AsyncIterator[Parts]:
        made: list[Dispatcher] = []

        def make(parts: Parts) -> None:
            settings = QueueSettingsCache(spied.as_store, ttl=tick)
            parts.wakeups.on_settings(settings.invalidate)
            args = (spied.as_store, crowd.handlers, parts.leasing, parts.wakeups, parts.ticker, settings)
            made.append(Dispatcher(*args, name="here", tick=tick))

        async with start_parts(before=make, tick=tick) as parts:
            await made[0].start()
            yield parts
            await made[0].stop(timedelta(0))

    return start


def number(all_types: int | None = None, **types: int) -> QueueSettings:
    by_type = {type_: JobDefaults(concurrency=count) for type_, count in types.items()}
    return QueueSettings(defaults=JobDefaults(concurrency=all_types), type_defaults=by_type)


async def put(spied: SpiedStore, queue: str, settings: QueueSettings) -> None:
    await spied.as_store.put_settings(queue, settings, paused=False)


async def add(spied: SpiedStore, queue: str, type_: str, count: int = 9) -> None:
    await added(spied.as_store, *(a_draft(queue=queue, type=type_) for _ in range(count)))


async def all_tried(spied: SpiedStore, parts: Parts) -> None:
    """Return when whatever could begin has had its time to."""
    for _ in range(3):
        await parts.ticker.look("q")
        await spied.until_called("ticks", 1)


async def test_a_type_without_any_number_runs_five_at_once_over_all_queues(
    spied: SpiedStore, start: StartDispatcher, crowd: Crowd
) -> None:
    await add(spied, "q", "silent", 3)
    await add(spied, "r", "silent", 9)
    async with start() as parts:
        await add(spied, "q", "three")
        await crowd.until("q", "three", 3)
        await crowd.until("q", "silent", 3)
        await crowd.until("r", "silent", 2)
        await all_tried(spied, parts)
        assert crowd.inside == {("q", "three"): 3, ("q", "silent"): 3, ("r", "silent"): 2}


async def test_the_type_goes_before_the_queue_before_the_handler_before_the_server(
    spied: SpiedStore, start: StartDispatcher, crowd: Crowd
) -> None:
    await put(spied, "q", number(4, silent=1))
    async with start() as parts:
        for queue in ("q", "r"):
            for type_ in ("silent", "three"):
                await add(spied, queue, type_)
        await crowd.until("q", "silent", 1)
        await crowd.until("q", "three", 4)
        await crowd.until("r", "silent", 5)
        await crowd.until("r", "three", 3)
        await all_tried(spied, parts)
        assert crowd.inside.total() == 13


@pytest.mark.parametrize("lost", [False, True], ids=["heard", "lost"])
async def test_a_raised_number_holds_also_where_its_message_is_lost(
    spied: SpiedStore, start: StartDispatcher, crowd: Crowd, lost: bool
) -> None:
    await put(spied, "q", number(1))
    # A tick that is not awaited here: what is heard goes before it.
    async with start(tick=100 * MILLISECOND if lost else timedelta(minutes=1)):
        for type_ in ("silent", "three", "wide"):  # all, so that no claim for another one brings the news
            await add(spied, "q", type_)
            await crowd.until("q", type_, 1)
        spied.deaf = lost
        await put(spied, "q", number(3))
        for type_ in ("silent", "three", "wide"):
            await crowd.until("q", type_, 3)
        await put(spied, "q", number(3, silent=8))
        await crowd.until("q", "silent", 8)


async def test_a_queue_gets_room_of_its_own_while_others_fill_what_is_shared(
    spied: SpiedStore, start: StartDispatcher, crowd: Crowd
) -> None:
    async with start() as parts:
        await add(spied, "q", "silent")
        await crowd.until("q", "silent", 5)
        await add(spied, "r", "silent")
        await all_tried(spied, parts)
        assert crowd.inside["r", "silent"] == 0
        await put(spied, "r", number(2))
        await crowd.until("r", "silent", 2)
        await put(spied, "q", number(5))  # what it fills is its own now: others find all of what is shared
        await add(spied, "s", "silent")
        await crowd.until("s", "silent", 5)


async def test_a_lowered_number_stops_nothing_and_holds_for_what_comes(
    spied: SpiedStore, start: StartDispatcher, crowd: Crowd
) -> None:
    async with start() as parts:
        await add(spied, "q", "silent", 5)
        await crowd.until("q", "silent", 5)
        await put(spied, "q", number(silent=2))
        await add(spied, "q", "silent", 5)
        await all_tried(spied, parts)
        assert crowd.inside["q", "silent"] == 5
        await put(spied, "q", number(silent=6))
        await crowd.until("q", "silent", 6)


async def test_no_number_goes_above_what_runs_in_all(spied: SpiedStore, start: StartDispatcher, crowd: Crowd) -> None:
    await put(spied, "q", number(10_000))
    async with start() as parts:
        await add(spied, "q", "wide", 30)
        await crowd.until("q", "wide", 20)
        await all_tried(spied, parts)
        assert crowd.inside.total() == 20


async def test_a_queue_that_is_full_is_not_claimed_from(
    spied: SpiedStore, start: StartDispatcher, crowd: Crowd
) -> None:
    await put(spied, "q", number(1))
    async with start() as parts:
        await add(spied, "q", "silent")
        await crowd.until("q", "silent", 1)
        await all_tried(spied, parts)
        before = spied.calls["claim"]
        await all_tried(spied, parts)
        assert spied.calls["claim"] == before


async def test_settings_that_cannot_be_read_keep_the_queue_waiting_and_no_other_number_is_assumed(
    spied: SpiedStore, start: StartDispatcher, crowd: Crowd
) -> None:
    await put(spied, "q", number(1))
    await add(spied, "q", "silent")
    spied.away.add("settings")
    async with start() as parts:
        await spied.until_called("settings", 2)
        await all_tried(spied, parts)
        assert crowd.inside.total() == 0
        spied.away.clear()
        await crowd.until("q", "silent", 1)
        await all_tried(spied, parts)
        assert crowd.inside.total() == 1
