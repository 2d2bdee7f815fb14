"""Pauses that end by themselves: of a queue, at the time that was said."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.queue_limits import Limit, LimitScope, Rate
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, MINUTE, a_draft, added, claimed

SOON = timedelta(milliseconds=300)


async def wait_until_over(store: JobStore) -> None:
    """By the store's clock alone."""
    [settings] = await store.settings(["q"])
    while settings.pause_until is not None and await store.ping() < settings.pause_until:
        await asyncio.wait([asyncio.ensure_future(store.ping())])


async def next_start(store: JobStore) -> datetime | None:
    """When the queue goes on by itself."""
    return (await store.ticks(["q"]))["q"].next_start


async def test_a_pause_ends_by_itself_at_its_time_and_not_before(store: JobStore) -> None:
    await added(store, a_draft("a"))
    until = await store.ping() + SOON
    said = await store.put_settings("q", QueueSettings(pause_reason="deploy", pause_until=until), paused=True)
    assert said.paused
    assert said.pause_until == until
    assert await claimed(store) == []
    assert (await store.ticks(["q"]))["q"].next_start == until
    await wait_until_over(store)
    [one] = await claimed(store)
    assert one.job.start_time is not None
    assert one.job.start_time >= until
    [settings] = await store.settings(["q"])
    assert (settings.paused, settings.pause_reason, settings.pause_until) == (False, "", None)
    assert (await store.ticks(["q"]))["q"].next_start is None


async def test_who_looks_sees_that_it_is_over_though_nobody_claims(store: JobStore) -> None:
    await added(store, a_draft("a"))
    until = await store.ping() + SOON
    await store.put_settings("q", QueueSettings(pause_until=until), paused=True)
    await wait_until_over(store)
    [settings] = await store.settings(["q"])
    assert not settings.paused
    [outlook] = await store.explain("q", ["a"])
    assert outlook is not None
    assert outlook.paused_since is None


async def test_resuming_and_pausing_anew_forget_the_time(store: JobStore) -> None:
    until = await store.ping() + HOUR
    await store.put_settings("q", QueueSettings(pause_until=until), paused=True)
    assert (await store.put_settings("q", QueueSettings(pause_until=until), paused=False)).pause_until is None
    again = await store.put_settings("q", QueueSettings(), paused=True)
    assert (again.paused, again.pause_until) == (True, None)
    assert (await store.ticks(["q"]))["q"].next_start is None


@pytest.mark.parametrize("scope", [LimitScope.QUEUE, LimitScope.TYPE, LimitScope.KEY])
async def test_the_end_of_a_pause_is_told_though_a_rate_lets_jobs_begin_before(
    movable: JobStore, scope: LimitScope
) -> None:
    slow = Limit("slow", scope, "t" if scope is LimitScope.TYPE else "", rate=Rate(1, MINUTE))
    await movable.put_settings("q", QueueSettings(limits=(slow,)), paused=False)
    await added(movable, *(a_draft(f"{i}", conditions=Conditions("k")) for i in range(3)))
    assert len(await claimed(movable)) == 1
    now = await movable.ping()
    start = await next_start(movable)
    assert start is not None
    assert now < start <= now + MINUTE
    until = now + HOUR
    await movable.put_settings("q", QueueSettings(limits=(slow,), pause_until=until), paused=True)
    await movable.move_clock(now + 2 * MINUTE)
    assert await claimed(movable) == []
    assert await next_start(movable) == until
    await movable.move_clock(until)
    assert len(await claimed(movable)) == 1
    start = await next_start(movable)
    assert start is not None
    assert start > until


@pytest.mark.parametrize("scope", [LimitScope.QUEUE, LimitScope.KEY])
async def test_the_end_of_a_pause_is_told_after_limits_were_taken_away(movable: JobStore, scope: LimitScope) -> None:
    slow = QueueSettings(limits=(Limit("slow", scope, rate=Rate(1, MINUTE)),))
    await movable.put_settings("q", slow, paused=False)
    await added(movable, *(a_draft(f"{i}", conditions=Conditions("k")) for i in range(3)))
    assert len(await claimed(movable)) == 1
    until = await movable.ping() + HOUR
    await movable.put_settings("q", QueueSettings(), paused=False)
    assert len(await claimed(movable)) == 2
    assert await next_start(movable) is None
    await movable.put_settings("q", QueueSettings(pause_until=until), paused=True)
    assert await next_start(movable) == until
    await movable.move_clock(until)
    assert await claimed(movable) == []
    assert await next_start(movable) is None
