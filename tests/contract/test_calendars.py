"""CalendarStore: calendars, and who names them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date

import pytest
from tocsin_server.domain import limits
from tocsin_server.domain.errors import QuotaExceeded
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.timing import Calendar
from tocsin_server.store.calendar_store import PENDING
from tocsin_server.store.interface import JobStore

from contract.builders import EARLIER, SECOND
from contract.providers import Provider

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"
WEEKEND = Calendar(weekdays=frozenset({5, 6}))


def a_calendar(name: str = "office", revision: int = 1, days: Calendar = WEEKEND) -> KeptCalendar:
    return KeptCalendar(name, days, revision=revision)


async def put(store: JobStore, *calendars: KeptCalendar) -> None:
    for one in calendars:
        assert await store.calendars.put_calendar(one)


async def used(store: JobStore, name: str, queue: str, schedule_id: str, token: str = TOKEN) -> None:
    """A schedule names it, and nobody is about to write that."""
    assert None not in await store.calendars.use_calendars([name], queue, schedule_id, token)
    await store.calendars.used_calendars([name], queue, schedule_id, token)


async def users(store: JobStore, name: str) -> list[tuple[str, str, bool]]:
    return [(one.queue, one.schedule_id, one.pending) for one in await store.calendars.calendar_users(name)]


async def test_a_calendar_is_kept_whole(store: JobStore) -> None:
    days = Calendar(
        frozenset({date(2026, 12, 25), date(1970, 1, 1)}),
        frozenset({0, 6}),
        "BEGIN:VCALENDAR\r\n\u20ac",
        "Asia/Kathmandu",
    )
    whole = KeptCalendar("whole", days, "n\U0001f514", 1, EARLIER)
    await put(store, whole, a_calendar())
    assert await store.calendars.read_calendars(["whole", "none", "office"]) == [whole, None, a_calendar()]
    assert await store.calendars.read_calendars([]) == []
    assert await store.calendars.calendars() == [a_calendar(), whole]


async def test_it_is_written_only_over_what_was_read(store: JobStore) -> None:
    assert not await store.calendars.put_calendar(a_calendar(revision=2))
    await put(store, a_calendar())
    assert not await store.calendars.put_calendar(a_calendar())
    assert not await store.calendars.put_calendar(a_calendar(revision=3))
    other = a_calendar(revision=2, days=Calendar())
    assert sum(await asyncio.gather(*(store.calendars.put_calendar(other) for _ in range(4)))) == 1
    assert await store.calendars.read_calendars(["office"]) == [other]


async def test_they_are_listed_by_name(store: JobStore) -> None:
    names = ["A", "a", "a-b", "a.b", "aa", "b"]
    await put(store, *(a_calendar(name) for name in reversed(names)))
    found: list[str] = []
    while page := await store.calendars.calendars(after=found[-1] if found else "", limit=2):
        found += [one.name for one in page]
    assert found == sorted(names)


async def test_there_are_so_many_at_most(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALENDARS", 2)
    await put(store, a_calendar("a"), a_calendar("b"))
    with pytest.raises(QuotaExceeded, match="calendars"):
        await store.calendars.put_calendar(a_calendar("c"))
    assert not await store.calendars.put_calendar(a_calendar("b"))
    await put(store, a_calendar("b", 2))
    assert await store.calendars.delete_calendar("a")
    await put(store, a_calendar("c"))


async def test_whoever_names_one_is_written_down_if_all_are_there(store: JobStore) -> None:
    await put(store, a_calendar("a"), a_calendar("b"))
    found = await store.calendars.use_calendars(["a", "none"], "q", "s", TOKEN)
    assert found == [a_calendar("a"), None]
    assert await users(store, "a") == []
    assert await store.calendars.use_calendars(["b", "a"], "q", "s", TOKEN) == [a_calendar("b"), a_calendar("a")]
    assert await users(store, "a") == await users(store, "b") == [("q", "s", True)]
    await store.calendars.used_calendars(["a", "b"], "q", "s", OTHER)
    assert await users(store, "a") == [("q", "s", True)]
    await store.calendars.used_calendars(["a", "b"], "q", "s", TOKEN)
    assert await users(store, "a") == [("q", "s", False)]
    # Somebody is about to write it again: what is known of it so far says nothing of that.
    await store.calendars.use_calendars(["a"], "q", "s", OTHER)
    await store.calendars.used_calendars(["a"], "q", "s", TOKEN, gone=True)
    assert await users(store, "a") == [("q", "s", True)]
    await store.calendars.used_calendars(["a"], "q", "s", OTHER, gone=True)
    assert await users(store, "a") == []
    await store.calendars.used_calendars(["a"], "q", "s", OTHER)
    assert await users(store, "a") == []


async def test_users_are_read_page_by_page_and_of_that_calendar_alone(store: JobStore) -> None:
    names = ["a", "a-", "a.b", "aa", "b"]
    await put(store, *(a_calendar(name) for name in names))
    for name in names:
        await used(store, name, "other", f"of-{name}")
    for number in range(5):
        await used(store, "a", "q", f"s{number}")
    found: list[tuple[str, str]] = []
    while page := await store.calendars.calendar_users("a", after=found[-1] if found else ("", ""), limit=2):
        found += [(one.queue, one.schedule_id) for one in page]
        assert {one.token for one in page} == {TOKEN}
    assert found == [("other", "of-a"), *(("q", f"s{number}") for number in range(5))]


async def test_one_that_is_named_is_not_deleted(store: JobStore) -> None:
    await put(store, a_calendar("a"), a_calendar("ab"))
    await used(store, "a", "q", "s")
    assert not await store.calendars.delete_calendar("a")
    assert await store.calendars.delete_calendar("ab")
    assert await store.calendars.delete_calendar("ab")
    assert await store.calendars.read_calendars(["a", "ab"]) == [a_calendar("a"), None]
    await store.calendars.used_calendars(["a"], "q", "s", TOKEN, gone=True)
    assert await store.calendars.delete_calendar("a")
    assert await store.calendars.use_calendars(["a"], "q", "s", TOKEN) == [None]
    await put(store, a_calendar("a"))
    assert await users(store, "a") == []


async def test_it_goes_or_is_named_and_not_both(store: JobStore) -> None:
    for number in range(20):
        await put(store, a_calendar())
        gone, [found] = await asyncio.gather(
            store.calendars.delete_calendar("office"),
            store.calendars.use_calendars(["office"], "q", f"s{number}", TOKEN),
        )
        assert gone == (found is None)
        await store.calendars.used_calendars(["office"], "q", f"s{number}", TOKEN, gone=True)
        assert await store.calendars.delete_calendar("office")


async def test_a_change_is_known_until_it_is_carried(store: JobStore) -> None:
    await put(store, a_calendar("a"), a_calendar("b"))
    assert await store.calendars.changed_calendars() == []
    await put(store, a_calendar("a", 2), a_calendar("b", 2), a_calendar("b", 3))
    assert await store.calendars.changed_calendars() == ["a", "b"]
    await store.calendars.calendar_carried("a", 2)
    await store.calendars.calendar_carried("b", 2)
    assert await store.calendars.changed_calendars() == ["b"]
    assert await store.calendars.delete_calendar("b")
    assert await store.calendars.changed_calendars() == []


@pytest.fixture
async def movable(provider: Provider) -> AsyncIterator[JobStore]:
    """A store whose clock is moved by hand."""
    provider.unmake()
    async with provider.store(manual_clock=True) as store:
        yield store
    provider.unmake()


async def test_whoever_was_about_to_and_died_is_not_waited_for(movable: JobStore) -> None:
    await put(movable, a_calendar())
    await movable.calendars.use_calendars(["office"], "q", "s", TOKEN)
    await movable.move_clock(await movable.ping() + PENDING - 5 * SECOND)
    assert await users(movable, "office") == [("q", "s", True)]
    await movable.move_clock(await movable.ping() + 5 * SECOND)
    assert await users(movable, "office") == [("q", "s", False)]
