"""`calendars` of both clients: a line a method over `_calendar_calls`."""

from __future__ import annotations

from typing import Unpack

from tocsin import _calendar_calls
from tocsin._connection import Connection
from tocsin._schedules import Invoke
from tocsin._times import Span
from tocsin.calendars import CalendarOptions, KeptCalendar


class AsyncCalendars:
    """`AsyncClient.calendars`: days off, which schedules name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(
        self, name: str, /, *, revision: int = 0, deadline: Span | None = None, **options: Unpack[CalendarOptions]
    ) -> KeptCalendar:
        """Make a calendar, or put it whole in the place of what stands; the schedules that name it follow. Raises
        InvalidArgument; where a revision is given, Aborted if another one stands and NotFound if none does."""
        return await self._connection.invoke(_calendar_calls.put_calendar(name, revision, options), deadline)

    async def get(self, name: str, *, deadline: Span | None = None) -> KeptCalendar:
        """One calendar. Raises NotFound."""
        return await self._connection.invoke(_calendar_calls.get(name), deadline)

    async def list(self, *, deadline: Span | None = None) -> list[KeptCalendar]:
        """All calendars by name. `deadline` is that of each page."""
        found: list[KeptCalendar] = []
        token = ""
        while True:
            page, token = await self._connection.invoke(_calendar_calls.list_page(token), deadline)
            found += page
            if not token:
                return found

    async def delete(self, name: str, *, deadline: Span | None = None) -> None:
        """Delete a calendar. Raises NotFound; FailedPrecondition where schedules name it."""
        await self._connection.invoke(_calendar_calls.delete(name), deadline)


class Calendars:
    """`Client.calendars`: days off, which schedules name."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke

    def put(
        self, name: str, /, *, revision: int = 0, deadline: Span | None = None, **options: Unpack[CalendarOptions]
    ) -> KeptCalendar:
        """Make a calendar, or put it whole in the place of what stands; the schedules that name it follow. Raises
        InvalidArgument; where a revision is given, Aborted if another one stands and NotFound if none does."""
        return self._invoke(_calendar_calls.put_calendar(name, revision, options), deadline)

    def get(self, name: str, *, deadline: Span | None = None) -> KeptCalendar:
        """One calendar. Raises NotFound."""
        return self._invoke(_calendar_calls.get(name), deadline)

    def list(self, *, deadline: Span | None = None) -> list[KeptCalendar]:
        """All calendars by name. `deadline` is that of each page."""
        found: list[KeptCalendar] = []
        token = ""
        while True:
            page, token = self._invoke(_calendar_calls.list_page(token), deadline)
            found += page
            if not token:
                return found

    def delete(self, name: str, *, deadline: Span | None = None) -> None:
        """Delete a calendar. Raises NotFound; FailedPrecondition where schedules name it."""
        self._invoke(_calendar_calls.delete(name), deadline)
