"""The store's time as it was heard last: never more than it is, asked anew when it is old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tocsin_server.store.mongo import clock as clock_module
from tocsin_server.store.mongo.clock import ServerClock
from tocsin_server.store.mongo.connection import MongoConnection

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)


class Server:
    """Answers `hello`, which is all that is asked here."""

    def __init__(self) -> None:
        self.now, self.asked = NOON, 0

    async def open(self) -> dict[str, Any]:
        self.asked += 1
        return {"localTime": self.now.replace(tzinfo=None)}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock(server: Server) -> ServerClock:
    return ServerClock(cast(MongoConnection, server))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """This machine's monotonic clock."""
    here = SimpleNamespace(now=100.0)
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: here.now))
    return here


async def test_it_goes_on_by_itself_and_nobody_is_asked(
    clock: ServerClock, server: Server, here: SimpleNamespace
) -> None:
    clock.heard(NOON)
    here.now += 3.0005
    assert await clock.lately() == NOON + 3 * SECOND
    assert await clock.bound() > NOON + 3 * SECOND + 500 * MILLISECOND
    assert server.asked == 0


async def test_what_was_heard_long_ago_is_asked_anew(clock: ServerClock, server: Server, here: SimpleNamespace) -> None:
    """A server's clock may have been set meanwhile, or another server be the primary, whose clock goes ahead."""
    clock.heard(NOON)
    here.now += 6
    server.now = NOON + timedelta(hours=1)
    assert await clock.lately() == NOON + timedelta(hours=1)
    assert server.asked == 1


async def test_where_nothing_was_heard_it_is_asked(clock: ServerClock, server: Server) -> None:
    assert await clock.lately() == NOON
    assert server.asked == 1


async def test_of_answers_that_overtook_each_other_the_later_time_counts(
    clock: ServerClock, here: SimpleNamespace
) -> None:
    clock.heard(NOON)
    clock.heard(NOON - 300 * MILLISECOND)
    assert await clock.lately() == NOON


async def test_a_clock_that_was_set_back_is_followed(clock: ServerClock, here: SimpleNamespace) -> None:
    clock.heard(NOON)
    clock.heard(NOON - 10 * SECOND)
    assert await clock.lately() == NOON - 10 * SECOND
