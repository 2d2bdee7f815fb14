"""Schedules handed over to another store: each fires on one side at any moment, and none of its times twice or never.

A paused queue starts no job, and its schedules go on making some. So a schedule that moves is stopped where it stands,
in one step with its next time, which it keeps: from then on it makes nothing. What it had made is copied, it is put
into the other store to go on there, and then marked as gone. Whoever dies between finds it stopped, and goes on; where
the move is not done, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace

from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.operations import moves
from tocsin_server.operations.calendars import KeptCalendars, about_to_name, calendars_of, read_by_name
from tocsin_server.operations.transfer.recurring import by_their_calendars
from tocsin_server.store.interface import JobStore

_PAGE = 100
_GOING = " (under way)"


async def clashes(source: JobStore, target: JobStore, queue: str, to: str) -> AsyncGenerator[str, None]:
    """Why schedules of the source cannot go to the target, a line each; of those that have gone there nothing."""
    async for schedule in _all(source, queue):
        if schedule.spec.pause_reason == moves.leaving(to):
            continue
        stands = await _read(target, schedule)
        if stands is not None and not _gives_way(stands) and stands.create_time != schedule.create_time:
            yield f"schedule {schedule.spec.schedule_id!r}: another one of its id stands there; delete one of the two"
        ours = await read_by_name(source, schedule.calendar_names)
        theirs = await read_by_name(target, schedule.calendar_names)
        for name, calendar in ours.items():
            if name in theirs and theirs[name].days != calendar.days:
                yield f"schedule {schedule.spec.schedule_id!r}: its calendar {name!r} has other days there"


async def stop(store: JobStore, queue: str, to: str) -> None:
    """No schedule of the queue makes a job from now on. One that its users have paused stays as it is."""
    await _change(store, queue, lambda one: None if one.spec.paused else _paused(one, moves.leaving(to) + _GOING))


async def go_on(store: JobStore, queue: str, to: str) -> None:
    """Those that were stopped and not handed over go on where they were."""
    going = moves.leaving(to) + _GOING
    await _change(store, queue, lambda one: _resumed(one) if one.spec.pause_reason == going else None)


async def hand_over(source: JobStore, target: JobStore, queue: str, to: str, *, all_paused: bool) -> int:
    """Put those that were stopped into the target, and mark them as gone; how many. With `all_paused` also those that
    the source's users have paused. None may clash."""
    going, gone = moves.leaving(to) + _GOING, moves.leaving(to)
    done = 0
    async for schedule in _all(source, queue):
        spec = schedule.spec
        if spec.pause_reason == going:
            await _place(source, target, _resumed(schedule))
            await _written(source, schedule, lambda one: _paused(one, gone) if one.spec.pause_reason == going else None)
            done += 1
        elif all_paused and spec.paused and spec.pause_reason != gone:
            await _place(source, target, schedule)
            done += 1
    return done


async def take_back(store: JobStore, queue: str) -> None:
    """The queue is this side's again, and so are its schedules: those that had gone go on with their first time after
    now."""
    now = await store.ping()
    left = moves.leaving("")

    async def changed(one: Schedule) -> Schedule | None:
        if not (one.spec.paused and one.spec.pause_reason.startswith(left)):
            return None
        if one.spec.pause_reason.endswith(_GOING):
            return _resumed(one)
        calendars = await calendars_of(store, [one])
        again = _resumed(one)
        return by_their_calendars(again.from_now_on(again.reckoning(calendars), now), calendars)

    async for schedule in _all(store, queue):
        while (after := await changed(schedule)) is not None:
            if await store.schedules.put_schedule(after):
                break
            if (read := await _read(store, schedule)) is None:
                break
            schedule = read


def _gives_way(stands: Schedule) -> bool:
    """Whether it is an old copy, of a schedule that was moved away from there."""
    return stands.spec.paused and stands.spec.pause_reason.startswith(moves.leaving(""))


async def _place(source: JobStore, target: JobStore, schedule: Schedule) -> None:
    for calendar in (await read_by_name(source, schedule.calendar_names)).values():
        if not await read_by_name(target, [calendar.name]):
            await KeptCalendars(target).put(KeptCalendar(calendar.name, calendar.days, calendar.note))
    async with about_to_name(target, schedule.spec) as calendars:
        while True:
            stands = await _read(target, schedule)
            if stands is not None and not _gives_way(stands):
                return  # an earlier run has put it there
            stamp = "" if stands is None else stands.stamp
            if await target.schedules.put_schedule(replace(by_their_calendars(schedule, calendars), stamp=stamp)):
                return


async def _change(store: JobStore, queue: str, changed: Callable[[Schedule], Schedule | None]) -> None:
    async for schedule in _all(store, queue):
        await _written(store, schedule, changed)


async def _written(store: JobStore, schedule: Schedule, changed: Callable[[Schedule], Schedule | None]) -> None:
    """Write what `changed` makes of it, None nothing, however often it is fired meanwhile."""
    standing: Schedule | None = schedule
    while standing is not None and (after := changed(standing)) is not None:
        if await store.schedules.put_schedule(after):
            return
        standing = await _read(store, schedule)


async def _read(store: JobStore, schedule: Schedule) -> Schedule | None:
    [found] = await store.schedules.read_schedules(schedule.spec.queue, [schedule.spec.schedule_id])
    return found


async def _all(store: JobStore, queue: str) -> AsyncIterator[Schedule]:
    after = ""
    while found := await store.schedules.schedules(queue, after=after, limit=_PAGE):
        after = found[-1].spec.schedule_id
        for one in found:
            yield one


def _paused(schedule: Schedule, reason: str) -> Schedule:
    """It keeps its next time, and is not looked at."""
    return replace(schedule, spec=replace(schedule.spec, paused=True, pause_reason=reason))


def _resumed(schedule: Schedule) -> Schedule:
    return replace(schedule, spec=replace(schedule.spec, paused=False, pause_reason=""))
