"""ScheduleStore: schedules that stand beside a queue's jobs, and fire."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tocsin_server.domain.errors import QuotaExceeded, StoreFull
from tocsin_server.domain.job import Draft, OnConflict, Payload, Retention, Terms, View
from tocsin_server.domain.quotas import Quotas
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.schedules.standing import Missed, Overlap, Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import CalendarUse, Cron, Every, OnExcluded, Timing
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore
from tocsin_server.store.schedule_store import ScheduleWrite

from contract.builders import (
    EARLIER,
    HOUR,
    LATER,
    MILLISECOND,
    SECOND,
    a_draft,
    a_query,
    a_spec,
    added,
    claimed,
    completed,
    failed,
    finished,
)
from contract.builders import read as read_job
from contract.providers import Provider

DAILY = Timing(Cron(("0 9 * * *",), "Europe/Berlin"))


def a_schedule(
    schedule_id: str = "s", next_time: datetime | None = LATER, *, queue: str = "q", timing: Timing = DAILY
) -> Schedule:
    """A plain one that does not stand yet."""
    return Schedule(ScheduleSpec(queue, schedule_id, timing, a_spec(queue=queue)), EARLIER, next_time)


def a_job(schedule: Schedule, job_id: str, due: datetime = EARLIER) -> Draft:
    return Draft(schedule.spec.job, job_id, due, OnConflict.KEEP)


async def put(store: JobStore, *schedules: Schedule) -> None:
    for one in schedules:
        assert await store.schedules.put_schedule(one)


async def read(store: JobStore, schedule_id: str = "s", queue: str = "q") -> Schedule:
    [found] = await store.schedules.read_schedules(queue, [schedule_id])
    assert found is not None
    return found


async def due(store: JobStore, queue: str = "q", *, skip: int = 0, limit: int = 100) -> Sequence[str]:
    found = await store.schedules.due_schedules(queue, skip=skip, limit=limit)
    assert abs(found.now - await store.ping()) < 5 * SECOND
    return [one.spec.schedule_id for one in found.schedules]


WHOLE = Schedule(
    ScheduleSpec(
        "q",
        "whole",
        Timing(
            Every(90 * SECOND, EARLIER + MILLISECOND),
            EARLIER,
            LATER,
            17,
            5 * SECOND,
            (CalendarUse("a", OnExcluded.NEXT_DAY), CalendarUse("b")),
        ),
        a_spec(
            type="käse".encode("ascii", "ignore").decode(),
            payload=Payload(11, bytes(range(256))),
            priority=-7,
            tags={"k": "v=\u20ac"},
        ),
        Overlap.QUEUE_ONE,
        Missed.ALL,
        HOUR,
        33,
        paused=True,
        pause_reason="\U0001f514",
        note="n",
    ),
    EARLIER,
    LATER,
    revision=4,
    last_time=EARLIER + HOUR,
    held_time=EARLIER + 2 * HOUR,
    fired=5,
    missed=6,
    overlap_skipped=7,
    backfilled=8,
    calendar_revisions=(3, 1),
)


async def test_a_schedule_is_kept_whole(store: JobStore) -> None:
    terms = Terms(
        RetryPolicy(9, Backoff.FIXED, SECOND, HOUR, 0.7), timedelta(seconds=3), Retention(HOUR, timedelta(days=2))
    )
    for timing in (WHOLE.spec.timing, Timing(Cron(("0 0 9 L * *", "@daily"), "Asia/Kathmandu"))):
        spec = replace(WHOLE.spec, timing=timing, job=replace(WHOLE.spec.job, terms=terms))
        schedule = replace(WHOLE, spec=spec)
        await put(store, schedule)
        found = await read(store, "whole")
        assert found == schedule
        assert await store.schedules.schedules("q") == [schedule]
        assert await store.schedules.delete_schedule("q", "whole")
    plain = a_schedule(next_time=None)
    await put(store, plain)
    assert await read(store) == plain


async def test_it_is_written_only_over_what_was_read(store: JobStore) -> None:
    await put(store, a_schedule())
    first = await read(store)
    assert not await store.schedules.put_schedule(a_schedule())
    await put(store, replace(first, fired=1))
    second = await read(store)
    assert second.fired == 1
    assert second.stamp not in ("", first.stamp)
    assert not await store.schedules.put_schedule(replace(first, fired=2))
    assert await store.schedules.delete_schedule("q", "s")
    assert not await store.schedules.delete_schedule("q", "s")
    assert not await store.schedules.put_schedule(replace(second, fired=3))
    assert await store.schedules.read_schedules("q", ["s"]) == [None]
    await put(store, a_schedule())  # made anew, it is another one
    assert not await store.schedules.put_schedule(replace(second, fired=3))


async def test_its_jobs_are_known_as_fired_until_another_takes_their_place(store: JobStore) -> None:
    await put(store, a_schedule(next_time=EARLIER))
    before = await read(store)
    times = [before.reckoning().run_at(EARLIER + number * SECOND) for number in range(3)]
    drafts = [before.draft(one) for one in times]
    assert await store.schedules.put_schedule(replace(before, next_time=LATER, fired=3), drafts)
    ids = [str(draft.job_id) for draft in drafts]
    await added(store, a_draft(job_id="of-a-caller"))
    page = await store.page(a_query())
    assert {job.job_id: job.fired for job in page.jobs} == {**dict.fromkeys(ids, True), "of-a-caller": False}
    claim = await claimed(store)
    assert {one.job.job_id: one.job.fired for one in claim} == {**dict.fromkeys(ids, True), "of-a-caller": False}
    [first, second, *_] = [one for one in claim if one.job.fired]
    await finished(store, failed(first, HOUR))
    assert (await read_job(store, first)).fired
    await added(store, replace(a_draft(job_id=first.job.job_id), on_conflict=OnConflict.REPLACE))
    assert not (await read_job(store, first)).fired
    await finished(store, completed(second))
    assert (await read_job(store, second)).fired
    await added(store, replace(a_draft(job_id=second.job.job_id), on_conflict=OnConflict.REPLACE))
    assert not (await read_job(store, second)).fired


async def test_it_fires_its_jobs_in_the_same_step(store: JobStore) -> None:
    await put(store, a_schedule(next_time=EARLIER))
    before = await read(store)
    jobs = [a_job(before, "s@1"), a_job(before, "s@2", LATER)]
    assert await store.schedules.put_schedule(replace(before, next_time=LATER, fired=2), jobs)
    found = await store.get("q", ["s@1", "s@2"], View.FULL)
    assert [None if job is None else job.state for job in found] == [State.WAITING, State.SCHEDULED]
    assert found[0] is not None
    assert found[0].spec == before.spec.job
    assert (await read(store)).next_time == LATER
    assert (await store.ticks(["q"]))["q"].next_schedule == LATER
    claim = await store.claim("q", {"t": 5}, 5, lease=HOUR, request=b"12345678")
    assert [one.job.job_id for one in claim.claimed] == ["s@1"]


async def test_a_time_is_not_fired_again_after_its_job_is_gone(store: JobStore) -> None:
    await put(store, a_schedule(next_time=EARLIER))
    before = await read(store)
    after = replace(before, next_time=LATER, fired=1)
    assert await store.schedules.put_schedule(after, [a_job(before, "s@1")])
    assert await store.delete("q", ["s@1"], ended_only=False) == [None]
    assert not await store.schedules.put_schedule(after, [a_job(before, "s@1")])
    assert await store.get("q", ["s@1"], View.BASIC) == [None]


async def test_of_servers_that_fire_at_the_same_time_one_does(store: JobStore, provider: Provider) -> None:
    await put(store, a_schedule(next_time=EARLIER))
    async with provider.store() as other:
        for round_ in range(5):
            before = await read(store)
            after = replace(before, fired=before.fired + 1)
            jobs = [a_job(before, f"s@{round_}-{at}") for at in range(4)]
            stores = (store, other, store, other)
            done = await asyncio.gather(
                *(one.schedules.put_schedule(after, [job]) for one, job in zip(stores, jobs, strict=True))
            )
            assert sorted(done) == [False, False, False, True]
            found = await store.get("q", [str(job.job_id) for job in jobs], View.BASIC)
            assert [job is not None for job in found] == list(done)
    assert (await read(store)).fired == 5


async def test_a_job_that_stands_under_the_id_stays(store: JobStore) -> None:
    [stands] = await added(store, a_draft("s@1", type="other"))
    await put(store, a_schedule(next_time=EARLIER))
    before = await read(store)
    jobs = [a_job(before, "s@1"), a_job(before, "s@2")]
    assert await store.schedules.put_schedule(replace(before, fired=2), jobs)
    kept, new = await store.get("q", ["s@1", "s@2"], View.BASIC)
    assert kept == stands
    assert new is not None
    assert new.arrival > stands.arrival


async def test_fifty_jobs_are_fired_at_once(store: JobStore) -> None:
    await put(store, a_schedule(next_time=EARLIER))
    before = await read(store)
    ids = [f"s@{at}" for at in range(50)]
    assert await store.schedules.put_schedule(before, [a_job(before, one, EARLIER) for one in ids])
    assert None not in await store.get("q", ids, View.BASIC)


async def test_many_are_written_at_once_each_by_itself(store: JobStore) -> None:
    await put(store, *(a_schedule(f"s{at:03}", EARLIER) for at in range(130)))
    read_back = await store.schedules.read_schedules("q", [f"s{at:03}" for at in range(130)])
    stand = [one for one in read_back if one is not None]
    await put(store, replace(stand[3], fired=7), replace(stand[70], fired=7))  # others were faster
    writes = [
        ScheduleWrite(
            replace(one, next_time=LATER, fired=at % 3), [a_job(one, f"j{at}-{job}") for job in range(at % 3)]
        )
        for at, one in enumerate(stand)
    ]
    writes += [ScheduleWrite(a_schedule("new")), ScheduleWrite(a_schedule("s000"))]
    answers = await store.schedules.put_schedules("q", writes)
    assert answers == [at not in (3, 70) for at in range(130)] + [True, False]
    found = {one.spec.schedule_id: one.fired for one in await store.schedules.schedules("q", limit=200)}
    lost = {"s003": 7, "s070": 7}
    assert found == {f"s{at:03}": at % 3 for at in range(130)} | lost | {"new": 0}
    jobs = [f"j{at}-{job}" for at in range(130) for job in range(at % 3) if at not in (3, 70)]
    assert None not in await store.get("q", jobs, View.BASIC)
    assert (await store.figures("q")).total(State.WAITING) == len(jobs)
    assert await due(store, limit=200) == ["s003", "s070"]


async def test_one_without_room_keeps_no_other_from_firing(provider: Provider) -> None:
    async with provider.store(quotas=Quotas(jobs=3)) as store:
        await put(store, *(a_schedule(one, EARLIER) for one in "abc"))
        stand = [await read(store, one) for one in "abc"]
        jobs = [[a_job(one, f"{one.spec.schedule_id}{at}") for at in range(2)] for one in stand]
        jobs[2].pop()
        after = [replace(one, next_time=LATER, fired=1) for one in stand]
        answers = await store.schedules.put_schedules("q", list(map(ScheduleWrite, after, jobs)))
        assert [isinstance(one, QuotaExceeded) for one in answers] in ([False, True, False], [False, True, True])
        assert None not in await store.get("q", ["a0", "a1"], View.BASIC)
        assert {one.spec.schedule_id for one in await store.schedules.schedules("q")} == set("abc")
        assert "b" in await due(store)
        assert "a" not in await due(store)


async def test_what_is_due_comes_longest_due_first(store: JobStore) -> None:
    now = await store.ping()
    await put(
        store,
        a_schedule("b", EARLIER + SECOND),
        a_schedule("a", EARLIER + 2 * SECOND),
        a_schedule("later", now + HOUR),
        a_schedule("never", None),
        a_schedule("c", EARLIER),
        replace(a_schedule("held", now + HOUR), held_time=EARLIER - SECOND),
        a_schedule("other", EARLIER, queue="r"),
    )
    assert await due(store) == ["held", "c", "b", "a"]
    assert await due(store, skip=1, limit=2) == ["c", "b"]
    assert await due(store, skip=4) == []
    assert await due(store, "r") == ["other"]
    assert await due(store, "never used") == []


async def test_the_tick_tells_when_the_next_is_due(store: JobStore) -> None:
    async def told() -> datetime | None:
        return (await store.ticks(["q"]))["q"].next_schedule

    assert await told() is None
    await put(store, a_schedule("a", LATER), a_schedule("b", EARLIER), a_schedule("c", None))
    assert await told() == EARLIER
    await added(store, a_draft("a job"))
    assert await told() == EARLIER
    assert await store.schedules.put_schedule(replace(await read(store, "b"), next_time=LATER - SECOND))
    assert await told() == LATER - SECOND
    assert await store.schedules.delete_schedule("q", "b")
    assert await told() == LATER
    assert await store.schedules.put_schedule(replace(await read(store, "a"), next_time=None))
    assert await told() is None


async def test_the_next_look_is_of_those_that_are_not_due(store: JobStore) -> None:
    assert await store.schedules.next_look("q") is None
    await put(store, a_schedule("due", EARLIER), a_schedule("never", None), a_schedule("other", LATER, queue="r"))
    assert await store.schedules.next_look("q") is None
    held = replace(a_schedule("held", LATER - SECOND), held_time=EARLIER)  # it is due until what it holds goes
    await put(store, a_schedule("a", LATER + SECOND), a_schedule("b", LATER), held)
    assert await store.schedules.next_look("q") == LATER


async def test_large_ones_that_are_due_come_a_few_a_call(store: JobStore) -> None:
    job = replace(a_schedule().spec.job, payload=Payload(11, bytes(900 << 10)))
    made = [a_schedule(f"s{at}") for at in range(5)]
    await put(store, *(replace(one, spec=replace(one.spec, job=job), next_time=EARLIER) for one in made))
    found: list[str] = []
    more = True
    while more:
        page = await store.schedules.due_schedules("q", skip=len(found))
        assert 1 <= len(page.schedules) <= 3
        found += [one.spec.schedule_id for one in page.schedules]
        more = page.more
    assert found == [one.spec.schedule_id for one in made]


async def test_schedules_come_by_id_and_go_on_after_one(store: JobStore) -> None:
    ids = sorted(["a", "A", "a.b", "a-b", "z_", "0", *(f"m{at:03}" for at in range(20))])
    await put(store, *(a_schedule(one) for one in ids[::-1]), a_schedule("x", queue="q.a"), a_schedule("x", queue="q-"))
    found: list[str] = []
    while page := await store.schedules.schedules("q", after=found[-1] if found else "", limit=10):
        assert len(page) == min(10, len(ids) - len(found))
        found += [one.spec.schedule_id for one in page]
    assert found == ids
    assert await store.schedules.schedules("never") == []


async def test_a_list_can_leave_the_payloads_out(store: JobStore) -> None:
    note = '"payload":[11,"x"], \\"payload\\":[1] ]'
    plain, mega = a_schedule(), Payload(11, bytes(1 << 20))
    payloads = [None, Payload(2, b""), mega, Payload(3, b'"payload":[]'), mega, mega, None]
    made = [
        replace(
            plain, spec=replace(plain.spec, schedule_id=f"s{at}", note=note, job=a_spec(queue="q", payload=payload))
        )
        for at, payload in enumerate(payloads)
    ]
    await put(store, *made)
    bare = [replace(one, spec=replace(one.spec, job=replace(one.spec.job, payload=None))) for one in made]
    assert await store.schedules.schedules("q", view=View.BASIC) == bare
    assert await store.schedules.schedules("q", after="s1", limit=4, view=View.BASIC) == bare[2:6]
    assert await store.schedules.schedules("q") == made
    assert await store.schedules.schedules("q", after="s1", limit=4) == made[2:6]


async def test_a_schedule_makes_its_queue_appear_and_keeps_it(store: JobStore) -> None:
    assert await store.schedules.read_schedules("q", ["s", "t"]) == [None, None]
    assert await store.schedules.read_schedules("q", []) == []
    await put(store, a_schedule())
    assert await store.queues() == ["q"]
    assert not await store.forget("q")
    assert not await store.forget("q", unused_for=timedelta(0))
    assert await read(store) == a_schedule()
    assert await store.schedules.delete_schedule("q", "s")
    assert await store.forget("q")
    assert await store.queues() == []


async def test_a_queue_without_room_fires_once_there_is_some(provider: Provider) -> None:
    async with provider.store(quotas=Quotas(jobs=1)) as store:
        await added(store, a_draft("in the way"))
        await put(store, a_schedule(next_time=EARLIER))
        before = await read(store)
        after, job = replace(before, next_time=LATER, fired=1), a_job(before, "s@1")
        with pytest.raises(QuotaExceeded):
            await store.schedules.put_schedule(after, [job])
        assert (await store.ticks(["q"]))["q"].next_schedule is not None
        assert await store.get("q", ["s@1"], View.BASIC) == [None]
        assert await store.delete("q", ["in the way"], ended_only=False) == [None]
    async with provider.store() as store:
        found = await store.schedules.due_schedules("q")
        for one in found.schedules:
            if one.next_time != LATER:  # where both are one step, it has yet to be done
                assert await store.schedules.put_schedule(replace(after, stamp=one.stamp), [job])
        assert (await read(store)).next_time == LATER
        assert (await store.get("q", ["s@1"], View.BASIC)) != [None]
        assert await due(store) == []


async def test_what_was_refused_for_want_of_room_does_not_come_later(provider: Provider) -> None:
    """So a trigger that was refused runs nothing."""
    async with provider.store(quotas=Quotas(jobs=1)) as store:
        await added(store, a_draft("in the way"))
        await put(store, a_schedule())
        before = await read(store)
        with pytest.raises(QuotaExceeded):
            await store.schedules.put_schedule(replace(before, fired=1), [a_job(before, "s@1")])
        assert await store.delete("q", ["in the way"], ended_only=False) == [None]
    async with provider.store() as store:
        assert await read(store) == before
        assert await store.get("q", ["s@1"], View.BASIC) == [None]


async def test_a_full_store_takes_no_schedule(store: JobStore, provider: Provider) -> None:
    with provider.full(), pytest.raises(StoreFull):
        await store.schedules.put_schedule(a_schedule())
    assert await store.schedules.read_schedules("q", ["s"]) == [None]
