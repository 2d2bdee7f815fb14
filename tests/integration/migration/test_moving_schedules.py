"""Schedules that move with their queue: each fires on one side at any moment, and none of its times twice or never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from contract.builders import EARLIER, HOUR, LATER, a_draft, a_spec, added, claimed_one, completed, finished
from support.eventually import until
from support.servers import Server
from tocsin import Client
from tocsin_server.domain.job import Draft, OnConflict, View
from tocsin_server.domain.nominal_times import job_id_of, of_job_id
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Overlap, Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Calendar, CalendarUse, Cron, Every, Timing
from tocsin_server.operations import moves, schedule_moves
from tocsin_server.operations.calendars import KeptCalendars
from tocsin_server.store.interface import JobStore

from integration.migration.conftest import Migrate
from integration.migration.moves import Two, moved

MONDAYS_OFF = Calendar(weekdays=frozenset({0}))


def a_schedule(schedule_id: str = "s", *, timing: Timing | None = None, **progress: Any) -> Schedule:
    timing = timing or Timing(Every(HOUR, EARLIER), max_runs=90)
    spec = ScheduleSpec("q", schedule_id, timing, a_spec(), Overlap.ALLOW, note="n")
    plain: dict[str, Any] = {"next_time": LATER, "revision": 3, "fired": 5, "missed": 2, "overlap_skipped": 1}
    return Schedule(spec, EARLIER, **{**plain, **progress})


async def put(store: JobStore, *schedules: Schedule) -> None:
    for one in schedules:
        assert await store.schedules.put_schedule(one)


async def read(store: JobStore, schedule_id: str = "s") -> Schedule:
    [found] = await store.schedules.read_schedules("q", [schedule_id])
    assert found is not None
    return found


async def fire(store: JobStore, schedule_id: str = "s") -> str | None:
    """As the server's chore does it: the job of the next time, and the schedule an hour on. None: it is stopped."""
    due = await store.schedules.due_schedules("q")
    schedule = next((one for one in due.schedules if one.spec.schedule_id == schedule_id), None)
    if schedule is None or schedule.next_time is None:
        return None
    job_id = job_id_of(schedule_id, schedule.next_time)
    after = replace(
        schedule, next_time=schedule.next_time + HOUR, last_time=schedule.next_time, fired=schedule.fired + 1
    )
    draft = Draft(schedule.spec.job, job_id, schedule.next_time, OnConflict.KEEP, fired=True)
    return job_id if await store.schedules.put_schedule(after, [draft]) else None


async def test_it_goes_on_where_it_was_and_the_source_is_stopped(places: Two) -> None:
    source, target = places
    await put(source.store, a_schedule(), a_schedule("rests", next_time=None))
    rests = await read(source.store, "rests")
    rests = replace(rests, spec=replace(rests.spec, paused=True, pause_reason="holidays"))
    await put(source.store, rests)
    one = await moved(places)
    assert (one.done, one.schedules) == (True, 2)
    assert await read(target.store) == a_schedule()
    assert await read(target.store, "rests") == rests
    left = await read(source.store)
    assert (left.spec.paused, left.spec.pause_reason) == (True, moves.leaving(target.address))
    assert (left.look_time, left.next_time) == (None, LATER)
    assert (await source.store.ticks(["q"]))["q"].next_schedule is None
    assert (await target.store.ticks(["q"]))["q"].next_schedule == LATER
    again = await moved(places)
    assert (again.done, again.already, again.schedules) == (True, True, 0)
    assert await read(target.store) == a_schedule()


