"""Calendars as callers keep them, and how schedules come to name them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from tocsin_server.domain.errors import InvalidFields, OutcomeUnknown, TocsinError, Violation
from tocsin_server.domain.schedules.calendars import Calendars, CalendarUser, KeptCalendar
from tocsin_server.domain.schedules.days_off import days_off
from tocsin_server.domain.schedules.errors import CalendarChanged, CalendarInUse, CalendarNotFound
from tocsin_server.domain.schedules.ics import UnreadCalendar
from tocsin_server.domain.schedules.reckoning import Reckoning
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import CalendarUse
from tocsin_server.domain.time_zones import zone_of
from tocsin_server.operations.calendar_changes import CarryChange
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_ROUNDS = 20  # so often a change is tried that others are faster with
_CARRIED_PAGES = 10  # of users that hear of a change within the call; calendar_follower.py goes on
_USERS_NAMED = 10  # where a calendar is not deleted for them


class KeptCalendars:
    """All calendars of a store."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def put(self, wanted: KeptCalendar, *, revision: int = 0) -> KeptCalendar:
        """Make it stand, and tell the schedules that name it. CalendarNotFound, CalendarChanged where a revision is
        given and another one stands, or none; QuotaExceeded."""
        for _ in range(_ROUNDS):
            [before] = await self._store.calendars.read_calendars([wanted.name])
            if revision and before is None:
                raise CalendarNotFound(wanted.name)
            if before is not None:
                if revision and before.revision != revision:
                    raise CalendarChanged(wanted.name, revision, before.revision)
                if (before.days, before.note) == (wanted.days, wanted.note):
                    return before
            number = 1 if before is None else before.revision + 1
            after = replace(wanted, revision=number, update_time=await self._store.ping())
            if await self._store.calendars.put_calendar(after):
                if before is not None and before.days != after.days:
                    await self._tell(after.name)
                return after
        raise OutcomeUnknown(f"calendar {wanted.name!r} is changed by others all the time")

    async def get(self, name: str) -> KeptCalendar:
        """CalendarNotFound."""
        [found] = await self._store.calendars.read_calendars([name])
        if found is None:
            raise CalendarNotFound(name)
        return found

    async def delete(self, name: str) -> None:
        """CalendarNotFound, CalendarInUse."""
        await self.get(name)
        for _ in range(_ROUNDS):
            if await self._store.calendars.delete_calendar(name):
                return
            if users := await self._users(name):
                raise CalendarInUse(name, users[:_USERS_NAMED], more=len(users) > _USERS_NAMED)
        raise OutcomeUnknown(f"schedules come to name calendar {name!r}, and cease to, all the time")

    async def _tell(self, name: str) -> None:
        carry = CarryChange(self._store, name)
        try:
            for _ in range(_CARRIED_PAGES):
                if not await carry.step():
                    return
        except TocsinError as error:  # the calendar stands; the chore carries what is left
            _log.warning("calendar_change_not_carried", calendar=name, error=str(error))

    async def _users(self, name: str) -> list[tuple[str, str]]:
        """Schedules that name it or are about to, a few more than are told of; others that are written down are taken
        off."""
        found: list[tuple[str, str]] = []
        after = ("", "")
        while len(found) <= _USERS_NAMED:
            users = await self._store.calendars.calendar_users(name, after=after)
            if not users:
                break
            for user in users:
                if user.pending or await self._names(user, name):
                    found.append((user.queue, user.schedule_id))
                else:
                    await self._store.calendars.used_calendars(
                        [name], user.queue, user.schedule_id, user.token, gone=True
                    )
            after = users[-1].queue, users[-1].schedule_id
        return found

    async def _names(self, user: CalendarUser, name: str) -> bool:
        [schedule] = await self._store.schedules.read_schedules(user.queue, [user.schedule_id])
        return schedule is not None and name in schedule.calendar_names


async def calendars_of(store: JobStore, schedules: Iterable[Schedule]) -> Calendars:
    """The calendars that these schedules name, as far as they are there. Asks nobody where they name none."""
    return await read_by_name(store, sorted({name for one in schedules for name in one.calendar_names}))


async def read_by_name(store: JobStore, names: Sequence[str]) -> Calendars:
    """The calendars of these names that are there."""
    found = await store.calendars.read_calendars(names) if names else ()
    return {one.name: one for one in found if one is not None}


@asynccontextmanager
async def about_to_name(store: JobStore, spec: ScheduleSpec) -> AsyncIterator[Calendars]:
    """The calendars that a schedule names; none of them is deleted while it is written. InvalidFields for one that is
    not there, or cannot be read by the schedule's zone."""
    names = [use.name for use in spec.timing.calendars]
    if not names:
        yield {}
        return
    token, calendars = secrets.token_hex(8), store.calendars
    found = _all_there(names, await calendars.use_calendars(names, spec.queue, spec.schedule_id, token))
    try:
        _readable(spec, found)
        yield found
    finally:
        await calendars.used_calendars(names, spec.queue, spec.schedule_id, token)


def _all_there(names: Sequence[str], found: Sequence[KeptCalendar | None]) -> Calendars:
    absent = [
        Violation(f"schedule.calendars[{i}].name", "names no calendar that is there; make it first with PutCalendar")
        for i, one in enumerate(found)
        if one is None
    ]
    if absent:
        raise InvalidFields(absent)
    return {name: one for name, one in zip(names, found, strict=True) if one is not None}


def reckoned(schedule: Schedule, calendars: Calendars) -> Reckoning:
    """The times of one that stands. InvalidFields for a calendar that has come to be such that it cannot be read by the
    schedule's zone."""
    for use, error in _unread(schedule.spec, calendars):
        why = f"names the calendar {use.name!r}, which cannot be read by the schedule's zone: {error}"
        raise InvalidFields([Violation("schedule_id", why)])
    return schedule.reckoning(calendars)


def _readable(spec: ScheduleSpec, found: Calendars) -> None:
    for use, error in _unread(spec, found):
        why = f"names a calendar that cannot be read by this schedule's zone: {error}"
        at = spec.timing.calendars.index(use)
        raise InvalidFields([Violation(f"schedule.calendars[{at}].name", why)])


def _unread(spec: ScheduleSpec, found: Calendars) -> Iterator[tuple[CalendarUse, UnreadCalendar]]:
    """Of hours that its events have, a calendar without a zone of its own makes other days in each zone."""
    zone = zone_of(spec.timing.time_zone)
    for use in spec.timing.calendars:
        try:
            days_off(found[use.name].days, zone)
        except UnreadCalendar as error:
            yield use, error
