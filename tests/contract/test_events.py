"""JobStore.cursor and JobStore.events."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from tocsin_server.domain.commands import RetryJob, RunJob, UpdateJob
from tocsin_server.domain.errors import InvalidFields
from tocsin_server.domain.events import Event, EventBatch
from tocsin_server.domain.job import OnConflict, Retention, View
from tocsin_server.domain.lease import Extension
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    a_draft,
    added,
    cancelled,
    claimed,
    claimed_one,
    completed,
    crashed,
    failed,
    finished,
    read,
    released,
    standing,
    wish,
)
from contract.conftest import Contents
from contract.providers import Provider

SOON = timedelta(seconds=5)  # events that are there come at once
S = State


async def happened(store: JobStore, after: str, queue: str = "q") -> list[Event]:
    """All events since a cursor, none of which may be missing."""
    found: list[Event] = []
    while True:
        batch = await store.events(queue, after, wait=NOW)
        assert not batch.gap
        if not batch.events:
            return found
        found += batch.events
        after = batch.cursor


def states(events: list[Event]) -> list[tuple[str, State]]:
    return [(event.job.job_id, event.job.state) for event in events]


async def test_each_change_is_an_event_in_order(store: JobStore, backdate: Backdate) -> None:
    start = await store.cursor("q")
    await added(store, a_draft("a"), a_draft("b", when=HOUR))
    await finished(store, failed(await claimed_one(store), NOW))
    await finished(store, released(await claimed_one(store)))
    await finished(store, crashed(await claimed_one(store)))
    backdate.lease((await claimed_one(store)).job, by=HOUR)
    await store.reap("q")
    await finished(store, completed(await claimed_one(store)))
    await store.update("q", [RunJob("b")])
    await store.update("q", [UpdateJob("b", priority=1)])
    await store.cancel("q", [wish("b")])
    await store.update("q", [RetryJob("b")])
    run = [("a", S.WAITING), ("a", S.ACTIVE)]
    assert states(await happened(store, start)) == [
        ("a", S.WAITING),
        ("b", S.SCHEDULED),
        ("a", S.ACTIVE),
        *run * 4,
        ("a", S.COMPLETED),
        ("b", S.WAITING),
        ("b", S.WAITING),
        ("b", S.CANCELLED),
        ("b", S.WAITING),
    ]


async def test_coming_due_is_an_event(store: JobStore, backdate: Backdate) -> None:
    [job] = await added(store, a_draft("a", when=HOUR))
    backdate.due(job, by=2 * HOUR)
    start = await store.cursor("q")
    await claimed(store)
    assert states(await happened(store, start)) == [("a", S.WAITING), ("a", S.ACTIVE)]


async def test_an_event_shows_the_job_as_it_stood(store: JobStore) -> None:
    start = await store.cursor("q")
    [first] = await added(store, a_draft("a", priority=1, body=b"x", tags={"k": "v"}))
    [second] = await added(store, a_draft("a", priority=2, type="other", on_conflict=OnConflict.REPLACE))
    assert [event.job for event in await happened(store, start)] == [first, second]


async def test_an_event_shows_at_least_the_errors_of_its_time(store: JobStore) -> None:
    start = await store.cursor("q")
    await added(store, a_draft("a"))
    stood = []
    for number in range(3):
        await finished(store, failed(await claimed_one(store), NOW, message=f"{number}"))
        stood.append(await read(store, "a", View.BASIC))
    events = [event.job for event in await happened(store, start) if event.job.state is S.WAITING and event.job.errors]
    assert [replace(event, errors=()) for event in events] == [replace(job, errors=()) for job in stood]
    for event, job in zip(events, stood, strict=True):
        assert event.errors[: len(job.errors)] == job.errors


async def test_an_event_shows_the_wish_to_cancel_and_the_progress(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    start = await store.cursor("q")
    await store.extend([Extension(one.lease, (0.5, "half"))], MINUTE)
    await cancelled(store, one.job, reason="moved")
    await finished(store, completed(one, b"result"))
    progress, asked, done = await happened(store, start)
    assert progress.job.progress is not None
    assert progress.job.progress.message == "half"
    assert asked.job.cancel is not None
    assert (asked.job.cancel.reason, asked.job.state) == ("moved", S.ACTIVE)
    assert done.job == await read(store, "a", View.BASIC)


async def test_a_heartbeat_without_news_is_no_event(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    start = await store.cursor("q")
    await store.extend([Extension(one.lease)], MINUTE)
    assert await happened(store, start) == []


async def test_a_refused_call_is_no_event(store: JobStore) -> None:
    await standing(store, S.ACTIVE, "a")
    start = await store.cursor("q")
    await store.add([a_draft("a"), a_draft("a", on_conflict=OnConflict.REPLACE)])
    await store.add([a_draft("a", on_conflict=OnConflict.KEEP)])
    await store.update("q", [UpdateJob("a", priority=1), RunJob("a"), RunJob("never")])
    await store.delete("q", ["a"])
    assert await happened(store, start) == []


async def test_a_deleted_jobs_last_event_says_so(store: JobStore) -> None:
    job, _ = await standing(store, S.COMPLETED, "a", type="email")
    start = await store.cursor("q")
    await store.delete("q", ["a"])
    [event] = await happened(store, start)
    assert event.deleted
    assert (event.job.queue, event.job.job_id, event.job.spec.type) == ("q", "a", "email")
    assert event.job.create_time == job.create_time


async def test_a_trimmed_jobs_last_event_says_so(store: JobStore) -> None:
    job, _ = await standing(store, S.COMPLETED, "a", retention=Retention(NOW, NOW))
    start = await store.cursor("q")
    assert await store.trim("q", completed_max=9, failed_max=9) == 1
    [event] = await happened(store, start)
    assert (event.deleted, event.job.job_id, event.job.create_time) == (True, "a", job.create_time)


async def test_replacing_an_ended_job_deletes_it_and_makes_one(store: JobStore) -> None:
    old, _ = await standing(store, S.COMPLETED, "a")
    start = await store.cursor("q")
    [new] = await added(store, a_draft("a", on_conflict=OnConflict.REPLACE))
    *before, last = await happened(store, start)
    assert (last.deleted, last.job) == (False, new)
    assert all(event.deleted and event.job.job_id == old.job_id for event in before)


async def test_each_event_has_a_cursor_to_go_on_after(store: JobStore) -> None:
    start = await store.cursor("q")
    await added(store, *(a_draft(f"{i}") for i in range(5)))
    await store.cancel("q", [wish(f"{i}") for i in range(3)])
    events = await happened(store, start)
    assert len(events) == 8
    for place, event in enumerate(events):
        assert await happened(store, event.cursor) == events[place + 1 :]
    assert await store.cursor("q") == events[-1].cursor or await happened(store, await store.cursor("q")) == []


@pytest.mark.parametrize(("limit", "jobs"), [(1, 60), (3, 70), (1000, 250)])
async def test_a_batch_holds_its_limit_and_none_is_lost(store: JobStore, limit: int, jobs: int) -> None:
    start = await store.cursor("q")
    await added(store, *(a_draft(f"{i}") for i in range(jobs)))
    await claimed(store)
    found: list[Event] = []
    while True:
        batch = await store.events("q", start, wait=NOW, limit=limit)
        if not batch.events:
            break
        assert not batch.gap
        assert len(batch.events) <= limit
        found += batch.events
        start = batch.cursor
    assert states(found) == [(f"{i}", S.WAITING) for i in range(jobs)] + [(f"{i}", S.ACTIVE) for i in range(jobs)]


async def test_a_queue_has_events_of_its_own(store: JobStore) -> None:
    start = await store.cursor("q")
    await added(store, a_draft("other", queue="q2"), a_draft("mine"))
    assert states(await happened(store, start)) == [("mine", S.WAITING)]


async def test_a_cursor_from_before_the_first_job_misses_nothing(store: JobStore, contents: Contents) -> None:
    before = contents()
    start = await store.cursor("new")
    assert (await store.events("new", start, wait=NOW)).events == ()
    assert contents() == before
    await added(store, *(a_draft(f"{i}", queue="new") for i in range(3)))
    assert states(await happened(store, start, "new")) == [(f"{i}", S.WAITING) for i in range(3)]


async def test_a_cursor_from_before_the_first_setting_misses_nothing(store: JobStore) -> None:
    start = await store.cursor("new")
    await store.put_settings("new", QueueSettings(), paused=True)
    await added(store, a_draft("a", queue="new"))
    assert states(await happened(store, start, "new")) == [("a", S.WAITING)]


async def test_waiting_ends_with_the_first_event(store: JobStore) -> None:
    await added(store, a_draft("a"))
    start = await store.cursor("q")
    waiting = asyncio.create_task(store.events("q", start, wait=timedelta(seconds=9)))
    await asyncio.sleep(0)
    began = time.monotonic()
    await store.cancel("q", [wish("a")])
    batch = await waiting
    assert states(list(batch.events)) == [("a", S.CANCELLED)]
    assert time.monotonic() - began < 5


async def test_waiting_ends_with_the_first_event_of_a_new_queue(store: JobStore) -> None:
    start = await store.cursor("new")
    waiting = asyncio.create_task(store.events("new", start, wait=timedelta(seconds=9)))
    await asyncio.sleep(0)
    await added(store, a_draft("a", queue="new"))
    batch = await waiting
    if not batch.events:
        batch = await store.events("new", batch.cursor, wait=NOW)
    assert states(list(batch.events)) == [("a", S.WAITING)]


async def test_waiting_ends_by_itself(store: JobStore) -> None:
    await added(store, a_draft("a"))
    start = await store.cursor("q")
    began = time.monotonic()
    batch = await store.events("q", start, wait=timedelta(milliseconds=60))
    assert 0.05 < time.monotonic() - began < 5
    assert (batch.events, batch.gap) == ((), False)
    await store.cancel("q", [wish("a")])
    assert states(await happened(store, batch.cursor)) == [("a", S.CANCELLED)]


async def test_events_wait_for_no_one_who_has_missed_some(store: JobStore) -> None:
    start = await store.cursor("q")
    await added(store, a_draft("a"))
    began = time.monotonic()
    assert (await store.events("q", start, wait=timedelta(seconds=9))).events
    assert time.monotonic() - began < 5


async def after_a_gap(store: JobStore, batch: EventBatch, queue: str = "q") -> None:
    """It says so, and goes on from now."""
    assert batch.gap
    assert batch.events == ()
    await added(store, a_draft("after the gap", queue=queue))
    assert states(await happened(store, batch.cursor, queue)) == [("after the gap", S.WAITING)]


async def test_a_cursor_of_another_queue_is_a_gap(store: JobStore) -> None:
    await added(store, a_draft("a"), a_draft("b", queue="q2"))
    await after_a_gap(store, await store.events("q", await store.cursor("q2"), wait=SOON))


async def test_a_cursor_of_another_epoch_is_a_gap(store: JobStore, provider: Provider) -> None:
    await added(store, *(a_draft(f"{i}") for i in range(5)))
    cursor = await store.cursor("q")
    provider.clear()
    async with provider.store() as fresh:
        await added(fresh, *(a_draft(f"{i}") for i in range(7)))
        await after_a_gap(fresh, await fresh.events("q", cursor, wait=SOON))


async def test_a_cursor_whose_store_was_emptied_is_a_gap(store: JobStore, provider: Provider) -> None:
    await added(store, *(a_draft(f"{i}") for i in range(5)))
    cursor = await store.cursor("q")
    provider.clear()
    async with provider.store() as fresh:
        await after_a_gap(fresh, await fresh.events("q", cursor, wait=SOON))


async def test_a_cursor_ahead_of_a_store_that_was_put_back_is_a_gap(store: JobStore, provider: Provider) -> None:
    await added(store, *(a_draft(f"{i}") for i in range(5)))
    backup = provider.contents()
    for i in range(5, 65):
        await added(store, a_draft(f"{i}"))
    cursor = await store.cursor("q")
    provider.put_back(backup)
    async with provider.store() as fresh:
        await added(fresh, *(a_draft(f"new {i}") for i in range(4)))
        await after_a_gap(fresh, await fresh.events("q", cursor, wait=SOON))


async def test_who_waits_while_the_store_is_put_back_is_told_of_a_gap(store: JobStore, provider: Provider) -> None:
    await added(store, *(a_draft(f"{i}") for i in range(5)))
    backup = provider.contents()
    await added(store, *(a_draft(f"{i}") for i in range(5, 65)))
    waiting = asyncio.create_task(store.events("q", await store.cursor("q"), wait=timedelta(seconds=20)))
    await asyncio.sleep(0)
    provider.put_back(backup)
    batch = await waiting
    assert (batch.gap, batch.events) == (True, ())
    await added(store, a_draft("after the gap"))
    assert ("after the gap", S.WAITING) in states(await happened(store, batch.cursor))


async def test_a_cursor_of_another_provider_is_a_gap(store: JobStore, provider: Provider) -> None:
    await added(store, a_draft("a"))
    epoch, *_ = (await store.cursor("q")).split(".")
    foreign = {"redis": (f"{epoch}.1", ".0", "0123456789abcdef.7"), "mongo": (f"{epoch}.1-0.1", ".0-0.0")}
    for cursor in foreign[(await store.info()).provider]:
        await after_a_gap(store, await store.events("q", cursor, wait=SOON))
        await store.delete("q", ["after the gap"], ended_only=False)


async def test_a_cursor_of_a_store_before_is_still_read(store: JobStore) -> None:
    """Watchers keep cursors in files: these are what they have there."""
    await added(store, a_draft("a"))
    epoch, *_ = (await store.cursor("q")).split(".")
    await added(store, a_draft("b"))
    old = {"redis": (f"{epoch}.1-0.1", ".0-0.0"), "mongo": (f"{epoch}.1", ".0")}
    one, all_ = old[(await store.info()).provider]
    assert states(await happened(store, one)) == [("b", S.WAITING)]
    assert states(await happened(store, all_)) == [("a", S.WAITING), ("b", S.WAITING)]


async def test_a_cursor_that_is_too_old_is_a_gap(provider: Provider) -> None:
    async with provider.store(events_max=50) as store:
        first = await store.cursor("q")
        await added(store, a_draft("0"))
        second = await store.cursor("q")
        for number in range(1, 90):
            await added(store, a_draft(f"{number}"))
        recent = await store.cursor("q")
        await added(store, a_draft("last"))

        assert states(await happened(store, recent)) == [("last", S.WAITING)]
        for old in (first, second):
            await after_a_gap(store, await store.events("q", old, wait=SOON))
            await store.delete("q", ["after the gap"], ended_only=False)


async def test_about_as_many_events_are_kept_as_was_asked(provider: Provider) -> None:
    async with provider.store(events_max=50) as store:
        cursors = []
        for number in range(90):
            cursors.append(await store.cursor("q"))
            await added(store, a_draft(f"{number}"))
        gaps = [(await store.events("q", cursor, wait=NOW)).gap for cursor in cursors]
        assert gaps == sorted(gaps, reverse=True)
        assert 50 <= gaps.count(False) <= 60


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "0", "\0", "..", "a.b.c", "-1", "9" * 500, "\u202e", "0-0", "$", "*", ".\u0661-\u0660.\u0660", ".\u0660"],
)
async def test_what_is_no_cursor_at_all_is_refused(store: JobStore, contents: Contents, cursor: str) -> None:
    await added(store, a_draft("a"))
    before = contents()
    with pytest.raises(InvalidFields) as refusal:
        await store.events("q", cursor, wait=NOW)
    assert [violation.field for violation in refusal.value.violations] == ["cursor"]
    assert contents() == before
