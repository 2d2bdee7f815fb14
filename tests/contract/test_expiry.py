"""Jobs that are to begin by a time, or not at all."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tocsin_server.domain.commands import RetryJob, RunJob, UpdateJob
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.job import Draft, Job, OnConflict, View
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    a_draft,
    a_job,
    added,
    claimed,
    claimed_one,
    completed,
    failed,
    finished,
    good,
    placed,
    read,
    released,
)
from contract.damaging import Damage

_SHORTLY = Conditions(expire=MINUTE)


async def expiring(
    store: JobStore, job_id: str = "a", *, expire: datetime | timedelta = MINUTE, when: timedelta = NOW
) -> Job:
    [job] = await added(store, a_draft(job_id, conditions=Conditions(expire=expire), when=when))
    return job


async def swept(store: JobStore) -> int:
    return await store.trim("q", completed_max=100, failed_max=100)


async def passed(store: JobStore, by: timedelta) -> datetime:
    return await store.move_clock(await store.ping() + by)


async def ended(store: JobStore, job_id: str = "a") -> bool:
    """Whether it has expired, and says so; if not, nothing of it may say that it has."""
    job = await read(store, job_id)
    if job.cancel is None:
        return False
    assert (job.state, job.cancel.reason, job.cancel.by) == (State.CANCELLED, "EXPIRED", "")
    assert job.end_time == job.cancel.obey_time
    assert (job.attempt, job.expire_time) == (0, None)
    return True


async def test_a_job_says_when_it_expires(movable: JobStore) -> None:
    now = await movable.ping()
    after = await expiring(movable, "after", expire=MINUTE, when=HOUR)
    at = await expiring(movable, "at", expire=now + 2 * HOUR)
    for job in (after, at):
        assert await read(movable, job, View.BASIC) == job
    assert after.expire_time == after.schedule_time + MINUTE
    assert at.expire_time == now + 2 * HOUR
    [plain] = await added(movable, a_draft())
    assert plain.expire_time is None


@pytest.mark.parametrize("when", [NOW, SECOND])
async def test_a_claim_begins_no_job_whose_time_is_over(movable: JobStore, when: timedelta) -> None:
    await expiring(movable, when=when)
    [other] = await added(movable, a_draft("b", priority=-1))
    await passed(movable, when + MINUTE)
    [one] = await claimed(movable)
    assert one.job.job_id == other.job_id
    assert await ended(movable)
    assert (await movable.figures("q")).counts == {State.CANCELLED: {"t": 1}, State.ACTIVE: {"t": 1}}


async def test_what_comes_behind_one_that_expired_is_not_passed_by(movable: JobStore) -> None:
    await added(movable, a_draft("late", priority=1, conditions=_SHORTLY), a_draft("best"))
    await added(movable, a_draft("lesser", type="u", priority=-1))
    await passed(movable, MINUTE)
    assert [one.job.job_id for one in await claimed(movable, 1, types=("t", "u"))] == ["best"]


async def test_a_claim_goes_on_past_many_that_have_expired(movable: JobStore) -> None:
    await added(movable, *(a_draft(priority=1, conditions=_SHORTLY) for _ in range(250)))
    [other] = await added(movable, a_draft("b"))
    await passed(movable, MINUTE)
    assert [one.job.job_id for one in await claimed(movable, 1)] == [other.job_id]


async def test_it_is_begun_before_its_time_is_over(movable: JobStore) -> None:
    await expiring(movable)
    await passed(movable, 20 * SECOND)
    [one] = await claimed(movable)
    await passed(movable, MINUTE)
    assert not await swept(movable)
    assert await finished(movable, completed(one)) == [State.COMPLETED]


async def test_it_ends_though_nobody_claims(movable: JobStore) -> None:
    job = await expiring(movable, when=HOUR)
    assert (await movable.ticks(["q"]))["q"].next_expiry == job.expire_time
    await passed(movable, HOUR)
    assert await swept(movable) == 0
    await passed(movable, MINUTE)
    assert await swept(movable) == 1
    assert await ended(movable)
    assert await swept(movable) == 0
    tick = (await movable.ticks(["q"]))["q"]
    assert tick.next_due is None
    assert tick.next_expiry is not None
    assert tick.next_expiry > await movable.ping() + 23 * HOUR  # its retention is over


async def test_it_ends_in_a_paused_queue(movable: JobStore) -> None:
    await expiring(movable)
    [settings] = await movable.settings(["q"])
    await movable.put_settings("q", settings, paused=True)
    await passed(movable, MINUTE)
    assert await swept(movable) == 1
    assert await ended(movable)


async def test_a_sweep_takes_as_many_as_it_is_told(movable: JobStore) -> None:
    await added(movable, *(a_draft(conditions=_SHORTLY) for _ in range(130)))
    await passed(movable, MINUTE)
    assert [await swept(movable), await swept(movable), await swept(movable)] == [100, 30, 0]


@pytest.mark.parametrize("end", [failed, released, None])
async def test_what_has_begun_once_is_tried_again_whatever_the_time(movable: JobStore, end: object) -> None:
    await expiring(movable)
    one = await claimed_one(movable, lease=SECOND)
    if end is failed:
        await finished(movable, failed(one, retry_in=HOUR))
    elif end is released:
        await finished(movable, released(one))
    await passed(movable, 2 * HOUR)
    if end is None:
        await movable.reap("q")
    assert await swept(movable) == 0
    assert (await claimed_one(movable)).job.attempt == 2


async def test_another_time_is_another_expiry(movable: JobStore) -> None:
    job = await expiring(movable, when=HOUR)
    [later] = await movable.update("q", [UpdateJob(job.job_id, when=2 * HOUR)])
    assert good(later).expire_time == good(later).schedule_time + MINUTE
    await passed(movable, HOUR + MINUTE)
    assert await swept(movable) == 0
    [run] = await movable.update("q", [RunJob(job.job_id)])
    assert good(run).expire_time == good(run).schedule_time + MINUTE
    await passed(movable, MINUTE)
    assert await swept(movable) == 1


async def test_a_job_put_in_its_place_has_its_own_expiry(movable: JobStore) -> None:
    await expiring(movable)
    await added(movable, a_draft("a", on_conflict=OnConflict.REPLACE))
    await passed(movable, MINUTE)
    assert await swept(movable) == 0
    assert (await movable.ticks(["q"]))["q"].next_expiry is None
    await added(movable, a_draft("a", conditions=Conditions(expire=HOUR), on_conflict=OnConflict.REPLACE))
    await passed(movable, HOUR)
    assert not await claimed(movable)
    assert await ended(movable)


async def test_what_has_begun_once_does_not_expire_by_another_spec_either(movable: JobStore) -> None:
    await added(movable, a_draft("a"))
    await finished(movable, released(await claimed_one(movable)))
    [job] = await added(movable, a_draft("a", conditions=Conditions(expire=MINUTE), on_conflict=OnConflict.REPLACE))
    assert job.expire_time is None
    assert (await movable.ticks(["q"]))["q"].next_expiry is None
    await passed(movable, HOUR)
    assert await swept(movable) == 0
    assert (await claimed_one(movable)).job.attempt == 2


async def test_who_retries_an_expired_job_wants_it_to_run(movable: JobStore) -> None:
    conditions = Conditions("customer", 3, expire=MINUTE)
    await added(movable, a_draft("a", conditions=conditions, tags={"k": "v"}, body=b"body"))
    await expiring(movable, "b")
    await passed(movable, MINUTE)
    await swept(movable)
    for answer in await movable.update("q", [RetryJob("a"), RetryJob("b")]):
        assert good(answer).cancel is None
        assert good(answer).expire_time is None
    await passed(movable, HOUR)
    assert await swept(movable) == 0
    first, second = await claimed(movable)
    assert first.job.spec.conditions == Conditions("customer", 3)
    assert second.job.spec.conditions is NO_CONDITIONS
    assert first.job.spec.tags == {"k": "v"}
    assert first.job.spec.payload is not None
    assert first.job.spec.payload.body == b"body"


async def test_deleting_one_leaves_nothing_of_its_expiry(movable: JobStore) -> None:
    job = await expiring(movable, when=HOUR)
    assert await movable.delete("q", [job.job_id], ended_only=False) == [None]
    assert (await movable.ticks(["q"]))["q"].next_expiry is None


async def test_a_job_that_is_placed_expires_here(movable: JobStore) -> None:
    now = await movable.ping()
    life = {"schedule_time": now - HOUR, "attempt": 0}
    spans = {"a": MINUTE, "b": 2 * HOUR}
    await placed(movable, *(a_job(name, life=life, conditions=Conditions(expire=spans[name])) for name in spans))
    assert await swept(movable) == 1
    assert await ended(movable)
    assert not await ended(movable, "b")
    assert (await claimed_one(movable)).job.job_id == "b"


async def test_a_batch_of_jobs_alike_expires_as_one_by_one(movable: JobStore) -> None:
    drafts: list[Draft] = [a_draft(when=timedelta(seconds=at // 10), conditions=_SHORTLY) for at in range(100)]
    await added(movable, *drafts)
    await passed(movable, MINUTE + 5 * SECOND)
    assert len(await claimed(movable)) == 40
    assert (await movable.figures("q")).total(State.CANCELLED) == 60


async def test_checking_mends_what_makes_it_expire(movable: JobStore, damage: Damage) -> None:
    await expiring(movable, when=HOUR)
    damage.lose_alarms("q")
    while not (await movable.check()).done:
        pass
    await passed(movable, HOUR + MINUTE)
    assert await swept(movable) == 1
    assert await ended(movable)
    while not (step := await movable.check()).done:
        assert step.mended == {}
