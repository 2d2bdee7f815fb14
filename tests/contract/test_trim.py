"""JobStore.trim."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.commands import RetryJob
from tocsin_server.domain.job import Job, New, Retention, View
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MILLISECOND,
    MINUTE,
    NOW,
    SECOND,
    a_draft,
    a_query,
    added,
    claimed,
    completed,
    failed,
    finished,
    listed,
    outcomes,
    read,
    standing,
    wish,
)
from contract.conftest import Contents

MANY = 1_000_000
DAY = timedelta(days=1)
KEPT = Retention(completed_for=DAY, failed_for=30 * DAY)
SPARED = limits.SPARED_AFTER_END


async def trimmed(
    store: JobStore, completed_max: int = MANY, failed_max: int = MANY, limit: int = 100, queue: str = "q"
) -> int:
    return await store.trim(queue, completed_max=completed_max, failed_max=failed_max, limit=limit)


async def ended(store: JobStore, backdate: Backdate, state: State, ages: Sequence[timedelta]) -> list[Job]:
    """Jobs named for their places, each of which ended so long ago."""
    names = [f"{state.name}-{i}" for i in range(len(ages))]
    jobs = await added(store, *(a_draft(name, retention=KEPT) for name in names))
    if state is State.CANCELLED:
        await store.cancel("q", [wish(job) for job in jobs])
    else:
        end = completed if state is State.COMPLETED else failed
        await finished(store, *map(end, await claimed(store)))
    jobs = [await read(store, job) for job in jobs]
    for job, age in zip(jobs, ages, strict=True):
        backdate.end(job, by=age)
    return jobs


@pytest.mark.parametrize(
    ("state", "age"),
    [(State.COMPLETED, DAY), (State.CANCELLED, DAY), (State.FAILED, 30 * DAY)],
    ids=["COMPLETED", "CANCELLED", "FAILED"],
)
async def test_a_job_goes_when_its_retention_is_over(
    store: JobStore, backdate: Backdate, state: State, age: timedelta
) -> None:
    await ended(store, backdate, state, [age, age - MINUTE, NOW, age + DAY])
    assert await trimmed(store) == 2
    assert await listed(store, a_query()) == [f"{state.name}-2", f"{state.name}-1"]
    assert (await store.figures("q")).counts == {state: {"t": 2}}
    assert await trimmed(store) == 0


async def test_each_job_has_a_retention_of_its_own(store: JobStore, backdate: Backdate) -> None:
    for name, keep in (("short", HOUR), ("long", 3 * HOUR)):
        job, _ = await standing(store, State.COMPLETED, name, retention=Retention(keep, NOW))
        backdate.end(job, by=2 * HOUR)
    assert await trimmed(store) == 1
    assert await listed(store, a_query()) == ["long"]


async def test_a_retention_of_nothing_is_over_at_once(store: JobStore) -> None:
    job, _ = await standing(store, State.COMPLETED, "a", retention=Retention(NOW, NOW))
    assert await trimmed(store) == 1
    assert await store.get("q", [job.job_id], View.BASIC) == [None]


async def test_an_id_is_free_once_its_job_was_trimmed(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, State.COMPLETED, [2 * DAY])
    await trimmed(store)
    assert await outcomes(store, a_draft("COMPLETED-0")) == [New]


async def test_what_has_not_ended_is_never_trimmed(store: JobStore) -> None:
    nothing = Retention(NOW, NOW)
    await standing(store, State.ACTIVE, "active", retention=nothing)
    await standing(store, State.SCHEDULED, "scheduled", retention=nothing)
    await standing(store, State.WAITING, "waiting", retention=nothing)
    assert await trimmed(store, 0, 0) == 0
    assert await listed(store, a_query()) == ["waiting", "scheduled", "active"]


async def test_a_retried_job_is_not_trimmed(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, State.FAILED, [60 * DAY])
    await store.update("q", [RetryJob("FAILED-0")])
    assert await trimmed(store, 0, 0) == 0
    assert await listed(store, a_query()) == ["FAILED-0"]


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
async def test_too_many_lose_the_oldest_by_end_time(store: JobStore, backdate: Backdate, state: State) -> None:
    await ended(store, backdate, state, [HOUR * hours for hours in (3, 1, 5, 2, 4)])
    assert await trimmed(store, completed_max=3, failed_max=3) == 2
    assert await listed(store, a_query()) == [f"{state.name}-{place}" for place in (3, 1, 0)]


async def test_completed_and_cancelled_are_counted_together(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, State.COMPLETED, [4 * HOUR, 2 * HOUR])
    await ended(store, backdate, State.CANCELLED, [3 * HOUR, HOUR])
    await ended(store, backdate, State.FAILED, [9 * HOUR])
    assert await trimmed(store, completed_max=2, failed_max=1) == 2
    assert await listed(store, a_query()) == ["FAILED-0", "CANCELLED-1", "COMPLETED-1"]


async def test_trimming_by_count_spares_what_ended_lately(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, State.COMPLETED, [SPARED + SECOND, SPARED - 30 * SECOND, NOW])
    await ended(store, backdate, State.FAILED, [SPARED + SECOND, SPARED - 30 * SECOND, NOW])
    assert await trimmed(store, completed_max=0, failed_max=0) == 2
    assert await listed(store, a_query()) == ["FAILED-2", "FAILED-1", "COMPLETED-2", "COMPLETED-1"]


async def test_trimming_by_age_spares_nothing(store: JobStore, backdate: Backdate) -> None:
    job, _ = await standing(store, State.COMPLETED, "a", retention=Retention(SECOND, SECOND))
    backdate.end(job, by=2 * SECOND)
    assert await trimmed(store) == 1


async def test_no_more_go_than_the_limit_a_call(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, State.COMPLETED, [2 * DAY] * 4 + [HOUR] * 4)
    await ended(store, backdate, State.FAILED, [40 * DAY] * 2 + [HOUR] * 3)
    gone = [await trimmed(store, completed_max=1, failed_max=1, limit=3) for _ in range(5)]
    assert gone == [3, 3, 3, 2, 0]
    assert (await store.figures("q")).counts == {State.COMPLETED: {"t": 1}, State.FAILED: {"t": 1}}


async def test_the_settings_of_a_queue_go_first(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, State.COMPLETED, [HOUR] * 3)
    await ended(store, backdate, State.FAILED, [HOUR] * 3)
    await store.put_settings("q", QueueSettings(completed_max=MANY, failed_max=1), paused=False)
    assert await trimmed(store, completed_max=0, failed_max=MANY) == 2
    await store.put_settings("q", QueueSettings(completed_max=0), paused=False)
    assert await trimmed(store, completed_max=MANY, failed_max=MANY) == 3
    assert (await store.figures("q")).counts == {State.FAILED: {"t": 1}}


async def test_a_paused_queue_is_trimmed_too(store: JobStore, backdate: Backdate) -> None:
    await ended(store, backdate, State.COMPLETED, [2 * DAY])
    await store.put_settings("q", QueueSettings(), paused=True)
    assert await trimmed(store) == 1


async def test_nothing_to_trim_changes_nothing(store: JobStore, backdate: Backdate, contents: Contents) -> None:
    await ended(store, backdate, State.COMPLETED, [HOUR])
    before = contents()
    assert await trimmed(store, 1, 0) == 0
    assert await trimmed(store, 0, 0, queue="never") == 0
    assert contents() == before


async def test_nothing_of_a_trimmed_job_stays(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft("stays", when=HOUR))
    jobs = await ended(store, backdate, State.FAILED, [90 * DAY])
    await store.add([a_draft("tagged", tags={"k": "v"}, retention=Retention(NOW, NOW), body=b"x")])
    [one] = await claimed(store)
    await finished(store, completed(one, b"result"))
    assert await trimmed(store) == 2
    assert await store.get("q", [jobs[0].job_id, "tagged"], View.FULL) == [None, None]
    assert await listed(store, a_query(tags={"k": "v"})) == []
    assert await listed(store, a_query()) == ["stays"]
    assert (await store.ticks(["q"]))["q"].next_expiry is None


async def test_ages_are_kept_to_the_millisecond(store: JobStore, backdate: Backdate) -> None:
    job, _ = await standing(store, State.COMPLETED, "a", retention=Retention(HOUR, HOUR))
    backdate.end(job, by=HOUR - MINUTE)
    assert await trimmed(store) == 0
    backdate.end(job, by=MINUTE - MILLISECOND)
    job = await read(store, "a")
    assert job.end_time is not None
    while await store.ping() < job.end_time + HOUR:
        assert await store.get("q", ["a"], View.BASIC) != [None]
    assert await trimmed(store) == 1
