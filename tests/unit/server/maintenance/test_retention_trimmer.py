"""Age and count of ended jobs hold within a tick; what just ended is spared, and a quiet queue costs nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from contract.backdating import Backdate
from contract.builders import HOUR, MINUTE, SECOND, a_draft, added, cancelled, claimed, completed, failed
from support.spied_store import SpiedStore
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.maintenance.retention_trimmer import RetentionTrimmer
from tocsin_server.operations.store_clock import StoreClock


class MovedClock(StoreClock):
    """The store's clock, moved on by hand."""

    def __init__(self) -> None:
        super().__init__()
        self._by = timedelta(0)

    def move(self, by: timedelta) -> None:
        self._by += by

    def now(self) -> datetime:
        return super().now() + self._by


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def trimmer(spied: SpiedStore, clock: MovedClock) -> RetentionTrimmer:
    return RetentionTrimmer(spied.as_store, clock, completed_max=3, failed_max=2)


async def a_tick(spied: SpiedStore, trimmer: RetentionTrimmer) -> int:
    """How many jobs stand after what a tick leads to."""
    store = spied.as_store
    trimmer.hear(await store.ticks(await store.queues()))
    while await trimmer.step():
        pass
    figures = await store.figures("q")
    return sum(figures.total(state) for state in State)


async def ended(spied: SpiedStore, count: int, *, fail: bool = False) -> list[Job]:
    store = spied.as_store
    await added(store, *(a_draft() for _ in range(count)))
    ones = await claimed(store)
    await store.finish([failed(one) if fail else completed(one) for one in ones])
    found = await store.get("q", [one.job.job_id for one in ones], View.BASIC)
    return [job for job in found if job is not None]


async def test_by_age_what_is_past_its_retention_goes(
    spied: SpiedStore, trimmer: RetentionTrimmer, backdate: Backdate
) -> None:
    old, _ = await ended(spied, 2)
    backdate.end(old, by=25 * HOUR)
    assert await a_tick(spied, trimmer) == 1
    assert await spied.as_store.get("q", [old.job_id], View.BASIC) == [None]


async def test_failed_jobs_keep_their_own_age_and_count(
    spied: SpiedStore, trimmer: RetentionTrimmer, backdate: Backdate
) -> None:
    for job in await ended(spied, 4, fail=True):
        backdate.end(job, by=25 * HOUR)
    assert await a_tick(spied, trimmer) == 2


async def test_by_count_the_oldest_go_once_they_are_no_longer_spared(
    spied: SpiedStore, trimmer: RetentionTrimmer, backdate: Backdate
) -> None:
    jobs = await ended(spied, 5)
    assert await a_tick(spied, trimmer) == 5, "what just ended is spared"
    for job in jobs:
        backdate.end(job, by=5 * MINUTE)
    await a_tick(spied, trimmer)  # backdating shows in a tick; the passing of five minutes does not
    await ended(spied, 2)
    assert await a_tick(spied, trimmer) == 3
    assert await spied.as_store.get("q", [job.job_id for job in jobs[:2]], View.BASIC) == [None, None]


async def test_a_quiet_queue_is_trimmed_again_when_what_ended_is_no_longer_spared(
    spied: SpiedStore, trimmer: RetentionTrimmer, clock: MovedClock
) -> None:
    await ended(spied, 5)
    await a_tick(spied, trimmer)
    clock.move(5 * MINUTE - 20 * SECOND)
    await a_tick(spied, trimmer)  # has its sweep now, so that it is not the sweep that comes next
    before = spied.calls["trim"]
    clock.move(10 * SECOND)
    await a_tick(spied, trimmer)
    assert spied.calls["trim"] == before, "nothing has changed, and all is spared"
    clock.move(11 * SECOND)
    await a_tick(spied, trimmer)
    assert spied.calls["trim"] == before + 1


async def test_ends_that_move_no_time_of_a_tick_are_found_by_the_next(
    spied: SpiedStore, trimmer: RetentionTrimmer, backdate: Backdate
) -> None:
    store = spied.as_store
    [first, *rest] = await added(store, *(a_draft(when=HOUR + n * SECOND) for n in range(8)))
    oldest = await cancelled(store, rest[-1])
    backdate.end(oldest, by=HOUR)
    await a_tick(spied, trimmer)
    for job in rest[:-1]:
        backdate.end(await cancelled(store, job), by=10 * MINUTE)
    assert first.state is State.SCHEDULED
    assert await a_tick(spied, trimmer) == 4


async def test_a_lower_maximum_is_found_by_the_sweep(
    spied: SpiedStore, trimmer: RetentionTrimmer, backdate: Backdate, clock: MovedClock
) -> None:
    for job in await ended(spied, 3):
        backdate.end(job, by=10 * MINUTE)
    assert await a_tick(spied, trimmer) == 3
    await a_tick(spied, trimmer)
    await spied.as_store.put_settings("q", QueueSettings(completed_max=1), paused=False)
    assert await a_tick(spied, trimmer) == 3
    clock.move(61 * SECOND)
    assert await a_tick(spied, trimmer) == 1


async def test_of_many_queues_with_ended_jobs_a_few_are_swept_at_a_time(
    spied: SpiedStore, trimmer: RetentionTrimmer, clock: MovedClock
) -> None:
    store = spied.as_store
    for job in await added(store, *(a_draft(queue=f"q{number}") for number in range(25))):
        await cancelled(store, job)
    swept = []
    for _ in range(4):
        before = spied.calls["trim"]
        await a_tick(spied, trimmer)
        swept.append(spied.calls["trim"] - before)
        clock.move(SECOND)
    assert swept == [10, 10, 5, 0]


async def test_a_queue_without_ended_jobs_costs_no_call(spied: SpiedStore, trimmer: RetentionTrimmer) -> None:
    await added(spied.as_store, a_draft(), a_draft(when=HOUR))
    await a_tick(spied, trimmer)
    await added(spied.as_store, a_draft())
    await a_tick(spied, trimmer)
    assert spied.calls["trim"] == 0


async def test_a_queue_that_went_with_its_ended_jobs_is_swept_no_more(
    spied: SpiedStore, trimmer: RetentionTrimmer, clock: MovedClock
) -> None:
    await ended(spied, 1)
    await a_tick(spied, trimmer)

    async def swept() -> bool:
        clock.move(2 * MINUTE)
        trimmer.hear({})
        before = spied.calls["trim"]
        while await trimmer.step():
            pass
        return spied.calls["trim"] > before

    assert await swept()
    trimmer.keep(["another"])
    assert not await swept()
