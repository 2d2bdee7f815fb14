"""What is kept up to date is drawn once for all who watch it, and a slow watcher holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from tocsin import PermissionDenied, Unavailable
from tocsin_server.web import live
from tocsin_server.web.live import Live, TooManyStreams


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_EVERY", 0.01)
    monkeypatch.setattr(live, "_EVERY_BY_FEED", 0.0)


class Drawn:
    """Pictures that say how many were drawn before them, or fail as they are told."""

    def __init__(self) -> None:
        self.number = 0
        self.error: Exception | None = None
        self.still = False

    async def __call__(self) -> str:
        if self.error is not None:
            raise self.error
        self.number += not self.still
        return f"<p>\npicture {self.number}"


async def event_of(watching: AsyncIterator[bytes]) -> bytes:
    """The next event; comments are passed over."""
    async for event in watching:
        if event.startswith(b"event: "):
            return event
    raise AssertionError("it has ended")


async def test_many_watchers_share_what_is_drawn() -> None:
    hub, drawn = Live(500), Drawn()
    drawn.still = True
    async with asyncio.timeout(20):
        watching = [hub.watch("overview", drawn) for _ in range(200)]
        events = await asyncio.gather(*map(event_of, watching))
        assert set(events) == {b"event: picture\ndata: <p>\ndata: picture 0\n\n"}
        drawn.still = False
        events = await asyncio.gather(*map(event_of, watching))
        assert drawn.number < 10
        for one in watching:
            await one.aclose()
    await hub.close()


async def test_nothing_is_sent_where_nothing_has_changed_and_nothing_drawn_where_nobody_watches() -> None:
    hub, drawn = Live(10), Drawn()
    async with asyncio.timeout(10), aclosing(hub.watch("a", drawn)) as watching:
        assert b"picture 1" in await event_of(watching)
        drawn.still = True
        number = drawn.number
        drawn.error = Unavailable("the store is away")
        assert await event_of(watching) == b"event: away\ndata: the store is away\n\n"
        drawn.error = None
        assert b"picture" in await event_of(watching)  # again, though it is the same
        assert drawn.number <= number + 1
    await asyncio.sleep(0)
    seen = drawn.number
    async with asyncio.timeout(10), aclosing(hub.watch("b", Drawn())) as watching:
        for _ in range(5):
            await event_of(watching)
    assert drawn.number <= seen + 1
    await hub.close()


async def test_a_slow_watcher_sees_the_latest_picture_and_nothing_piles_up() -> None:
    hub, drawn = Live(10), Drawn()
    async with asyncio.timeout(10):
        async with aclosing(hub.watch("a", drawn)) as slow, aclosing(hub.watch("a", drawn)) as fast:
            await event_of(slow)
            for _ in range(20):
                last = await event_of(fast)
            assert await event_of(slow) == last
    await hub.close()


async def test_who_may_no_more_is_told_so_and_the_stream_ends() -> None:
    hub, drawn = Live(10), Drawn()
    async with asyncio.timeout(10), aclosing(hub.watch("a", drawn)) as watching:
        await event_of(watching)
        drawn.error = PermissionDenied("revoked")
        events = [event async for event in watching]
        assert events[-1] == b"event: login\ndata: \n\n"
    await hub.close()


async def test_whoever_finds_the_room_taken_when_they_begin_is_sent_nothing() -> None:
    hub = Live(1)
    async with asyncio.timeout(10), aclosing(hub.watch("a", Drawn())) as one, aclosing(hub.watch("b", Drawn())) as two:
        hub.check_room()  # both have asked, and neither has begun
        await event_of(one)
        assert [event async for event in two] == []  # and no error: the answer has begun
    hub.check_room()
    await hub.close()


async def test_no_more_than_may_be() -> None:
    hub = Live(2)
    async with asyncio.timeout(10):
        async with aclosing(hub.watch("a", Drawn())) as one, aclosing(hub.watch("b", Drawn())) as two:
            await event_of(one)
            await event_of(two)
            with pytest.raises(TooManyStreams):
                hub.check_room()
        hub.check_room()
        async with aclosing(hub.watch("a", Drawn())) as last:
            await event_of(last)
            await hub.close()
            assert [event async for event in last if event.startswith(b"event")] == []  # it ends
        with pytest.raises(TooManyStreams):
            hub.check_room()