async def test_what_it_makes_until_it_is_stopped_comes_along_and_each_time_is_fired_once(
    places: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = places
    await put(source.store, a_schedule(next_time=EARLIER))
    stop = schedule_moves.stop

    async def fired_just_before(*arguments: Any) -> None:
        fired.append(await fire(source.store))
        await stop(*arguments)
        fired.append(await fire(source.store))

    fired: list[str | None] = [await fire(source.store)]
    monkeypatch.setattr(schedule_moves, "stop", fired_just_before)
    assert (await moved(places)).done
    fired += [await fire(source.store), await fire(target.store), await fire(target.store)]
    times = [job_id_of("s", EARLIER + number * HOUR) for number in range(4)]
    assert fired == [times[0], times[1], None, None, times[2], times[3]]
    assert None not in await target.store.get("q", times, View.BASIC)
    assert [job is not None for job in await source.store.get("q", times, View.BASIC)] == [True, True, False, False]
    assert (await read(target.store)).fired == 5 + 4


class Dies(Exception):
    """The process is gone."""


@pytest.mark.parametrize("after", ["stop", "_place"])
async def test_a_run_that_dies_is_carried_on(places: Two, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    source, target = places
    await put(source.store, a_schedule(next_time=EARLIER))
    verb = getattr(schedule_moves, after)

    async def dies(*arguments: Any) -> None:
        await verb(*arguments)
        raise Dies

    monkeypatch.setattr(schedule_moves, after, dies)
    with pytest.raises(Dies):
        await moved(places)
    monkeypatch.undo()
    assert await fire(source.store) is None
    fired = [await fire(target.store)] if after == "_place" else []
    assert (await moved(places)).done
    fired.append(await fire(target.store))
    assert fired == [job_id_of("s", EARLIER + number * HOUR) for number in range(len(fired))]
    assert await fire(source.store) is None


async def test_where_the_move_is_not_done_it_goes_on_at_the_source(places: Two) -> None:
    source, target = places
    await put(source.store, a_schedule(next_time=EARLIER))
    await added(source.store, a_draft("runs"))
    held = await claimed_one(source.store)
    one = await moved(places)
    assert (one.done, one.schedules) == (False, 0)
    assert await target.store.schedules.schedules("q") == []
    assert await fire(source.store) == job_id_of("s", EARLIER)
    await finished(source.store, completed(held))
    assert (await moved(places)).done
    assert await fire(source.store) is None
    assert await fire(target.store) == job_id_of("s", EARLIER + HOUR)


async def test_another_one_of_its_id_is_named_and_nothing_is_handed_over(places: Two) -> None:
    source, target = places
    other = replace(a_schedule(), create_time=EARLIER + HOUR)
    await put(source.store, a_schedule(), a_schedule("t", next_time=EARLIER))
    await put(target.store, other)
    one = await moved(places)
    assert not one.done
    assert one.copied.refused.first == ["schedule 's': another one of its id stands there; delete one of the two"]
    assert await read(target.store) == other
    assert not (await read(source.store)).spec.paused
    assert await fire(source.store, "t") == job_id_of("t", EARLIER)
    assert await target.store.schedules.delete_schedule("q", "s")
    assert (await moved(places)).done
    assert await read(target.store) == a_schedule()


async def test_on_the_way_back_the_old_copy_gives_way(places: Two) -> None:
    source, target = places
    await put(source.store, a_schedule(next_time=EARLIER))
    assert (await moved(places)).done
    assert await fire(target.store) == job_id_of("s", EARLIER)
    assert (await moved((target, source))).done
    back = await read(source.store)
    assert (back.spec.paused, back.next_time, back.fired) == (False, EARLIER + HOUR, 6)
    assert await fire(target.store) is None
    assert await fire(source.store) == job_id_of("s", EARLIER + HOUR)


async def test_taken_back_it_goes_on_with_its_first_time_after_now(places: Two) -> None:
    source, _ = places
    await put(source.store, a_schedule(next_time=EARLIER))
    assert (await moved(places)).done
    await schedule_moves.take_back(source.store, "q")
    found = await read(source.store)
    assert (found.spec.paused, found.spec.pause_reason) == (False, "")
    assert found.next_time is not None
    assert timedelta(0) < found.next_time - await source.store.ping() <= HOUR


async def test_one_that_is_made_there_later_comes_and_one_that_was_deleted_does_not_come_back(places: Two) -> None:
    source, target = places
    await put(source.store, a_schedule())
    assert (await moved(places)).done
    assert await target.store.schedules.delete_schedule("q", "s")
    await put(source.store, a_schedule("late"))
    one = await moved(places)
    assert (one.done, one.schedules) == (True, 1)
    assert [found.spec.schedule_id for found in await target.store.schedules.schedules("q")] == ["late"]


async def test_calendars_come_along_and_other_days_are_named(places: Two) -> None:
    source, target = places
    timing = Timing(Cron(("0 9 * * *",)), calendars=(CalendarUse("office"),))
    for name in ("office", "unused"):
        await KeptCalendars(source.store).put(KeptCalendar(name, MONDAYS_OFF, note="ask Ada"))
    await put(source.store, replace(a_schedule(timing=timing), calendar_revisions=(1,)))
    await KeptCalendars(target.store).put(KeptCalendar("office", Calendar(weekdays=frozenset({5}))))
    one = await moved(places)
    assert not one.done
    assert one.copied.refused.first == ["schedule 's': its calendar 'office' has other days there"]
    await KeptCalendars(target.store).delete("office")
    assert (await moved(places)).done
    [office] = await target.store.calendars.calendars()
    assert (office.name, office.days, office.note) == ("office", MONDAYS_OFF, "ask Ada")
    found = await read(target.store)
    assert (found.calendar_revisions, found.next_time) == ((1,), LATER)
    users = [(user.queue, user.schedule_id) for user in await target.store.calendars.calendar_users("office")]
    assert users == [("q", "s")]


def test_between_two_servers_that_go_on_each_time_is_fired_once(
    ways: tuple[str, str], migrate: Migrate, serve: Callable[..., Server]
) -> None:
    there, here = ways[1], ways[0]
    old, new = (serve(url, handlers="support.jobs.everyday") for url in (here, there))
    with Client(old.address) as source, Client(new.address) as target:
        for name in ("a", "b"):
            source.schedules.create(name, every=1, type="echo", payload={"n": 1}, overlap="ALLOW", queue="q")
        until(lambda: min(one.fired for one in source.schedules.list(queue="q")) >= 3, within=60)
        done = migrate("--from", here, "--to", there, "--verify")
        assert done.code == 0, (done.said, done.errors)
        assert "2 schedules handed over" in done.said
        moved = {one.schedule_id: one.fired for one in target.schedules.list(queue="q")}
        until(
            lambda: all(one.fired > moved[one.schedule_id] + 2 for one in target.schedules.list(queue="q")), within=60
        )
        stopped = {one.schedule_id: one for one in source.schedules.list(queue="q")}
        jobs = {side: [job.job_id for job in side.list(queue="q", page_size=1_000)] for side in (source, target)}
        assert all(one.paused for one in stopped.values())
        assert set(jobs[source]) <= set(jobs[target])  # nothing that was made there has stayed there
        for name in moved:
            times = sorted(found[1] for found in map(of_job_id, jobs[target]) if found is not None and found[0] == name)
            assert {later - sooner for sooner, later in pairwise(times)} == {timedelta(seconds=1)}
            assert target.schedules.get(name, queue="q").fired >= len(times)
