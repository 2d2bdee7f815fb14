"""What has a push target is claimed and sent there, whoever set it and when; its handler gives way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from contract.builders import MILLISECOND, a_draft, added
from support.eventually import until_async
from support.running_leasing import Parts, StartParts
from support.spied_store import SpiedStore
from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers
from tocsin_server.dispatch.dispatcher import Dispatcher
from tocsin_server.dispatch.pushing import PushHandlers
from tocsin_server.domain.defaults import JobDefaults, PushTarget
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.operations.queues import QueueSettingsCache

TICK = 100 * MILLISECOND
HERE, THERE = PushTarget("https://here.example/"), PushTarget("https://there.example/")


class Sent:
    """What went where: to a push target, or under "" to the handler of its type."""

    def __init__(self) -> None:
        self.jobs: Counter[tuple[str, str, str]] = Counter()  # queue, type, URL
        self.gate: asyncio.Event | None = None
        self.handlers = Handlers()
        self.handlers.on("known")(self._run)

    async def _run(self, job: JobContext) -> None:
        self.jobs[job.queue, job.type, ""] += 1

    async def request(self, job: JobContext) -> None:
        self.jobs[job.queue, job.type, ""] += 1

    async def push(self, job: JobContext, target: PushTarget) -> None:
        self.jobs[job.queue, job.type, target.url] += 1
        if self.gate is not None:
            await self.gate.wait()

    async def until(self, queue: str, type_: str, url: str, count: int = 1) -> None:
        async def so_many() -> bool:
            return self.jobs[queue, type_, url] == count

        await until_async(so_many, within=5, what=f"{count} of {type_} in {queue} to {url!r}, not {self.jobs}")


Start = Callable[..., AbstractAsyncContextManager[Parts]]


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def start(spied: SpiedStore, start_parts: StartParts, sent: Sent) -> Start:
    @contextlib.asynccontextmanager
    async def start(queues: list[str] | None = None) -> AsyncIterator[Parts]:
        made: list[Dispatcher] = []
        requests = Handlers()
        requests.on("http_request")(sent.request)

        def make(parts: Parts) -> None:
            settings = QueueSettingsCache(spied.as_store, ttl=TICK)
            parts.wakeups.on_settings(settings.invalidate)
            args = (spied.as_store, sent.handlers, parts.leasing, parts.wakeups, parts.ticker, settings)
            push = PushHandlers(requests, sent.push)
            made.append(Dispatcher(*args, name="here", tick=TICK, push=push, push_concurrency=3, queues=queues))

        async with start_parts(before=make, tick=TICK) as parts:
            await made[0].start()
            yield parts
            await made[0].stop(0 * MILLISECOND)

    return start


async def put(spied: SpiedStore, queue: str, all_types: PushTarget | None = None, **types: PushTarget) -> None:
    by_type = {type_: JobDefaults(push=target) for type_, target in types.items()}
    settings = QueueSettings(defaults=JobDefaults(push=all_types), type_defaults=by_type)
    await spied.as_store.put_settings(queue, settings, paused=False)


async def add(spied: SpiedStore, queue: str, *types: str) -> None:
    await added(spied.as_store, *(a_draft(queue=queue, type=type_) for type_ in types))


async def test_targets_that_were_set_before_the_start_hold_from_the_first_claim_on(
    spied: SpiedStore, start: Start, sent: Sent
) -> None:
    await put(spied, "q", known=HERE, strange=THERE)
    await add(spied, "q", "known", "strange")
    await add(spied, "r", "known", "strange")
    async with start():
        await sent.until("q", "known", HERE.url)
        await sent.until("q", "strange", THERE.url)
        await sent.until("r", "known", "")
        assert sent.jobs.total() == 3


async def test_a_target_comes_changes_and_goes_while_jobs_come(spied: SpiedStore, start: Start, sent: Sent) -> None:
    async with start():
        await add(spied, "q", "strange", "known")
        await sent.until("q", "known", "")
        await put(spied, "q", strange=HERE)
        await sent.until("q", "strange", HERE.url)
        await put(spied, "q", strange=THERE, known=THERE)
        await add(spied, "q", "strange", "known")
        await sent.until("q", "strange", THERE.url)
        await sent.until("q", "known", THERE.url)
        await put(spied, "q")
        await add(spied, "q", "known", "strange")
        await sent.until("q", "known", "", 2)
        assert sent.jobs["q", "strange", HERE.url] + sent.jobs["q", "strange", THERE.url] == 2


async def test_a_queues_target_is_that_of_types_that_nobody_knew(spied: SpiedStore, start: Start, sent: Sent) -> None:
    async with start():
        await put(spied, "q", HERE, own=THERE)
        await add(spied, "q", "one", "own", "known")
        await sent.until("q", "one", HERE.url)
        await sent.until("q", "own", THERE.url)
        await sent.until("q", "known", HERE.url)
        await add(spied, "q", "two")
        await sent.until("q", "two", HERE.url)
        await put(spied, "q", own=THERE)
        await add(spied, "q", "known", "own")
        await sent.until("q", "known", "")
        await sent.until("q", "own", THERE.url, 2)


async def test_a_server_that_runs_other_queues_sends_nothing_of_this_one(
    spied: SpiedStore, start: Start, sent: Sent
) -> None:
    for queue in ("q", "r"):
        await put(spied, queue, strange=HERE)
        await add(spied, queue, "strange")
    async with start(queues=["r"]):
        await sent.until("r", "strange", HERE.url)
        assert sent.jobs.total() == 1


async def test_where_word_of_a_target_was_lost_it_is_found_with_the_next_names(
    spied: SpiedStore, start: Start, sent: Sent
) -> None:
    async with start() as parts:
        await add(spied, "q", "known")
        await sent.until("q", "known", "")
        hears = [hear for hear in parts.wakeups._settings if hear.__qualname__.startswith("PushTargets")]
        assert len(hears) == 1
        parts.wakeups._settings.remove(hears[0])
        await put(spied, "q", strange=HERE)
        await add(spied, "q", "strange")
        for keep in parts.ticker._keepers:
            keep(frozenset(["q"]))
        await sent.until("q", "strange", HERE.url)


async def test_no_more_are_under_way_than_there_are_slots_and_than_the_type_has(
    spied: SpiedStore, start: Start, sent: Sent
) -> None:
    sent.gate = asyncio.Event()
    types = {"one": JobDefaults(push=HERE, concurrency=1), "wide": JobDefaults(push=HERE)}
    await spied.as_store.put_settings("q", QueueSettings(type_defaults=types), paused=False)
    await add(spied, "q", *["one"] * 4, *["wide"] * 4)
    async with start():
        await sent.until("q", "one", HERE.url)
        await sent.until("q", "wide", HERE.url, 2)
        await spied.until_called("ticks", 3)
        assert sent.jobs.total() == 3
        sent.gate.set()
        await sent.until("q", "one", HERE.url, 4)
        await sent.until("q", "wide", HERE.url, 4)
