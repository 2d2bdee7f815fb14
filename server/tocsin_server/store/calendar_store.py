"""CalendarStore: what a store must do with calendars. The specification, as interface.py is for jobs.

Calendars stand beside the queues, for schedules of all of them. A schedule that names one stands in its queue, in a
cluster on another node, so no step writes both. Instead it is written down beside the calendar who names it: before the
schedule is written, so that no calendar goes while a schedule is about to name it; and who was written down and does
not name it (any more) is found out by whoever asks, and taken off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta

from tocsin_server.domain.schedules.calendars import CalendarUser, KeptCalendar

#: So long somebody may be about to write a schedule: who said so and died is not waited for longer.
PENDING = timedelta(minutes=1)


class CalendarStore(ABC):
    """Keeps calendars, and who names them."""

    @abstractmethod
    async def put_calendar(self, calendar: KeptCalendar) -> bool:
        """Write a calendar where it stands with the revision before its own, one of revision 1 where none stands.
        Whether it stood so; else nothing is done. One that was changed is among `changed_calendars` from then on.
        QuotaExceeded where there are limits.CALENDARS. Cost O(size)."""

    @abstractmethod
    async def read_calendars(self, names: Sequence[str]) -> list[KeptCalendar | None]:
        """The calendars, None where none stands. Cost O(size) each."""

    @abstractmethod
    async def calendars(self, *, after: str = "", limit: int = 20) -> list[KeptCalendar]:
        """All by name, after `after`, at most `limit`. Cost O(their size)."""

    @abstractmethod
    async def delete_calendar(self, name: str) -> bool:
        """Delete a calendar of which no user is written down; whether it is gone, as where it never was."""

    @abstractmethod
    async def use_calendars(
        self, names: Sequence[str], queue: str, schedule_id: str, token: str
    ) -> list[KeptCalendar | None]:
        """Write down that a schedule is about to be written which names these, as pending under this token (8 random
        bytes in hex), if all of them are there. The calendars, as `read_calendars`."""

    @abstractmethod
    async def used_calendars(
        self, names: Sequence[str], queue: str, schedule_id: str, token: str, *, gone: bool = False
    ) -> None:
        """Nobody is about to write that schedule any more, or it does not name them and is taken off (`gone`). Nothing
        is done where another token is written down meanwhile."""

    @abstractmethod
    async def calendar_users(
        self, name: str, *, after: tuple[str, str] = ("", ""), limit: int = 100
    ) -> list[CalendarUser]:
        """Who is written down for a calendar, by queue and id, after `after`. Pending for PENDING at most."""

    @abstractmethod
    async def changed_calendars(self) -> list[str]:
        """Those whose last change some of their users may not know of yet. Cost O(how many they are)."""

    @abstractmethod
    async def calendar_carried(self, name: str, revision: int) -> None:
        """All users know of this revision; nothing is done where another one stands."""
