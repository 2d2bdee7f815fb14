"""Pauses that end by themselves: of a queue, at the time that was said."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.interface import JobStore

from contract.builders import HOUR, a_draft, added, claimed

SOON = timedelta(milliseconds=300)


async def wait_until_over(store: JobStore) -> None:
    """By the store's clock alone."""
    [settings] = await store.settings(["q"])
    while settings.pause_until is not None and await store.ping() < settings.pause_until:
        await asyncio.wait([asyncio.ensure_future(store.ping())])


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
