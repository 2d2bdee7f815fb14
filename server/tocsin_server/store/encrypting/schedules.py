"""Schedules, with their payloads and notes sealed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from tocsin_server.domain.errors import CannotDecrypt, TocsinError
from tocsin_server.domain.job import View
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.store.encrypting.keyring import Key
from tocsin_server.store.encrypting.opening import Opener
from tocsin_server.store.encrypting.values import MadeIds, sealed_drafts, sealed_schedule
from tocsin_server.store.schedule_store import DueSchedules, ScheduleStore, ScheduleWrite


class EncryptingSchedules(ScheduleStore):
    """A ScheduleStore around a ScheduleStore. `sealing_key` gives the key to write with."""

    def __init__(
        self, schedules: ScheduleStore, sealing_key: Callable[[], Awaitable[Key]], opener: Opener, ids: MadeIds
    ) -> None:
        self._schedules = schedules
        self._sealing_key = sealing_key
        self._opener = opener
        self._ids = ids

    async def put_schedules(self, queue: str, writes: Sequence[ScheduleWrite]) -> list[bool | TocsinError]:
        key = await self._sealing_key()
        sealed = [
            ScheduleWrite(sealed_schedule(key, one.schedule), sealed_drafts(key, one.drafts, self._ids))
            for one in writes
        ]
        return await self._schedules.put_schedules(queue, sealed)

    async def read_schedules(self, queue: str, schedule_ids: Sequence[str]) -> list[Schedule | None]:
        found = await self._schedules.read_schedules(queue, schedule_ids)
        return [None if one is None else self._opener.schedule(one) for one in found]

    async def schedules(
        self, queue: str, *, after: str = "", limit: int = 100, view: View = View.FULL
    ) -> list[Schedule]:
        found = await self._schedules.schedules(queue, after=after, limit=limit, view=view)
        return [self._opener.schedule(one) for one in found]

    async def due_schedules(self, queue: str, *, skip: int = 0, limit: int = 500) -> DueSchedules:
        due = await self._schedules.due_schedules(queue, skip=skip, limit=limit)
        return DueSchedules(due.now, [self._opened_if_possible(one) for one in due.schedules], due.more)

    async def next_look(self, queue: str) -> datetime | None:
        return await self._schedules.next_look(queue)

    async def delete_schedule(self, queue: str, schedule_id: str) -> bool:
        return await self._schedules.delete_schedule(queue, schedule_id)

    def _opened_if_possible(self, schedule: Schedule) -> Schedule:
        """One that cannot be opened is no reason for others not to run. Its own jobs get its payload as it stands, and
        end FAILED with the reason."""
        try:
            return self._opener.schedule(schedule)
        except CannotDecrypt:
            return schedule
