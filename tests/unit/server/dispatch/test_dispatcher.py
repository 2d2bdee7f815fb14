"""The embedded loop runs due jobs, says so in the store, and leaves nothing half done when it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

import pytest
from contract.builders import MILLISECOND, MINUTE, SECOND, a_draft, added, read, wish
from support.eventually import until_async
from support.running_leasing import Parts, StartParts
from support.spied_store import SpiedStore
from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers
from tocsin_server.dispatch.dispatcher import Dispatcher
from tocsin_server.domain.job import Job
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.operations.queues import QueueSettingsCache

NOTHING = timedelta(0)


class StartDispatcher(Protocol):
    def __call__(
        self, handlers: Handlers, *, queues: Collection[str] | None = None, lease: timedelta = 30 * SECOND
    ) -> AbstractAsyncContextManager[Dispatcher]: ...


@pytest.fixture
def start(spied: SpiedStore, start_parts: StartParts) -> StartDispatcher:
    @contextlib.asynccontextmanager
    async def start(
        handlers: Handlers, *, queues: Collection[str] | None = None, lease: timedelta = 30 * SECOND
    ) -> AsyncIterator[Dispatcher]:
        made: list[Dispatcher] = []

        def make(parts: Parts) -> None:
            made.append(
                Dispatcher(
                    spied.as_store,
                    handlers,
                    parts.leasing,
                    parts.wakeups,
                    parts.ticker,
                    QueueSettingsCache(spied.as_store),
                    name="here",
                    queues=queues,
                    lease=lease,
                )
            )

        async with start_parts(before=make, tick=100 * MILLISECOND):
            await made[0].start()
            yield made[0]
            await made[0].stop(NOTHING)

    return start


def the_handlers() -> Handlers:
    handlers = Handlers()

    @handlers.on("echo", concurrency=3)
    async def echo(job: JobContext) -> dict[str, int]:
        return {"attempt": job.attempt}

    @handlers.on("fail")
    def fail(job: JobContext) -> None:
        raise ValueError("planted")

    @handlers.on("wait")
    async def wait(job: JobContext) -> None:
        await asyncio.Event().wait()

    return handlers


async def reached(spied: SpiedStore, job: Job, state: State) -> Job:
    async def read_it() -> Job | None:
        found = await read(spied.as_store, job)
        return found if found.state is state else None

    found = await until_async(read_it, within=5)
    assert found is not None
    return found


async def test_jobs_are_run_and_their_results_kept(spied: SpiedStore, start: StartDispatcher) -> None:
    async with start(the_handlers()):
        jobs = await added(spied.as_store, *(a_draft(type="echo", when=n * MILLISECOND) for n in range(20)))
        for job in jobs:
            done = await reached(spied, job, State.COMPLETED)
            assert done.attempt == 1
            assert done.result


async def test_a_failing_job_is_tried_again_until_its_attempts_are_spent(
    spied: SpiedStore, start: StartDispatcher
) -> None:
    async with start(the_handlers()):
        policy = RetryPolicy(max_attempts=3, initial_delay=10 * MILLISECOND)
        [job] = await added(spied.as_store, a_draft(type="fail", retry=policy))
        done = await reached(spied, job, State.FAILED)
    assert (done.attempt, done.failures, len(done.errors)) == (3, 3, 3)
    assert done.errors[-1].message == "planted"


async def test_a_running_job_is_cancelled_when_asked(spied: SpiedStore, start: StartDispatcher) -> None:
    async with start(the_handlers()):
        [job] = await added(spied.as_store, a_draft(type="wait"))
        await reached(spied, job, State.ACTIVE)
        await spied.as_store.cancel("q", [wish(job)])
        async with asyncio.timeout(2):  # long before the next heartbeat is due
            done = await reached(spied, job, State.CANCELLED)
    assert done.cancel is not None
    assert done.cancel.obey_time is not None


async def test_a_lease_is_kept_for_as_long_as_the_job_runs(spied: SpiedStore, start: StartDispatcher) -> None:
    async with start(the_handlers(), lease=SECOND):
        [job] = await added(spied.as_store, a_draft(type="wait"))
        await reached(spied, job, State.ACTIVE)
        await spied.until_called("extend", 4)
        assert len(await spied.as_store.reap("q")) == 0
        assert (await read(spied.as_store, job)).attempt == 1


async def test_stopped_it_gives_back_what_runs_with_nothing_counted(spied: SpiedStore, start: StartDispatcher) -> None:
    async with start(the_handlers()) as dispatcher:
        jobs = await added(spied.as_store, *(a_draft(type="wait") for _ in range(5)))
        for job in jobs:
            await reached(spied, job, State.ACTIVE)
        await dispatcher.stop(NOTHING)
        for job in jobs:
            found = await read(spied.as_store, job)
            assert (found.state, found.failures, found.crashes) == (State.WAITING, 0, 0)
        [late] = await added(spied.as_store, a_draft(type="echo"))
        await spied.until_called("ticks", 2)
        assert (await read(spied.as_store, late)).state is State.WAITING


async def test_a_job_of_a_type_without_handler_stays_waiting(spied: SpiedStore, start: StartDispatcher) -> None:
    async with start(the_handlers()):
        [stranger, known] = await added(spied.as_store, a_draft(type="unknown"), a_draft(type="echo"))
        await reached(spied, known, State.COMPLETED)
        assert (await read(spied.as_store, stranger)).state is State.WAITING


async def test_it_says_what_it_runs_until_it_is_stopped(spied: SpiedStore, start: StartDispatcher) -> None:
    async with start(the_handlers(), queues=["q", "b"]) as dispatcher:
        [worker] = dispatcher.words()
        assert (worker.worker, worker.types, worker.queues) == ("here", ("echo", "fail", "wait"), ("b", "q"))
        assert (worker.slots, worker.busy, worker.abandoned, worker.warnings) == (20, 0, 0, ())
        assert (worker.free, worker.remote) == (20, False)
        await dispatcher.stop(MINUTE)
        assert dispatcher.words() == []


async def test_without_handlers_it_claims_nothing_and_says_nothing(spied: SpiedStore, start: StartDispatcher) -> None:
    await added(spied.as_store, a_draft())
    async with start(Handlers()) as dispatcher:
        await spied.until_called("ticks", 2)
        assert dispatcher.last_tick is not None
        assert dispatcher.words() == []
    assert spied.calls["claim"] == 0


async def test_the_last_tick_stands_still_while_the_store_is_away(spied: SpiedStore, start: StartDispatcher) -> None:
    async with start(the_handlers()) as dispatcher:
        await spied.until_called("count_queues", 2)
        spied.away.add("count_queues")
        await spied.until_called("count_queues", 2)
        last = dispatcher.last_tick
        assert last is not None
        await spied.until_called("count_queues", 3)
        assert dispatcher.last_tick == last
