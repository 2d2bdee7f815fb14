"""Concurrent calls are gathered, each keeps its own answer, and defaults are filled in."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from contract.builders import read
from support.eventually import until_async
from support.spied_store import SpiedStore
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.defaults import JobDefaults, JobRequest
from tocsin_server.domain.dependencies import DependsOn, ParentRequest, WhenParentFails
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, TocsinError
from tocsin_server.domain.job import Added, Draft, New
from tocsin_server.domain.job_errors import JobExists
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.retry import Backoff
from tocsin_server.operations.queues import QueueChange, Queues, QueueSettingsCache
from tocsin_server.operations.schedule_jobs import CancelledUnsent, ScheduleJobs


@pytest.fixture
def cache(spied: SpiedStore) -> QueueSettingsCache:
    return QueueSettingsCache(spied.as_store, ttl=timedelta(minutes=1))


@pytest.fixture
def scheduling(spied: SpiedStore, cache: QueueSettingsCache) -> ScheduleJobs:
    return ScheduleJobs(spied.as_store, cache.get)


def asked(job_id: str | None = None, **words: Any) -> JobRequest:
    return JobRequest(**{"queue": "q", "type": "t", "job_id": job_id, **words})


async def one(scheduling: ScheduleJobs, request: JobRequest) -> tuple[Draft, Added]:
    [answer] = await scheduling.schedule([request])
    assert not isinstance(answer, TocsinError), answer
    return answer


async def sent(spied: SpiedStore, name: str) -> None:
    """Return once the store was asked."""

    async def asked() -> bool:
        return name in spied.arguments

    await until_async(asked, within=5)


async def held(spied: SpiedStore, scheduling: ScheduleJobs) -> tuple[asyncio.Event, asyncio.Task[tuple[Draft, Added]]]:
    """A first call, under way until the event is set."""
    gate = spied.gates["add"] = asyncio.Event()
    first = asyncio.create_task(one(scheduling, asked("first")))
    await sent(spied, "add")
    return gate, first


async def test_64_calls_at_once_use_a_quarter_as_many_store_calls(spied: SpiedStore, scheduling: ScheduleJobs) -> None:
    answers = await asyncio.gather(*(one(scheduling, asked(str(i))) for i in range(64)))
    assert [draft.job_id for draft, _ in answers] == [str(i) for i in range(64)]
    assert spied.calls["add"] <= 16


async def test_a_lone_call_does_not_wait_for_company(spied: SpiedStore, cache: QueueSettingsCache) -> None:
    scheduling = ScheduleJobs(spied.as_store, cache.get, linger=timedelta(seconds=30))
    async with asyncio.timeout(10):
        for i in range(3):  # one after another is not company
            await one(scheduling, asked(str(i)))
    assert spied.calls["add"] == 3


async def test_what_comes_while_a_call_is_under_way_goes_together_in_the_next(
    spied: SpiedStore, scheduling: ScheduleJobs
) -> None:
    gate, first = await held(spied, scheduling)
    others = [asyncio.create_task(one(scheduling, asked(str(i)))) for i in range(20)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *others)
    assert spied.calls["add"] == 2


async def test_a_store_call_carries_a_bounded_number_of_jobs(spied: SpiedStore, cache: QueueSettingsCache) -> None:
    scheduling = ScheduleJobs(spied.as_store, cache.get, flush_jobs=10)
    await asyncio.gather(*(one(scheduling, asked(str(i))) for i in range(35)))
    assert max(len(args[0]) for args, _ in spied.arguments["add"]) == 10


async def test_each_call_keeps_its_own_refusal(spied: SpiedStore, scheduling: ScheduleJobs) -> None:
    gate, first = await held(spied, scheduling)
    calls = [scheduling.schedule([asked(job_id)]) for job_id in ("a", "first", "b")]
    rest = asyncio.gather(*calls)
    await asyncio.sleep(0)
    gate.set()
    await first
    [a], [refused], [b] = await rest
    assert isinstance(refused, JobExists)
    assert [answer[0].job_id for answer in (a, b)] == ["a", "b"]


async def test_a_failed_store_call_fails_those_it_carried_and_no_later_one(
    spied: SpiedStore, scheduling: ScheduleJobs
) -> None:
    spied.lose["add"] = 1
    done = await asyncio.gather(*(one(scheduling, asked(str(i))) for i in range(4)), return_exceptions=True)
    assert all(isinstance(error, OutcomeUnknown) for error in done)
    spied.break_with["add"] = StoreAway("gone")
    with pytest.raises(StoreAway):
        await one(scheduling, asked("x"))
    del spied.break_with["add"]
    await one(scheduling, asked("y"))


async def test_a_caller_that_leaves_before_its_job_was_sent_takes_it_along(
    spied: SpiedStore, scheduling: ScheduleJobs
) -> None:
    gate, first = await held(spied, scheduling)
    leaving, staying = (asyncio.create_task(one(scheduling, asked(name))) for name in ("leaves", "stays"))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(CancelledUnsent):
        await leaving
    gate.set()
    await asyncio.gather(first, staying)
    sent = [draft.job_id for args, _ in spied.arguments["add"] for draft in args[0]]
    assert sent == ["first", "stays"]


@pytest.mark.parametrize("jobs", [1, 3])
async def test_a_caller_that_leaves_later_does_not_stop_the_store_call(
    spied: SpiedStore, scheduling: ScheduleJobs, jobs: int
) -> None:
    gate = spied.gates["add"] = asyncio.Event()
    call = asyncio.create_task(scheduling.schedule([asked(str(i)) for i in range(jobs)]))
    await sent(spied, "add")
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    assert not isinstance(caught.value, CancelledUnsent)
    assert spied.calls["add"] == 0  # it goes on
    gate.set()
    await scheduling.close()
    assert spied.calls["add"] == 1


async def test_a_batch_goes_by_itself_and_answers_in_order(spied: SpiedStore, scheduling: ScheduleJobs) -> None:
    answers = await scheduling.schedule([asked("a", queue="p"), asked("b"), asked("a", queue="p")])
    assert [type(answer) for answer in answers] == [tuple, tuple, JobExists]
    assert spied.calls["add"] == 1


async def test_a_jobs_own_word_goes_before_its_types_its_queues_and_the_servers(
    spied: SpiedStore, cache: QueueSettingsCache, scheduling: ScheduleJobs
) -> None:
    change = QueueChange(
        defaults=JobDefaults(max_attempts=5, jitter=0.0, backoff=Backoff.FIXED),
        all_types={"t": JobDefaults(max_attempts=7, timeout=timedelta(seconds=9))},
    )
    await Queues(spied.as_store, cache).update("q", change)
    _, added = await one(scheduling, asked("a", overrides=JobDefaults(jitter=0.5)))
    assert isinstance(added, New)
    job = await read(spied.as_store, "a")
    retry = job.spec.terms.retry
    assert (retry.max_attempts, retry.backoff, retry.jitter) == (7, Backoff.FIXED, 0.5)
    assert (job.spec.terms.timeout, retry.initial_delay) == (timedelta(seconds=9), timedelta(seconds=2))
    await one(scheduling, asked("b", type="u"))
    other = await read(spied.as_store, "b")
    assert (other.spec.terms.retry.max_attempts, other.spec.terms.timeout) == (5, None)


async def test_settings_are_read_once_until_they_are_invalidated(spied: SpiedStore, cache: QueueSettingsCache) -> None:
    await asyncio.gather(*(cache.get("q") for _ in range(10)))
    assert spied.calls["settings"] == 1
    cache.invalidate("q")
    await cache.get("q")
    assert spied.calls["settings"] == 2


async def test_settings_grow_old(spied: SpiedStore) -> None:
    cache = QueueSettingsCache(spied.as_store, ttl=timedelta(0))
    await cache.get("q")
    await spied.as_store.put_settings("q", replace(QueueSettings(), completed_max=5), paused=False)
    assert (await cache.get("q")).completed_max == 5


async def test_settings_that_could_not_be_read_are_read_again(spied: SpiedStore, cache: QueueSettingsCache) -> None:
    spied.away.add("settings")
    with pytest.raises(StoreAway):
        await cache.get("q")
    spied.away.clear()
    assert await cache.get("q") == QueueSettings()


async def test_one_that_leaves_does_not_take_the_settings_from_others(
    spied: SpiedStore, cache: QueueSettingsCache
) -> None:
    gate = spied.gates["settings"] = asyncio.Event()
    leaving, staying = (asyncio.create_task(cache.get("q")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    gate.set()
    assert await staying == QueueSettings()


async def test_a_pause_keeps_its_first_reason_and_time(spied: SpiedStore, cache: QueueSettingsCache) -> None:
    queues = Queues(spied.as_store, cache)
    first = await queues.pause("q", "moving")
    assert await queues.pause("q", "again") == first
    assert (first.paused, first.pause_reason) == (True, "moving")
    assert await queues.resume("q") == QueueSettings()


async def test_a_batch_goes_on_without_the_queues_whose_server_is_away(spied: SpiedStore) -> None:
    asks: list[str] = []

    async def settings_of(queue: str) -> QueueSettings:
        asks.append(queue)
        if queue == "away":
            raise StoreAway("no connection")
        return QueueSettings()

    scheduling = ScheduleJobs(spied.as_store, settings_of)
    queues = ["q", "away", "other", "away", "q"]
    answers = await scheduling.schedule([asked(str(i), queue=queue) for i, queue in enumerate(queues)])
    assert [isinstance(answer, StoreAway) for answer in answers] == [queue == "away" for queue in queues]
    drafts = [answer[0] for answer in answers if isinstance(answer, tuple)]
    assert [(draft.spec.queue, draft.job_id) for draft in drafts] == [("q", "0"), ("other", "2"), ("q", "4")]
    assert sorted(asks) == ["away", "other", "q"]
    with pytest.raises(StoreAway):
        await scheduling.schedule([asked("x", queue="away"), asked("y", queue="away")])


async def test_a_batch_with_many_parents_goes_in_parts(spied: SpiedStore, scheduling: ScheduleJobs) -> None:
    """Else nobody else's call gets on while so many are gone through."""
    conditions = Conditions(depends=DependsOn(WhenParentFails.RUN))
    named = tuple(ParentRequest("", batch_item=at) for at in range(100))
    children = [asked(f"c{at}", parents=named, conditions=conditions) for at in range(120)]
    answers = await scheduling.schedule([*(asked(f"p{at}") for at in range(100)), *children], range(220))
    assert [answer for answer in answers if isinstance(answer, TocsinError)] == []
    calls = [sum(len(draft.parents) for draft in args[0]) for args, _ in spied.arguments["add"]]
    assert sum(calls) == 12_000
    assert max(calls) <= 5_000
