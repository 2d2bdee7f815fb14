"""Old ended jobs go, in bounded steps, and no others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from contract.backdating import Backdate
from contract.builders import HOUR, MINUTE, a_draft, added, claimed_one, completed, finished, read
from support.spied_store import SpiedStore
from tocsin_server.domain.commands import RetryJob
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.filters import ListQuery, Page
from tocsin_server.domain.states import ENDED, State
from tocsin_server.operations.cleanup import Cleaned, Cleanup, Wanted
from tocsin_server.store.interface import JobStore

from integration.housekeeping.ending import again, ended

DAY = 24 * HOUR
COMPLETED, FAILED, CANCELLED = State.COMPLETED, State.FAILED, State.CANCELLED


async def clean(store: JobStore, *, dry_run: bool = False, step: int = 200, **wanted: Any) -> Cleaned:
    words: dict[str, Any] = {"queue": "q", "older_than": HOUR, **wanted}
    return await Cleanup(store, step=step).clean(Wanted(**words), dry_run=dry_run, tell=lambda done, most: None)


async def test_what_ended_long_enough_ago_goes_and_is_counted_by_state_and_type(
    store: JobStore, backdate: Backdate
) -> None:
    old = [("a", COMPLETED, 3 * HOUR), ("a", COMPLETED, 2 * HOUR), ("b", FAILED, 5 * HOUR), ("b", CANCELLED, 2 * HOUR)]
    young = [("a", COMPLETED, 59 * MINUTE), ("b", FAILED, timedelta(0))]
    jobs = await ended(store, backdate, *old, *young)
    cleaned = await clean(store)
    assert cleaned.counts == {(COMPLETED, "a"): 2, (FAILED, "b"): 1, (CANCELLED, "b"): 1}
    assert (cleaned.total, cleaned.oldest, cleaned.newest) == (
        4,
        jobs[2].end_time,
        max(job.end_time for job in (jobs[1], jobs[3]) if job.end_time),
    )
    assert await again(store, jobs) == jobs[4:]


async def test_only_the_types_and_states_that_are_named_go(store: JobStore, backdate: Backdate) -> None:
    kinds = [(type_, state, DAY) for type_ in ("a", "b") for state in (COMPLETED, FAILED, CANCELLED)]
    jobs = await ended(store, backdate, *kinds)
    cleaned = await clean(store, types=frozenset({"a"}), states=frozenset({FAILED, CANCELLED}))
    assert cleaned.counts == {(FAILED, "a"): 1, (CANCELLED, "a"): 1}
    left = await again(store, jobs)
    assert [(job.spec.type, job.state) for job in left] == [("a", COMPLETED), *((t, s) for t, s, _ in kinds[3:])]


async def test_a_dry_run_counts_the_same_and_deletes_nothing(store: JobStore, backdate: Backdate) -> None:
    jobs = await ended(store, backdate, *[("a", COMPLETED, 2 * HOUR)] * 5, ("a", FAILED, MINUTE))
    dry = await clean(store, dry_run=True)
    assert await again(store, jobs) == jobs
    wet = await clean(store)
    assert (dry.counts, dry.oldest, dry.newest) == (wet.counts, wet.oldest, wet.newest)
    assert len(await again(store, jobs)) == 1


async def test_jobs_that_have_not_ended_stay_however_old(store: JobStore, backdate: Backdate) -> None:
    [scheduled] = await added(store, a_draft(when=HOUR))
    backdate.due(scheduled, by=30 * MINUTE)
    [_] = await added(store, a_draft(type="run"))
    active = await claimed_one(store, types=["run"])
    [waiting] = await added(store, a_draft(type="none"))
    cleaned = await clean(store, older_than=timedelta(seconds=1))
    assert cleaned.total == 0
    states = [(await read(store, job)).state for job in (scheduled, active, waiting)]
    assert states == [State.SCHEDULED, State.ACTIVE, State.WAITING]
    await finished(store, completed(active))


async def test_a_job_that_is_spared_and_another_queue_are_left_alone(store: JobStore, backdate: Backdate) -> None:
    mine, other = await ended(store, backdate, ("a", COMPLETED, DAY), ("a", COMPLETED, DAY))
    elsewhere = await ended(store, backdate, ("a", COMPLETED, DAY), queue="q2")
    cleaned = await clean(store, spared=mine.job_id)
    assert cleaned.total == 1
    assert await again(store, [mine, other]) == [mine]
    assert await again(store, elsewhere) == elsewhere


async def test_it_goes_step_by_step_and_tells_how_far_it_is(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, *[("a", COMPLETED, DAY)] * 50, *[("a", COMPLETED, MINUTE)] * 5)
    spied = SpiedStore(store)
    told: list[tuple[int, int]] = []
    wanted = Wanted("q", HOUR, states=frozenset({COMPLETED}))
    await Cleanup(spied.as_store, step=20).clean(
        wanted, dry_run=False, tell=lambda done, most: told.append((done, most))
    )
    assert sorted(len(args[1]) for args, _ in spied.arguments["delete"]) == [10, 20, 20]
    assert told == [(20, 55), (40, 55), (50, 55)]


async def test_broken_off_and_run_again_it_goes_on_with_what_is_left(store: JobStore, backdate: Backdate) -> None:
    jobs = await ended(store, backdate, *[("a", COMPLETED, DAY)] * 30)
    spied = SpiedStore(store)

    def pull_the_plug(done: int, most: int) -> None:
        if done == 20:
            spied.away.add("delete")

    with pytest.raises(StoreAway):
        await Cleanup(spied.as_store, step=10).clean(Wanted("q", HOUR), dry_run=False, tell=pull_the_plug)
    assert len(await again(store, jobs)) == 10
    assert (await clean(store)).total == 10
    assert (await clean(store)).total == 0


class Meddled(SpiedStore):
    """Something happens right after each page was read."""

    def __init__(self, store: JobStore, meddle: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store)
        self._meddle = meddle

    async def page(self, query: ListQuery) -> Page:
        found = await self._store.page(query)
        await self._meddle()
        return found


async def test_a_job_that_went_or_was_retried_meanwhile_is_passed_over(store: JobStore, backdate: Backdate) -> None:
    gone, retried, plain = await ended(store, backdate, *[("a", FAILED, DAY)] * 3)

    async def meddle() -> None:
        await store.delete("q", [gone.job_id])
        await store.update("q", [RetryJob(retried.job_id)])

    cleaned = await clean(Meddled(store, meddle).as_store)
    assert (cleaned.total, cleaned.changed) == (1, 2)
    assert [job.state for job in await again(store, [gone, retried, plain])] == [State.WAITING]


async def test_an_age_beyond_all_times_finds_nothing(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, ("a", COMPLETED, DAY))
    assert (await clean(store, older_than=timedelta(days=36_525))).total == 0


async def test_no_state_named_means_all_that_have_ended(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, *[("a", state, DAY) for state in sorted(ENDED)])
    assert (await clean(store, states=frozenset())).total == 3
