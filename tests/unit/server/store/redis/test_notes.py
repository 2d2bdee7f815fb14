"""Notes in Redis go by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

from redis import Redis
from support.spied_store import SpiedStore

HOUR = timedelta(hours=1)


async def test_a_note_expires_at_its_time_and_a_later_write_moves_that(spied: SpiedStore, valkey_client: Redis) -> None:
    store = spied.as_store
    now: datetime = await store.ping()
    for revision, until in enumerate((now + HOUR, now + 2 * HOUR)):
        assert await store.write_note("q", "a", b"x", revision=revision, until=until)
        [key] = valkey_client.keys("*:ba")
        assert valkey_client.pexpiretime(key) == round(until.timestamp() * 1000)
    assert await store.write_note("q", "a", b"x", revision=2, until=now)
    assert await store.read_note("q", "a") is None
