"""Priorities that grow while jobs wait: of two jobs that one goes first whose due time - priority * priority_ageing
is the lesser, whatever else holds for the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.job import Job
from tocsin_server.domain.queue_limits import Limit, LimitScope, Rate
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.builders import (
    EARLIER,
    HOUR,
    INT32,
    MILLISECOND,
    MINUTE,
    SECOND,
    a_draft,
    a_job,
    a_request,
    added,
    cancelled,
    claimed,
    claimed_one,
    completed,
    failed,
    finished,
    placed,
    read,
    released,
)

AGEING = QueueSettings(priority_ageing=MINUTE)
#: Limits that hold nothing back here: by them jobs stand in rows of their keys.
BY_KEY = (Limit("key", LimitScope.KEY, max_active=100),)
HOW = {
    "plain": AGEING,
    "limited": replace(AGEING, limits=(Limit("all", LimitScope.QUEUE, max_active=900),)),
    "by key": replace(AGEING, limits=BY_KEY),
}
of_each_kind = pytest.mark.parametrize("settings", HOW.values(), ids=HOW)


def waiting(name: str, priority: int = 0, at: timedelta = timedelta(0), key: str = "", **words: object) -> Job:
    """A job that has been due since a time after EARLIER."""
    life = {"schedule_time": EARLIER + at}
    conditions = Conditions(key) if key else NO_CONDITIONS
    return a_job(name, State.WAITING, life=life, priority=priority, conditions=conditions, **words)  # type: ignore[arg-type]


async def begun(store: JobStore, count: int = 1000, types: Sequence[str] = ("t",), *, at_once: int = 7) -> list[str]:
    """Who begins, one after another, by claims of so many."""
    found: list[str] = []
    for _ in range(500):
        if len(found) == count:
            break
        limit = min(at_once, count - len(found))
        claim = await store.claim("q", dict.fromkeys(types, limit), limit, lease=HOUR, request=a_request())
        found += [one.job.job_id for one in claim.claimed]
        if not claim.claimed and not claim.more:
            break
    else:
        raise AssertionError(f"claims do not come to an end: {found}")
    return found


@of_each_kind
async def test_a_job_gains_a_priority_for_each_time_that_it_waits(store: JobStore, settings: QueueSettings) -> None:
    await store.put_settings("q", settings, paused=False)
    await placed(
        store,
        waiting("high", 2, 2 * MINUTE),
        waiting("low, a little older", 0, MILLISECOND),
        waiting("low, older", 0, -MILLISECOND),
        waiting("lowest, very old", -3, -5 * MINUTE),
        waiting("highest, new", 4, 5 * MINUTE),
    )
    assert await begun(store) == ["lowest, very old", "low, older", "high", "low, a little older", "highest, new"]


@of_each_kind
async def test_at_the_border_the_older_goes_first_and_of_one_time_who_arrived_first(
    store: JobStore, settings: QueueSettings
) -> None:
    await store.put_settings("q", settings, paused=False)
    await placed(
        store,
        waiting("p2", 2, 2 * MINUTE),
        waiting("p1", 1, MINUTE),
        waiting("p0, arrived first"),
        waiting("p0, arrived later"),
        waiting("p-1", -1, -MINUTE),
    )
    assert await begun(store) == ["p-1", "p0, arrived first", "p0, arrived later", "p1", "p2"]


@of_each_kind
async def test_types_and_keys_of_one_claim_are_merged_by_the_same_order(
    store: JobStore, settings: QueueSettings
) -> None:
    await store.put_settings("q", settings, paused=False)
    jobs = [
        waiting(f"{n}", n % 5 - 2, n * 37 % 19 * 10 * SECOND, "abc "[n % 4].strip(), type="tuv"[n % 3])
        for n in range(90)
    ]
    await placed(store, *jobs)
    assert await begun(store, types="tuv") == in_order(jobs)


def in_order(jobs: Sequence[Job], step: timedelta = MINUTE) -> list[str]:
    def rank(job: Job) -> tuple[int, int]:
        due = (job.schedule_time - EARLIER) // MILLISECOND
        return due - job.spec.priority * (step // MILLISECOND), due

    return [job.job_id for job in sorted(jobs, key=rank)]


@of_each_kind
async def test_more_than_fifty_in_a_level_and_many_levels(store: JobStore, settings: QueueSettings) -> None:
    await store.put_settings("q", settings, paused=False)
    many = [waiting(f"many {n}", 0, n * SECOND, "k" if n % 2 else "") for n in range(60)]
    few = [waiting(f"few {n}", n, n * (MINUTE + SECOND) + 30 * SECOND, "k" if n % 3 else "") for n in range(1, 25)]
    await placed(store, *many, *few)
    assert await begun(store, at_once=50) == in_order([*many, *few])


@pytest.mark.parametrize("step", [SECOND, timedelta(days=30)])
async def test_the_widest_priorities_are_told_apart(store: JobStore, step: timedelta) -> None:
    await store.put_settings("q", replace(AGEING, priority_ageing=step), paused=False)
    low, high = INT32
    jobs = [
        waiting("low", low), waiting("low and older", low, -MILLISECOND), waiting("none"), waiting("high", high, HOUR),
        waiting("less", high - 1, HOUR - step - MILLISECOND), waiting("even less", high - 2, HOUR - 2 * step),
    ]  # fmt: skip
    await placed(store, *jobs)
    assert await begun(store, at_once=2) == in_order(jobs, step)


async def test_a_retry_ages_from_its_own_time(store: JobStore) -> None:
    await store.put_settings("q", AGEING, paused=False)
    await placed(store, waiting("old", 0, -HOUR))
    one = await claimed_one(store, lease=HOUR)
    await finished(store, failed(one, retry_in=timedelta(0)))
    now = (await read(store, "old")).schedule_time
    await placed(
        store,
        a_job("before", life={"schedule_time": now - MINUTE - SECOND}, priority=-1),
        a_job("behind", life={"schedule_time": now - MINUTE + SECOND}, priority=-1),
    )
    assert await begun(store) == ["before", "old", "behind"]


async def test_without_the_setting_a_priority_stays_as_it_is(store: JobStore) -> None:
    await placed(store, waiting("old", 0, -HOUR), waiting("high", 1))
    assert await begun(store) == ["high", "old"]


@pytest.mark.parametrize("fair", [False, True])
async def test_of_a_key_of_one_place_the_retry_is_first_however_old_the_others(store: JobStore, fair: bool) -> None:
    one_place = replace(AGEING, limits=(Limit("key", LimitScope.KEY, max_active=1),), fair_turns=fair)
    await store.put_settings("q", one_place, paused=False)
    await placed(store, waiting("first", 3, 0 * MINUTE, "k"))
    attempt = await claimed_one(store, lease=HOUR)
    await placed(
        store, waiting("old", -9, -HOUR, "k"), waiting("high", 9, -HOUR, "k"), waiting("older", 0, -2 * HOUR, "k")
    )
    assert await begun(store) == []
    await finished(store, failed(attempt, retry_in=timedelta(0)))
    order = []
    while found := await claimed(store, lease=HOUR):
        order += [one.job.job_id for one in found]
        await finished(store, *map(completed, found))
    assert order == ["first", "older", "high", "old"]


async def test_a_full_key_holds_back_its_own_jobs_only(store: JobStore) -> None:
    two_a_key = replace(AGEING, limits=(Limit("key", LimitScope.KEY, max_active=2),))
    await store.put_settings("q", two_a_key, paused=False)
    jobs = [waiting(f"{key}{n}", n % 4, n * 20 * SECOND, key) for n in range(12) for key in "ab"]
    others = [waiting(f"none {n}", n % 3, n * 31 * SECOND) for n in range(12)]
    await placed(store, *jobs, *others)
    began: list[str] = []
    left = in_order([*jobs, *others])
    while left:
        expected, of_key = [], {"a": 0, "b": 0}
        for name in left:
            if of_key.get(name[0], 0) < 2:
                expected.append(name)
                if name[0] in of_key:
                    of_key[name[0]] += 1
        found = await claimed(store, lease=HOUR)
        assert [one.job.job_id for one in found] == expected
        began += expected
        left = [name for name in left if name not in expected]
        await finished(store, *map(completed, found))
    assert len(began) == 36


async def test_behind_keys_that_are_full_the_order_is_the_same(store: JobStore) -> None:
    """What a claim read of a priority is all held back; what comes next in it, and was not read, is not passed by."""
    one_a_key = replace(AGEING, limits=(Limit("key", LimitScope.KEY, max_active=1),))
    await store.put_settings("q", one_a_key, paused=False)
    keys = [f"{n}" for n in range(9)]
    await placed(store, *(waiting(f"runs {key}", key=key) for key in keys))
    assert len(await begun(store)) == 9
    await placed(
        store,
        *(waiting(f"held {key}", key=key) for key in keys),
        *(waiting(f"free {n}", 0, SECOND, f"free {n}") for n in range(3)),
        *(waiting(f"less {n}", -1, n * SECOND, f"less {n}") for n in range(3)),
    )
    assert await begun(store, at_once=1) == ["free 0", "free 1", "free 2", "less 0", "less 1", "less 2"]


async def test_behind_jobs_of_a_key_that_is_full_no_type_is_passed_by(store: JobStore) -> None:
    one_a_key = replace(AGEING, limits=(Limit("key", LimitScope.KEY, max_active=1),))
    await store.put_settings("q", one_a_key, paused=False)
    jobs = [waiting(f"x{n}", 0, n * SECOND, "x") for n in range(5)]
    await placed(store, *jobs, waiting("free", -1, -MINUTE + 5 * SECOND), waiting("other", 1, MINUTE + HOUR, type="u"))
    assert await begun(store, types="tu", at_once=2) == ["x0", "free", "other"]


async def test_of_many_types_what_was_not_read_is_not_passed_by(store: JobStore) -> None:
    await store.put_settings("q", AGEING, paused=False)
    types = [f"t{n}" for n in range(14)]
    many = [waiting(f"many {n}", 0, n * SECOND, type="t0") for n in range(30)]
    others = [waiting(f"other {n}", n % 3 - 1, n * 3 * SECOND, type=types[n % 13 + 1]) for n in range(26)]
    await placed(store, *many, *others)
    assert await begun(store, types=types, at_once=20) == in_order([*many, *others])


async def test_keys_take_turns_and_each_ones_oldest_in_priority_comes_first(store: JobStore) -> None:
    await store.put_settings("q", replace(AGEING, fair_turns=True), paused=False)
    jobs = {
        key: [waiting(f"{key}{n}", n * 7 % 4 - 1, n * 11 % 40 * 20 * SECOND, key, type="tu"[n % 2]) for n in range(40)]
        for key in "ab"
    }
    await placed(store, *jobs["a"], *jobs["b"])
    order = await begun(store, types="tu", at_once=5)
    for key in "ab":
        for odd in (0, 1):  # of each type: a key's types are merged by its turns
            of_type = [name for name in order if name[0] == key and int(name[1:]) % 2 == odd]
            assert of_type == in_order(jobs[key][odd::2])
    assert all(sum(name[0] == "a" for name in order[: 2 * n]) == n for n in range(1, 41))


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("keys", [0, 3, 70])
async def test_the_setting_is_turned_on_made_another_and_turned_off_while_jobs_wait(
    store: JobStore, keys: int, fair: bool
) -> None:
    """Also where heads of more keys are to be chosen anew than one claim does."""
    settings = QueueSettings(limits=BY_KEY if keys else (), fair_turns=fair)
    await store.put_settings("q", settings, paused=False)
    jobs = [
        waiting(f"{n}", n * 7 % 4, n * 5 % 23 * 40 * SECOND, f"{n % keys}" if keys else "")
        for n in range(max(keys, 20) * 3)
    ]
    await placed(store, *jobs)
    steps = [None, MINUTE, None, 10 * SECOND, 20 * MINUTE, None]
    left = list(jobs)
    for step in steps:
        await store.put_settings("q", replace(settings, priority_ageing=step), paused=False)
        # While heads are chosen anew claims may go by the order of before; these are given back.
        await finished(store, *map(released, await claimed(store, 1, lease=HOUR)))
        assert await begun(store, types=["other"]) == []
        order = in_order_of(left, step)
        found = await begun(store, 6, at_once=2)
        if fair:
            for key in {job.spec.conditions.limit_key for job in left}:
                of_key = [job.job_id for job in left if job.spec.conditions.limit_key == key]
                of_key = [name for name in order if name in of_key]
                mine = [name for name in found if name in of_key]
                assert mine == of_key[: len(mine)]
        else:
            assert found == order[:6], step
        left = [job for job in left if job.job_id not in found]
    assert not (await all_checked(store)), "the cross-check had something to mend"
    assert sorted(await begun(store)) == sorted(job.job_id for job in left)


def in_order_of(jobs: Sequence[Job], step: timedelta | None) -> list[str]:
    if step is None:
        return [job.job_id for job in sorted(jobs, key=lambda job: (-job.spec.priority, job.schedule_time))]
    return in_order(jobs, step)


async def all_checked(store: JobStore) -> dict[str, int]:
    mended: dict[str, int] = {}
    while True:
        checked = await store.check()
        mended |= checked.mended
        if checked.done:
            return mended


@pytest.mark.parametrize(("before", "after", "head"), [(None, MINUTE, "high"), (MINUTE, None, "old")])
async def test_after_a_change_a_key_whose_older_head_goes_away_is_still_found(
    store: JobStore, before: timedelta | None, after: timedelta | None, head: str
) -> None:
    """The head that a key has among others was chosen by the order of before, and is not the first by that of now."""
    settings = QueueSettings(limits=BY_KEY, priority_ageing=before)
    await store.put_settings("q", settings, paused=False)
    high, old, last = waiting("high", 1, key="k"), waiting("old", 0, -HOUR, "k"), waiting("last", -99, key="k")
    await placed(store, high, old, last)
    await store.put_settings("q", replace(settings, priority_ageing=after), paused=False)
    await cancelled(store, high if head == "high" else old)
    assert await begun(store) == ["old" if head == "high" else "high", "last"]


@pytest.mark.parametrize(("before", "after"), [(None, MINUTE), (MINUTE, None), (MINUTE, SECOND)])
@pytest.mark.parametrize("fair", [False, True])
async def test_a_check_after_a_change_finds_nothing_wrong(
    store: JobStore, before: timedelta | None, after: timedelta | None, fair: bool
) -> None:
    settings = QueueSettings(limits=BY_KEY, fair_turns=fair, priority_ageing=before)
    await store.put_settings("q", settings, paused=False)
    jobs = [waiting("high", 1, key="k"), waiting("old", 0, -HOUR, "k"), waiting("oldest", -90, -2 * HOUR, "k")]
    await placed(store, *jobs)
    assert await all_checked(store) == {}
    await store.put_settings("q", replace(settings, priority_ageing=after), paused=False)
    assert await all_checked(store) == {}
    assert await begun(store) == in_order_of(jobs, after)


@of_each_kind
async def test_what_is_ahead_is_counted_in_the_order_of_claims(store: JobStore, settings: QueueSettings) -> None:
    await store.put_settings("q", settings, paused=False)
    jobs = [waiting(f"{n}", n % 4 - 2, n * 11 % 30 * 12 * SECOND) for n in range(40)]
    await placed(store, *jobs)
    order = in_order(jobs)
    outlooks = await store.explain("q", order)
    assert [one.ahead for one in outlooks if one is not None] == list(range(40))
    assert await begun(store) == order


async def test_rates_and_ageing_go_together(store: JobStore) -> None:
    slow = replace(AGEING, limits=(Limit("slow", LimitScope.KEY, rate=Rate(1, HOUR)),))
    await store.put_settings("q", slow, paused=False)
    jobs = [waiting(f"{n}", n % 3, n * 40 * SECOND, f"{n % 4}") for n in range(24)]
    await placed(store, *jobs)
    order = in_order(jobs)
    first = [next(name for name in order if int(name) % 4 == key) for key in range(4)]
    assert await begun(store) == sorted(first, key=order.index)


async def test_new_jobs_age_like_any(store: JobStore) -> None:
    await store.put_settings("q", AGEING, paused=False)
    await added(store, a_draft("a"), a_draft("b", priority=1), a_draft("c"))
    assert await begun(store) == ["b", "a", "c"]
