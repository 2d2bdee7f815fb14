"""Limits of a queue: how many of its jobs run at once, and how many begin in a span of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from tocsin_server.domain.commands import RunJob
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.explaining import HeldBack, Turn
from tocsin_server.domain.job import Draft, OnConflict
from tocsin_server.domain.lease import AttemptOutcome, Claimed, LimitPause
from tocsin_server.domain.queue_limits import Limit, LimitScope, Rate
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    SECOND,
    a_draft,
    a_request,
    added,
    claimed,
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    released,
    wish,
)
from contract.conftest import Contents

QUEUE, TYPE, KEY = LimitScope.QUEUE, LimitScope.TYPE, LimitScope.KEY


def a_limit(scope: LimitScope, max_active: int | None = None, rate: Rate | None = None, **words: object) -> Limit:
    return Limit("l", scope, max_active=max_active, rate=rate, **words)  # type: ignore[arg-type]


async def limited(store: JobStore, *limits: Limit, fair: bool = False) -> None:
    await store.put_settings("q", QueueSettings(limits=limits, fair_turns=fair), paused=False)


def keyed(job_id: str, key: str, weight: int = 1, **words: object) -> Draft:
    return a_draft(job_id, conditions=Conditions(key, weight), **words)  # type: ignore[arg-type]


def ids(claims: list[Claimed]) -> list[str]:
    return [one.job.job_id for one in claims]


async def test_limits_are_read_as_they_were_set_and_setting_them_again_changes_nothing(
    store: JobStore, contents: Contents
) -> None:
    said = QueueSettings(
        limits=(
            Limit("a", KEY, "t", max_active=1),
            Limit("b", QUEUE, rate=Rate(1_000_000, 30 * 24 * HOUR, burst=1_000_000)),
            Limit("c", TYPE, "u", max_active=100_000, rate=Rate(1, timedelta(milliseconds=1))),
        )
    )
    assert await store.put_settings("q", said, paused=False) == said
    assert await store.settings(["q"]) == [said]
    before = contents()
    await store.put_settings("q", said, paused=False)
    assert contents() == before


@pytest.mark.parametrize("scope", [QUEUE, TYPE])
async def test_no_more_run_at_once_than_a_limit_says(store: JobStore, scope: LimitScope) -> None:
    await limited(store, a_limit(scope, 2, type="t" if scope is TYPE else ""))
    await added(store, *(a_draft(f"{i}") for i in range(5)))
    first = await claimed(store)
    assert ids(first) == ["0", "1"]
    assert await claimed(store) == []
    await finished(store, completed(first[0]))
    assert ids(await claimed(store)) == ["2"]
    await finished(store, failed(first[1]))
    assert ids(await claimed(store)) == ["3"]


async def test_a_key_has_places_of_its_own(store: JobStore) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, *(keyed(f"{k}{i}", k) for i in range(3) for k in "ab"), a_draft("x"), a_draft("y"))
    first = await claimed(store)
    assert ids(first) == ["a0", "b0", "x", "y"]
    assert await claimed(store) == []
    await finished(store, completed(first[1]))
    assert ids(await claimed(store)) == ["b1"]
    assert await claimed(store) == []


async def test_a_limit_set_later_counts_what_runs_and_files_what_waits(store: JobStore) -> None:
    await added(store, *(keyed(f"a{i}", "a") for i in range(4)), keyed("b0", "b"))
    [running] = await claimed(store, 1)
    await limited(store, a_limit(KEY, 1))
    assert ids(await claimed(store)) == ["b0"]
    await finished(store, completed(running))
    assert ids(await claimed(store)) == ["a1"]
    await limited(store)
    assert ids(await claimed(store)) == ["a2", "a3"]


async def test_raising_lets_more_begin_and_lowering_stops_nothing(store: JobStore) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, *(keyed(f"{i}", "k") for i in range(6)))
    assert ids(await claimed(store)) == ["0"]
    await limited(store, a_limit(KEY, 3))
    three = await claimed(store)
    assert ids(three) == ["1", "2"]
    await limited(store, a_limit(KEY, 1))
    await finished(store, *map(completed, three))
    assert await claimed(store) == []
    await limited(store)
    assert ids(await claimed(store)) == ["3", "4", "5"]


async def test_a_lease_that_ran_out_holds_its_place_until_it_is_taken_back(store: JobStore, backdate: Backdate) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, keyed("0", "k"), keyed("1", "k"))
    [one] = await claimed(store)
    backdate.lease(one.job, by=HOUR)
    assert await claimed(store) == []
    await store.reap("q")
    assert ids(await claimed(store)) == ["0"]


@pytest.mark.parametrize("end", [completed, failed, released], ids=lambda end: end.__name__)
async def test_each_end_gives_the_place_back(store: JobStore, end: object) -> None:
    await limited(store, a_limit(KEY, 1), Limit("m", TYPE, "t", 1))
    await added(store, keyed("0", "k"), keyed("1", "k"))
    for _ in range(3):
        [one] = await claimed(store)
        assert await claimed(store) == []
        await finished(store, end(one))  # type: ignore[operator]
        if end is not released:
            break
    assert len(await claimed(store)) == 1


async def test_the_jobs_of_a_key_with_one_place_keep_their_order_retries_included(store: JobStore) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, keyed("0", "k"), keyed("1", "k"), keyed("other", "o"))
    first, other = await claimed(store)
    await finished(store, failed(first, HOUR), completed(other))
    assert await claimed(store) == []
    await added(store, keyed("2", "k"))
    assert await claimed(store) == []
    await store.update("q", [RunJob("0")])
    for name in ("0", "1", "2"):
        [one] = await claimed(store)
        assert one.job.job_id == name
        await finished(store, completed(one))


async def test_a_retry_that_is_given_up_lets_its_key_go_on(store: JobStore) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, keyed("0", "k"), keyed("1", "k"), keyed("2", "k"))
    [first] = await claimed(store)
    await finished(store, failed(first, HOUR))
    assert await claimed(store) == []
    await store.cancel("q", [wish("0")])
    [second] = await claimed(store)
    assert second.job.job_id == "1"
    await finished(store, failed(second, HOUR))
    await store.delete("q", ["1"], ended_only=False)
    assert ids(await claimed(store)) == ["2"]


async def test_a_retry_keeps_its_place_before_a_job_of_higher_priority(store: JobStore) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, keyed("0", "k"))
    [first] = await claimed(store)
    await finished(store, failed(first, HOUR))
    await added(store, keyed("urgent", "k", priority=9), keyed("other", "o", priority=5))
    await store.update("q", [RunJob("0")])
    assert ids(await claimed(store)) == ["other", "0"]


async def test_a_rate_lets_so_many_begin_and_says_when_the_next_may(store: JobStore) -> None:
    await limited(store, a_limit(TYPE, rate=Rate(1, HOUR, burst=2), type="t"))
    await added(store, *(a_draft(f"{i}") for i in range(4)), a_draft("u", type="u"))
    claim = await store.claim("q", {"t": 9, "u": 9}, 9, lease=MINUTE, request=a_request())
    assert ids(list(claim.claimed)) == ["0", "1", "u"]
    at = (await store.ticks(["q"]))["q"].next_start
    assert at is not None
    assert abs(at - claim.now - HOUR) < SECOND


async def test_a_rate_of_each_key(store: JobStore) -> None:
    await limited(store, a_limit(KEY, rate=Rate(1, HOUR)))
    await added(store, *(keyed(f"{k}{i}", k) for i in range(2) for k in "ab"))
    assert ids(await claimed(store)) == ["a0", "b0"]
    assert (await store.ticks(["q"]))["q"].next_start is not None
    await limited(store)
    assert ids(await claimed(store)) == ["a1", "b1"]


async def test_a_rate_goes_on_at_its_time(store: JobStore) -> None:
    await limited(store, a_limit(KEY, rate=Rate(20, SECOND)), Limit("m", QUEUE, rate=Rate(30, SECOND)))
    await added(store, *(keyed(f"{i}", "k") for i in range(4)))
    times = []
    while len(times) < 4:
        for one in await claimed(store):
            assert one.job.start_time is not None
            times.append(one.job.start_time)
    assert all(later - sooner >= timedelta(milliseconds=49) for sooner, later in pairwise(times))


async def test_a_failed_job_may_pause_its_limit(store: JobStore) -> None:
    await limited(store, Limit("api", TYPE, "t", max_active=9), Limit("mine", KEY))
    await added(store, *(keyed(f"{k}{i}", k) for i in range(2) for k in "ab"), a_draft("u", type="u"))
    [one] = await claimed(store, 1)
    pause = LimitPause("api", HOUR)
    now = await store.ping()
    await store.finish([replace(failed(one), pause=pause)])
    assert ids(await claimed(store, types=("t", "u"))) == ["u"]
    at = (await store.ticks(["q"]))["q"].next_start
    assert at is not None
    assert abs(at - now - HOUR) < SECOND


async def test_of_a_limit_by_key_the_jobs_key_alone_is_paused(store: JobStore) -> None:
    await limited(store, Limit("mine", KEY, max_active=5))
    await added(store, *(keyed(f"{k}{i}", k) for i in range(2) for k in "ab"))
    [one] = await claimed(store, 1)
    await store.finish([replace(failed(one, HOUR), pause=LimitPause("mine", HOUR))])
    assert ids(await claimed(store)) == ["b0", "b1"]
    await added(store, a_draft("other"))
    [other] = await claimed(store)
    await store.finish([replace(failed(other), pause=LimitPause("mine", HOUR))])
    assert await claimed(store) == []
    await limited(store)
    assert ids(await claimed(store)) == ["a1"]


async def test_an_end_that_is_told_again_pauses_no_limit_anew(movable: JobStore) -> None:
    await limited(movable, Limit("mine", KEY, max_active=5))
    await added(movable, keyed("a", "k"), keyed("b", "k"))
    [one] = await claimed(movable, 1)
    end = replace(failed(one, HOUR), pause=LimitPause("mine", MINUTE))
    await movable.finish([end])
    await movable.move_clock(await movable.ping() + 50 * SECOND)
    await movable.finish([end])
    assert await claimed(movable) == []
    await movable.move_clock(await movable.ping() + 10 * SECOND)
    assert ids(await claimed(movable)) == ["b"]


async def explained_held(store: JobStore, job_id: str) -> HeldBack | Turn | None:
    [outlook] = await store.explain("q", [job_id])
    assert outlook is not None
    return outlook.hindrance


async def test_a_job_that_waits_for_a_place_or_a_rate_is_explained_so(store: JobStore) -> None:
    await limited(store, Limit("one", KEY, max_active=1), Limit("slow", TYPE, "u", rate=Rate(1, HOUR)))
    await added(store, keyed("0", "k"), keyed("1", "k"), a_draft("u0", type="u"), a_draft("u1", type="u"))
    assert await explained_held(store, "0") is None
    await claimed(store, types=("t", "u"))
    assert await explained_held(store, "0") is None
    assert await explained_held(store, "1") == HeldBack("one", 1, 1)
    held = await explained_held(store, "u1")
    assert isinstance(held, HeldBack)
    assert (held.limit, held.active, held.most) == ("slow", 1, None)
    assert held.next_at is not None
    assert abs(held.next_at - await store.ping() - HOUR) < MINUTE


@pytest.mark.parametrize("end", [crashed, released], ids=lambda end: end.__name__)
async def test_a_retry_keeps_its_turn_however_its_attempts_end(
    store: JobStore, end: Callable[[Claimed], AttemptOutcome]
) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, keyed("a", "k"), keyed("b", "k"))
    await finished(store, failed(await claimed_one(store), SECOND * 0))  # it is due after "b" now
    await added(store, keyed("urgent", "k", priority=9))
    for _ in range(2):
        again = await claimed_one(store)
        assert again.job.job_id == "a"
        await finished(store, end(again))
    await finished(store, completed(await claimed_one(store)))
    assert ids(await claimed(store)) == ["urgent"]


@pytest.mark.parametrize("key", ["k", "other"])
async def test_a_retry_that_is_replaced_is_a_new_job_with_no_place(store: JobStore, key: str) -> None:
    await limited(store, a_limit(KEY, 1))
    await added(store, keyed("a", "k"), keyed("b", "k"), keyed("c", "other"))
    first, other = await claimed(store)
    await finished(store, failed(first, SECOND * 0))
    await added(store, keyed("a", key, on_conflict=OnConflict.REPLACE, priority=-1))
    assert ids(await claimed(store)) == ["b"]  # the key's place is free, and "a" begins in its turn
    [outlook] = await store.explain("q", ["a"])
    assert outlook is not None
    assert outlook.hindrance is not None
    await finished(store, completed(other))
    assert ids(await claimed(store)) == (["a"] if key == "other" else [])
