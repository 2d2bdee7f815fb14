"""The runtime gets jobs as they stand in the store, and its words about them arrive there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

import pytest
from contract.backdating import Backdate
from contract.builders import HOUR, MINUTE, RAW, SECOND, a_draft, added, read, wish
from support.eventually import until_async
from support.running_leasing import StartParts
from support.spied_store import SpiedStore
from tocsin.worker.slots import Slots
from tocsin.worker.source import AttemptOutcome, Ending, Heartbeat, HeartbeatAnswer, LeasedJob
from tocsin_server.dispatch.store_source import StoreSource
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.lease import AttemptOutcome as StoreOutcome
from tocsin_server.domain.lease import Ending as StoreEnding
from tocsin_server.domain.lease import Finished, Lease
from tocsin_server.domain.queues import HeldJob
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore


class StartSource(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[StoreSource]: ...


@pytest.fixture
def start_source(spied: SpiedStore, start_parts: StartParts) -> StartSource:
    @contextlib.asynccontextmanager
    async def start() -> AsyncIterator[StoreSource]:
        made: list[StoreSource] = []
        async with start_parts(
            before=lambda parts: made.append(StoreSource(spied.as_store, parts.leasing, 30 * SECOND))
        ):
            yield made[0]

    return start


async def leased(source: StoreSource) -> LeasedJob:
    came: asyncio.Future[LeasedJob] = asyncio.get_running_loop().create_future()
    slots = Slots(1, {"t": 1})

    def take(jobs: Sequence[LeasedJob]) -> None:
        [job] = jobs
        slots.take(job.queue, job.type)
        came.set_result(job)

    seat = source.sit(slots.types, slots.capacity, take)
    async with asyncio.timeout(5):
        job = await came
    seat.leave()
    return job


async def test_a_leased_job_says_all_that_was_asked_for(spied: SpiedStore, start_source: StartSource) -> None:
    [asked] = await added(
        spied.as_store,
        a_draft("one", body=b"\x00payload\xff", priority=7, timeout=MINUTE, tags={"team": "ops"}),
    )
    async with start_source() as source:
        job = await leased(source)
    assert (job.queue, job.job_id, job.type, job.attempt, job.priority) == ("q", "one", "t", 1, 7)
    assert (job.payload_kind, job.payload_body) == (RAW, b"\x00payload\xff")
    assert (job.create_time, job.schedule_time, job.timeout) == (asked.create_time, asked.schedule_time, MINUTE)
    assert (job.failures, job.crashes, dict(job.tags)) == (0, 0, {"team": "ops"})


async def test_a_job_without_payload_has_kind_0(spied: SpiedStore, start_source: StartSource) -> None:
    await added(spied.as_store, a_draft())
    async with start_source() as source:
        job = await leased(source)
    assert (job.payload_kind, job.payload_body) == (0, b"")


async def test_outcomes_are_recorded_in_order_and_a_strange_lease_is_lost(
    spied: SpiedStore, start_source: StartSource
) -> None:
    await added(spied.as_store, a_draft("one"))
    async with start_source() as source:
        job = await leased(source)
        strange = LeasedJob("q", "two", "t", 1, b"strange", 0, b"", job.create_time, job.schedule_time)
        ends = [AttemptOutcome(strange, Ending.COMPLETED), AttemptOutcome(job, Ending.COMPLETED, result=b"r")]
        assert await source.finish(ends) == [False, True]
        assert await source.finish(ends) == [False, False], "what has ended is no longer held"
    assert (await read(spied.as_store, "one")).result == b"r"


async def test_a_failure_follows_the_jobs_own_policy(spied: SpiedStore, start_source: StartSource) -> None:
    await added(spied.as_store, a_draft("one", retry=RetryPolicy(max_attempts=2, initial_delay=HOUR, jitter=0)))
    async with start_source() as source:
        job = await leased(source)
        await source.finish([AttemptOutcome(job, Ending.FAILED, error_type="ValueError", error_message="no")])
    found = await read(spied.as_store, "one")
    assert (found.state, found.failures, found.errors[0].message) == (State.SCHEDULED, 1, "no")
    assert found.schedule_time - found.create_time >= HOUR


async def test_a_heartbeat_carries_lines_of_log(spied: SpiedStore, start_source: StartSource) -> None:
    await added(spied.as_store, a_draft("one"))
    async with start_source() as source:
        job = await leased(source)
        await source.extend([Heartbeat(job, log=[(2, "first"), (4, "second")]), Heartbeat(job, log=[(3, "third")])])
    page = await spied.as_store.logs("q", "one")
    assert page is not None
    assert [(line.level, line.text) for line in page.lines] == [(2, "first"), (4, "second"), (3, "third")]


async def test_what_runs_here_can_be_told_to_others(spied: SpiedStore, start_source: StartSource) -> None:
    await added(spied.as_store, a_draft("one"))
    async with start_source() as source:
        assert source.held() == ()
        job = await leased(source)
        assert source.held() == (HeldJob("q", "one", "t", 1),)
        await source.finish([AttemptOutcome(job, Ending.COMPLETED)])
        assert source.held() == ()


async def test_a_heartbeat_extends_and_tells_progress(
    spied: SpiedStore, start_source: StartSource, backdate: Backdate
) -> None:
    store = spied.as_store
    await added(store, a_draft("one"))
    async with start_source() as source:
        job = await leased(source)
        backdate.lease(await read(store, "one"), by=20 * SECOND)
        before = (await store.ticks(["q"]))["q"].next_lease_end
        answers = await source.extend([Heartbeat(job, (1.5, "x" * 2000))])
        after = (await store.ticks(["q"]))["q"].next_lease_end
    assert answers == [HeartbeatAnswer()]
    assert before is not None
    assert after is not None
    assert after - before > 15 * SECOND
    progress = (await read(store, "one")).progress
    assert progress is not None
    assert progress.fraction == 1
    assert len(progress.message) == 1024


async def test_a_heartbeat_learns_of_a_lost_lease_and_of_a_cancel(
    spied: SpiedStore, start_source: StartSource, backdate: Backdate
) -> None:
    store = spied.as_store
    async with start_source() as source:
        await added(store, a_draft("lost"))
        lost = await leased(source)
        backdate.lease(await read(store, "lost"), by=HOUR)
        await store.reap("q")
        await added(store, a_draft("wanted", priority=1))
        wanted = await leased(source)
        await store.cancel("q", [wish("wanted", reason="moved", grace=MINUTE)])
        told, asked = await source.extend([Heartbeat(lost), Heartbeat(wanted)])
    assert told == HeartbeatAnswer(lost=True)
    assert (asked.lost, asked.cancel_reason) == (False, "moved")
    assert asked.cancel_grace is not None
    assert timedelta(0) < asked.cancel_grace <= MINUTE


async def test_a_heartbeat_says_that_the_store_is_away(spied: SpiedStore, start_source: StartSource) -> None:
    await added(spied.as_store, a_draft())
    async with start_source() as source:
        job = await leased(source)
        spied.away.add("extend")
        with pytest.raises(StoreAway):
            await source.extend([Heartbeat(job)])


async def test_a_cancel_asks_for_a_beat_at_once_in_queues_that_run_here_only(
    spied: SpiedStore, start_source: StartSource
) -> None:
    store = spied.as_store
    async with start_source() as source:
        await added(store, a_draft("here"), a_draft("there", queue="other", type="other"))
        await leased(source)
        elsewhere = await store.claim("other", {"other": 1}, 1, lease=MINUTE, request=b"elsewher")
        assert elsewhere.claimed
        beat = asyncio.create_task(source.beat_wanted())
        await store.cancel("other", [wish("there")])
        # Messages keep their order: once this one has come, the cancel's has.
        await added(store, a_draft())
        await leased(source)
        assert not beat.done()
        await store.cancel("q", [wish("here")])
        async with asyncio.timeout(0.5):
            await beat


async def test_a_cancel_that_overtakes_the_claims_answer_asks_for_a_beat_too(
    spied: SpiedStore, start_source: StartSource
) -> None:
    store = spied.as_store
    async with start_source() as source:
        gate = spied.gates["claim"] = asyncio.Event()
        waiting = asyncio.create_task(leased(source))
        await added(store, a_draft("one"))
        await until_async(lambda: running(store, "one"), within=5)
        await store.cancel("q", [wish("one")])
        # Messages keep their order: once this one has led to a claim, the cancel's has come.
        await added(store, a_draft("later", queue="other"))
        await spied.until_asked("claim", 1)
        gate.set()
        await waiting
        async with asyncio.timeout(0.5):
            await source.beat_wanted()


async def running(store: JobStore, job_id: str) -> bool:
    return (await read(store, job_id)).state is State.ACTIVE


async def test_the_beat_is_a_third_of_the_lease(start_source: StartSource) -> None:
    async with start_source() as source:
        assert source.heartbeat_every == 10 * SECOND


async def test_what_goes_on_elsewhere_keeps_its_lease_and_is_held_no_more(
    spied: SpiedStore, start_source: StartSource
) -> None:
    store = spied.as_store
    await added(store, a_draft("one"))
    async with start_source() as source:
        job = await leased(source)
        # A heartbeat under way must not make the lease short again afterwards.
        gate = spied.gates["extend"] = asyncio.Event()
        beat = asyncio.create_task(source.extend([Heartbeat(job)]))
        await spied.until_asked("extend", 1)
        handing = asyncio.create_task(source.finish([AttemptOutcome(job, Ending.HANDED_OVER, lease=HOUR)]))
        del spied.gates["extend"]
        gate.set()
        assert await handing == [True]
        await beat
        assert source.held() == ()
        assert await source.extend([Heartbeat(job)]) == [HeartbeatAnswer(lost=True)]
    end = (await store.ticks(["q"]))["q"].next_lease_end
    assert end is not None
    assert end - await store.ping() > 59 * MINUTE
    assert (await read(store, "one")).state is State.ACTIVE


async def test_what_was_ended_elsewhere_before_it_was_handed_over_is_no_trouble(
    spied: SpiedStore, start_source: StartSource
) -> None:
    store = spied.as_store
    await added(store, a_draft("one"), a_draft("two"))
    async with start_source() as source:
        one, two = await leased(source), await leased(source)
        ended = StoreOutcome(Lease("q", "one", 1, one.token), StoreEnding.COMPLETED)
        assert isinstance((await store.finish([ended]))[0], Finished)
        outcomes = [AttemptOutcome(one, Ending.HANDED_OVER, lease=HOUR), AttemptOutcome(two, Ending.COMPLETED)]
        assert await source.finish(outcomes) == [True, True]
    assert {(await read(store, name)).state for name in ("one", "two")} == {State.COMPLETED}
