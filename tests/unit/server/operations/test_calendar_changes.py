"""A change of a calendar comes to all schedules that name it, page by page, whoever carries it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from contract.builders import HOUR, SECOND, a_spec
from support.spied_store import SpiedStore
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Calendar, CalendarUse, Every, Timing
from tocsin_server.maintenance.calendar_follower import CalendarFollower
from tocsin_server.operations.calendar_changes import CarryChange
from tocsin_server.operations.calendars import KeptCalendars, about_to_name
from tocsin_server.store.interface import JobStore

DAY = timedelta(days=1)


def office(*days: datetime, revision: int = 1) -> KeptCalendar:
    return KeptCalendar("office", Calendar(frozenset(day.date() for day in days)), revision=revision)


def daily(schedule_id: str, first: datetime, names: Collection[str] = ("office",)) -> Schedule:
    timing = Timing(Every(DAY, first), calendars=tuple(map(CalendarUse, names)))
    return Schedule(ScheduleSpec("q", schedule_id, timing, a_spec()), first, first)


async def name(store: JobStore, *schedules: Schedule) -> None:
    """Let them stand, and be known to name their calendars."""
    for one in schedules:
        async with about_to_name(store, one.spec) as calendars:
            revisions = tuple(calendars[name].revision for name in one.calendar_names)
            assert await store.schedules.put_schedule(replace(one, calendar_revisions=revisions))


async def standing(store: JobStore, schedule_id: str) -> Schedule:
    [found] = await store.schedules.read_schedules("q", [schedule_id])
    assert found is not None
    return found


async def carried(store: JobStore) -> int:
    carry, steps = CarryChange(store, "office"), 1
    while await carry.step():
        steps += 1
    return steps


async def test_many_follow_page_by_page(spied: SpiedStore) -> None:
    store = spied.as_store
    tomorrow = await store.ping() + DAY
    await store.calendars.put_calendar(office())
    await asyncio.gather(*(name(store, daily(f"s{number:03}", tomorrow)) for number in range(230)))
    await store.calendars.put_calendar(office(tomorrow, revision=2))
    assert await carried(store) == 3
    found = await store.schedules.schedules("q", limit=300)
    assert {(one.next_time, one.calendar_revisions) for one in found} == {(found[0].next_time, (2,))}
    assert found[0].next_time is not None
    assert found[0].next_time - tomorrow >= DAY - SECOND
    assert await store.calendars.changed_calendars() == []


async def test_two_servers_carry_one_change(spied: SpiedStore) -> None:
    store = spied.as_store
    tomorrow = await store.ping() + DAY
    await store.calendars.put_calendar(office())
    await name(store, *(daily(f"s{number}", tomorrow) for number in range(20)))
    await store.calendars.put_calendar(office(tomorrow, revision=2))
    await asyncio.gather(carried(store), carried(store))
    await carried(store)  # where each was faster once, neither knows that all is done
    assert {one.calendar_revisions for one in await store.schedules.schedules("q")} == {(2,)}
    assert await store.calendars.changed_calendars() == []


async def test_times_that_are_due_are_not_lost_by_a_change(spied: SpiedStore) -> None:
    store = spied.as_store
    now = await store.ping()
    await store.calendars.put_calendar(office())
    first = (now - HOUR).replace(microsecond=0)
    every = replace(daily("s", first), spec=replace(daily("s", first).spec, timing=Timing(Every(HOUR / 3, first))))
    every = replace(
        every, spec=replace(every.spec, timing=replace(every.spec.timing, calendars=(CalendarUse("office"),)))
    )
    await name(store, every)
    await store.calendars.put_calendar(office(now + 9 * DAY, revision=2))
    await carried(store)
    assert (await standing(store, "s")).next_time == first  # its policy of missed times decides


async def test_whoever_does_not_name_it_any_more_is_forgotten(spied: SpiedStore) -> None:
    store = spied.as_store
    tomorrow = await store.ping() + DAY
    await store.calendars.put_calendar(office())
    await name(store, daily("gone", tomorrow), daily("left", tomorrow), daily("s", tomorrow))
    await store.schedules.delete_schedule("q", "gone")
    left = await standing(store, "left")
    await store.schedules.put_schedule(replace(left, spec=daily("left", tomorrow, ()).spec, calendar_revisions=()))
    await store.calendars.put_calendar(office(tomorrow, revision=2))
    await carried(store)
    assert [one.schedule_id for one in await store.calendars.calendar_users("office")] == ["s"]
    assert (await standing(store, "left")).next_time == tomorrow.replace(
        microsecond=tomorrow.microsecond // 1000 * 1000
    )


async def test_one_that_is_being_made_hears_of_it_too(spied: SpiedStore) -> None:
    store = spied.as_store
    tomorrow = (await store.ping()).replace(microsecond=0) + DAY
    await store.calendars.put_calendar(office())
    token = secrets.token_hex(8)
    await store.calendars.use_calendars(["office"], "q", "s", token)  # by whom it is made, who reads the first revision
    await store.calendars.put_calendar(office(tomorrow, revision=2))
    await carried(store)
    assert await store.calendars.changed_calendars() == ["office"]
    assert await store.schedules.put_schedule(replace(daily("s", tomorrow), calendar_revisions=(1,)))
    await store.calendars.used_calendars(["office"], "q", "s", token)
    follower = CalendarFollower(store)
    while await follower.step():
        pass
    assert (await standing(store, "s")).next_time == tomorrow + DAY
    assert await store.calendars.changed_calendars() == []


async def test_what_the_server_that_changed_it_did_not_carry_another_does(spied: SpiedStore) -> None:
    store = spied.as_store
    tomorrow = (await store.ping()).replace(microsecond=0) + DAY
    await KeptCalendars(store).put(office())
    await name(store, daily("s", tomorrow))
    broken = BrokenUsers(spied)
    put = await KeptCalendars(broken.as_store).put(office(tomorrow))
    assert put.revision == 2
    assert (await standing(store, "s")).next_time == tomorrow
    follower = CalendarFollower(store)
    while await follower.step():
        pass
    assert (await standing(store, "s")).next_time == tomorrow + DAY
    assert await follower.step() is False  # it does not look again before its time


class BrokenUsers(SpiedStore):
    """Of whose calendars no users can be read."""

    def __init__(self, spied: SpiedStore) -> None:
        super().__init__(spied.as_store)
        self.calendars = SpiedStore(spied.as_store.calendars)  # type: ignore[arg-type]  # it passes calls of anything on
        self.calendars.break_with["calendar_users"] = StoreAway("pulled out by the test")


async def test_a_schedule_that_cannot_be_reckoned_stops_no_other(spied: SpiedStore) -> None:
    store = spied.as_store
    tomorrow = (await store.ping()).replace(microsecond=0) + DAY
    await store.calendars.put_calendar(office())
    await store.calendars.put_calendar(replace(office(), name="other"))
    await name(store, daily("a", tomorrow, ("office", "other")), daily("b", tomorrow))
    [user] = await store.calendars.calendar_users("other")
    await store.calendars.used_calendars(["other"], "q", "a", user.token, gone=True)
    assert await store.calendars.delete_calendar("other")
    await store.calendars.put_calendar(office(tomorrow, revision=2))
    await carried(store)
    assert (await standing(store, "a")).next_time == tomorrow
    assert (await standing(store, "b")).next_time == tomorrow + DAY
    assert await store.calendars.changed_calendars() == []
