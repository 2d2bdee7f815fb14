"""JobStore.queues, figures, settings, put_settings."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tocsin_server.domain.commands import RunJob
from tocsin_server.domain.defaults import UNSET, JobDefaults, PushTarget
from tocsin_server.domain.queues import QueueFigures, QueueSettings
from tocsin_server.domain.retry import Backoff
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
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    released,
    standing,
    wish,
)
from contract.conftest import Contents
from contract.providers import Provider

SAID = QueueSettings(
    pause_reason="a \u202e deploy {} \0",
    defaults=JobDefaults(
        max_attempts=7,
        backoff=Backoff.FIXED,
        initial_delay=MILLISECOND,
        max_delay=30 * 24 * HOUR,
        jitter=0.1 + 0.2,
        timeout=MINUTE,
        completed_for=NOW,
        failed_for=3653 * 24 * HOUR,
        concurrency=10_000,
        min_worker_version="2.11",
        push=PushTarget("https://example.com/jobs?key=1", {"X.Y": "$z", "Authorization": "Bearer x"}, "orders", MINUTE),
    ),
    type_defaults={
        "email": JobDefaults(max_attempts=1, concurrency=1),
        "a.b-c_D": UNSET,
        "sms": JobDefaults(jitter=0.0),
        "hook": JobDefaults(push=PushTarget("http://example.com/")),
    },
    completed_max=0,
    failed_max=10_000_000,
)


async def test_a_queue_appears_with_its_first_job_or_setting(store: JobStore) -> None:
    assert await store.queues() == []
    await added(store, a_draft(queue="b"), a_draft(queue="B"))
    await store.put_settings("a", QueueSettings(), paused=False)
    assert await store.queues() == ["B", "a", "b"]
    await store.delete("b", [], ended_only=False)
    assert await store.queues() == ["B", "a", "b"]


async def test_names_are_sorted_by_code_point(store: JobStore) -> None:
    names = ["z", "Z", "a.b", "a-b", "a_b", "aB", "0", "a"]
    await added(store, *(a_draft(queue=name) for name in names))
    assert await store.queues() == sorted(names)


async def test_another_store_sees_the_same_queues(store: JobStore, provider: Provider) -> None:
    await added(store, a_draft(queue="b"))
    async with provider.store() as other:
        await added(other, a_draft(queue="a"))
        assert await other.queues() == await store.queues() == ["a", "b"]


async def test_reading_a_queue_that_was_never_used_makes_nothing(store: JobStore, contents: Contents) -> None:
    before = contents()
    figures = await store.figures("never")
    assert figures == QueueFigures(figures.now, {}, None, 0.0, 0.0)
    assert await store.settings(["never"]) == [QueueSettings()]
    assert await store.queues() == []
    assert contents() == before


async def test_counts_follow_each_change(store: JobStore) -> None:
    async def counts() -> dict[str, dict[str, int]]:
        return {state.name: dict(types) for state, types in (await store.figures("q")).counts.items()}

    await added(store, a_draft("a"), a_draft("b", type="u"), a_draft("c", when=HOUR))
    assert await counts() == {"WAITING": {"t": 1, "u": 1}, "SCHEDULED": {"t": 1}}
    [one, two] = await claimed(store, types=["t", "u"])
    assert await counts() == {"ACTIVE": {"t": 1, "u": 1}, "SCHEDULED": {"t": 1}}
    await finished(store, completed(one), failed(two))
    assert await counts() == {"COMPLETED": {"t": 1}, "FAILED": {"u": 1}, "SCHEDULED": {"t": 1}}
    await store.update("q", [RunJob("c")])
    assert await counts() == {"COMPLETED": {"t": 1}, "FAILED": {"u": 1}, "WAITING": {"t": 1}}
    await store.cancel("q", [wish("c")])
    assert await counts() == {"COMPLETED": {"t": 1}, "FAILED": {"u": 1}, "CANCELLED": {"t": 1}}
    await store.delete("q", ["a", "b", "c"])
    assert await counts() == {}


async def test_totals_are_over_all_types(store: JobStore) -> None:
    await added(store, *(a_draft(type=f"t{i}") for i in range(7)), a_draft(when=HOUR))
    figures = await store.figures("q")
    assert (figures.total(State.WAITING), figures.total(State.SCHEDULED), figures.total(State.FAILED)) == (7, 1, 0)


async def test_figures_of_many_queues_are_those_of_each(store: JobStore) -> None:
    names = [f"q{number}" for number in range(120)]
    await added(store, *(a_draft(queue=name, type="t") for name in names), a_draft(queue="q7", type="u", when=HOUR))
    asked = [*reversed(names), "never", "q7"]
    found = await store.many_figures(asked)
    assert len(found) == len(asked)
    for at, name in enumerate(asked):
        if at % 5 == 0 or name in ("never", "q7"):
            assert replace(found[at], now=NOW) == replace(await store.figures(name), now=NOW)
    assert found[asked.index("q7")].counts == {State.WAITING: {"t": 1}, State.SCHEDULED: {"u": 1}}
    assert await store.many_figures([]) == []


async def test_round_trips_are_counted(store: JobStore) -> None:
    before = sum(store.trips.row[:-1])
    await added(store, a_draft())
    await store.figures("q")
    assert sum(store.trips.row[:-1]) >= before + 2
    assert store.trips.row[-1] > 0
    assert store.trips.errors == {}


async def test_figures_are_read_now(store: JobStore) -> None:
    before = await store.ping()
    assert before <= (await store.figures("q")).now <= await store.ping()


async def test_the_oldest_waiting_has_been_due_longest(store: JobStore, backdate: Backdate) -> None:
    assert (await store.figures("q")).oldest_waiting is None
    await added(store, a_draft("later", when=HOUR))
    assert (await store.figures("q")).oldest_waiting is None
    [first] = await added(store, a_draft("first", priority=-5))
    while await store.ping() == first.create_time:
        pass
    await added(
        store, a_draft("second", priority=5, type="u"), a_draft("third", priority=-5), a_draft("4th", priority=9)
    )
    assert (await store.figures("q")).oldest_waiting == first.schedule_time
    [overdue] = await added(store, a_draft("overdue", when=HOUR, priority=3))
    backdate.due(overdue, by=3 * HOUR)
    await claimed(store, types=["other"])
    assert (await store.figures("q")).oldest_waiting == overdue.schedule_time - 3 * HOUR
    await claimed(store, types=["t", "u"])
    assert (await store.figures("q")).oldest_waiting is None


async def test_what_is_due_counts_though_nobody_has_claimed_since(store: JobStore, backdate: Backdate) -> None:
    [job] = await added(store, a_draft(when=HOUR))
    backdate.due(job, by=3 * HOUR)
    assert (await store.figures("q")).oldest_waiting == job.schedule_time - 3 * HOUR


async def test_rates_count_attempts_that_completed_and_failed(store: JobStore) -> None:
    await added(store, *(a_draft() for _ in range(60)))
    assert (await store.figures("q")).completed_per_second == 0
    ones = await claimed(store)
    await finished(store, *map(completed, ones[:40]))
    figures = await store.figures("q")
    assert figures.completed_per_second > 0
    assert figures.failed_per_second == 0
    await finished(store, *map(failed, ones[40:50]), *(failed(one, NOW) for one in ones[50:55]))
    await finished(store, *map(released, ones[55:]))
    figures = await store.figures("q")
    assert figures.completed_per_second / figures.failed_per_second == pytest.approx(40 / 15, rel=0.1)


async def test_a_crash_counts_as_a_failed_attempt_in_the_rates(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft())
    await finished(store, crashed(await claimed_one(store)))
    one_crash = (await store.figures("q")).failed_per_second
    backdate.lease((await claimed_one(store)).job, by=HOUR)
    await store.reap("q")
    assert (await store.figures("q")).failed_per_second > one_crash > 0


async def test_settings_come_back_as_they_were_put(store: JobStore, provider: Provider) -> None:
    before = await store.ping()
    put = await store.put_settings("q", SAID, paused=True)
    assert put.paused_since is not None
    assert before <= put.paused_since <= await store.ping()
    assert put == replace(SAID, paused_since=put.paused_since)
    async with provider.store() as other:
        assert await other.settings(["never", "q", "q"]) == [QueueSettings(), put, put]


async def test_settings_of_no_queues(store: JobStore) -> None:
    assert await store.settings([]) == []


async def test_settings_are_replaced_as_a_whole(store: JobStore) -> None:
    await store.put_settings("q", SAID, paused=False)
    put = await store.put_settings("q", QueueSettings(failed_max=3), paused=False)
    assert put == QueueSettings(failed_max=3)
    assert await store.settings(["q"]) == [put]


async def test_spans_in_settings_round_up(store: JobStore) -> None:
    said = QueueSettings(defaults=JobDefaults(timeout=SECOND + timedelta(microseconds=1)))
    assert (await store.put_settings("q", said, paused=False)).defaults.timeout == SECOND + MILLISECOND


async def test_a_pause_lasts_from_its_first_moment(store: JobStore) -> None:
    first = await store.put_settings("q", QueueSettings(pause_reason="one"), paused=True)
    assert first.paused_since is not None
    while await store.ping() == first.paused_since:
        pass
    again = await store.put_settings("q", QueueSettings(pause_reason="two"), paused=True)
    assert (again.paused_since, again.pause_reason) == (first.paused_since, "two")
    assert again.paused
    resumed = await store.put_settings("q", QueueSettings(pause_reason="two"), paused=False)
    assert (resumed.paused_since, resumed.paused) == (None, False)
    third = await store.put_settings("q", QueueSettings(), paused=True)
    assert third.paused_since is not None
    assert third.paused_since > first.paused_since


async def test_the_store_alone_says_since_when_a_queue_is_paused(store: JobStore) -> None:
    now = await store.ping()
    claimed_since = QueueSettings(paused_since=now - HOUR)
    put = await store.put_settings("q", claimed_since, paused=True)
    assert put.paused_since is not None
    assert put.paused_since >= now
    assert (await store.put_settings("q", put, paused=False)).paused_since is None


async def test_pausing_a_paused_queue_changes_nothing(store: JobStore, contents: Contents) -> None:
    await standing(store, State.WAITING)
    await store.put_settings("q", SAID, paused=True)
    before = contents()
    await store.put_settings("q", SAID, paused=True)
    assert contents() == before


async def test_resuming_a_queue_that_runs_changes_nothing(store: JobStore, contents: Contents) -> None:
    await store.put_settings("q", QueueSettings(), paused=False)
    before = contents()
    await store.put_settings("q", QueueSettings(), paused=False)
    assert contents() == before


async def test_settings_harm_no_job(store: JobStore) -> None:
    job, _ = await standing(store, State.SCHEDULED)
    await store.put_settings("q", SAID, paused=True)
    [found] = (await store.page(a_query())).jobs
    assert found.spec == replace(job.spec, payload=None)
