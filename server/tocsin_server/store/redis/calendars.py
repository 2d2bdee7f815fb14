"""Calendars in Redis, all of them under one root, beside those of the queues. What hangs there stands in
lua/lib/calendars.lua."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.quotas import too_many_calendars
from tocsin_server.domain.schedules.calendars import CalendarUser, KeptCalendar
from tocsin_server.store.calendar_records import calendar_bytes, calendar_of
from tocsin_server.store.calendar_store import CalendarStore
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.scripts import Scripts

_REVISION = 8  # bytes


class RedisCalendars(CalendarStore):
    """All calendars of a namespace."""

    def __init__(self, connection: RedisConnection, scripts: Scripts, keys: Keys) -> None:
        self._connection = connection
        self._scripts = scripts
        self._root = keys.calendars

    async def put_calendar(self, calendar: KeptCalendar) -> bool:
        value = calendar.revision.to_bytes(_REVISION, "big") + calendar_bytes(calendar)
        said = await self._scripts.run(
            "put_calendar", self._root, calendar.name, calendar.revision - 1, limits.CALENDARS, value
        )
        if said == b"FULL":
            raise too_many_calendars()
        return bool(said == b"OK")

    async def read_calendars(self, names: Sequence[str]) -> list[KeptCalendar | None]:
        if not names:
            return []
        found = await self._connection.execute("HMGET", f"{self._root}:c", *names, read_only=True)
        return _all(names, found)

    async def calendars(self, *, after: str = "", limit: int = 20) -> list[KeptCalendar]:
        found = await self._scripts.run("calendars", self._root, after, limit)
        return [_calendar(name.decode(), stored) for name, stored in found]

    async def delete_calendar(self, name: str) -> bool:
        return bool(await self._scripts.run("delete_calendar", self._root, name))

    async def use_calendars(
        self, names: Sequence[str], queue: str, schedule_id: str, token: str
    ) -> list[KeptCalendar | None]:
        found = await self._scripts.run("use_calendars", self._root, f"{queue}/{schedule_id}", token, *names)
        return _all(names, found)

    async def used_calendars(
        self, names: Sequence[str], queue: str, schedule_id: str, token: str, *, gone: bool = False
    ) -> None:
        await self._scripts.run("used_calendars", self._root, f"{queue}/{schedule_id}", token, int(gone), *names)

    async def calendar_users(
        self, name: str, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> list[CalendarUser]:
        found = await self._scripts.run("calendar_users", self._root, name, "/".join(after).strip("/"), limit)
        users = []
        for user, token, pending in found:
            queue, _, schedule_id = user.decode().partition("/")
            users.append(CalendarUser(queue, schedule_id, token.decode(), bool(pending)))
        return users

    async def changed_calendars(self) -> list[str]:
        found = await self._connection.execute("SMEMBERS", f"{self._root}:t", read_only=True)
        return sorted(name.decode() for name in found)

    async def calendar_carried(self, name: str, revision: int) -> None:
        await self._scripts.run("calendar_carried", self._root, name, revision)


def _all(names: Sequence[str], found: Sequence[Any]) -> list[KeptCalendar | None]:
    return [stored and _calendar(name, stored) for name, stored in zip(names, found, strict=True)]


def _calendar(name: str, stored: bytes) -> KeptCalendar:
    return calendar_of(name, int.from_bytes(stored[:_REVISION], "big"), stored[_REVISION:])
