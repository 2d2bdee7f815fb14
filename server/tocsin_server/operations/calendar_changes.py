"""A calendar has changed, and the schedules that name it are reckoned anew: a page of them a step.

Each schedule says by which revisions of its calendars it was reckoned, so a step that is repeated, or done by two
servers, finds nothing to do; and whoever fires a schedule before the change has come to it reckons it anew first.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import structlog

from tocsin_server.domain.schedules.calendars import CalendarUser
from tocsin_server.domain.schedules.standing import Schedule
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

_PAGE = 100  # users a step


class CarryChange:
    """One walk over the users of a calendar. At its end the calendar is marked as carried, where each of them knows."""

    def __init__(self, store: JobStore, name: str) -> None:
        self._store = store
        self._name = name
        self._revision: int | None = None  # that stood when the walk began
        self._after = ("", "")
        self._all_know = True

    async def step(self) -> bool:
        """Tell a page of them; whether there are more."""
        calendars = self._store.calendars
        if self._revision is None:
            [calendar] = await calendars.read_calendars([self._name])
            self._revision = 0 if calendar is None else calendar.revision
        users = await calendars.calendar_users(self._name, after=self._after, limit=_PAGE)
        await self._tell(users)
        if len(users) == _PAGE:
            self._after = users[-1].queue, users[-1].schedule_id
            return True
        if self._all_know:
            await calendars.calendar_carried(self._name, self._revision)
        return False

    async def _tell(self, users: Sequence[CalendarUser]) -> None:
        by_queue: dict[str, list[CalendarUser]] = defaultdict(list)
        for user in users:
            by_queue[user.queue].append(user)
        standing: list[Schedule] = []
        for queue, of_queue in by_queue.items():
            found = await self._store.schedules.read_schedules(queue, [user.schedule_id for user in of_queue])
            for user, schedule in zip(of_queue, found, strict=True):
                if schedule is not None and self._name in schedule.calendar_names:
                    standing.append(schedule)
                elif user.pending:  # it may be written any moment, by what its calendars were before
                    self._all_know = False
                else:
                    await self._store.calendars.used_calendars(
                        [self._name], user.queue, user.schedule_id, user.token, gone=True
                    )
        await self._reckon(standing)

    async def _reckon(self, schedules: Sequence[Schedule]) -> None:
        names = sorted({name for one in schedules for name in one.calendar_names})
        found = await self._store.calendars.read_calendars(names)
        calendars = {one.name: one for one in found if one is not None}
        now = await self._store.ping()
        for schedule in schedules:
            try:
                if schedule.reckoned_by(calendars):
                    continue
                after = await asyncio.to_thread(schedule.by_calendars, calendars, now)  # it may take seconds
            except (LookupError, ValueError) as error:
                # Another calendar of it is not there, or a later server made it. Nothing that is tried again helps.
                queue, schedule_id = schedule.spec.queue, schedule.spec.schedule_id
                _log.warning("schedule_not_reckoned", queue=queue, schedule_id=schedule_id, error=str(error))
                continue
            if not await self._store.schedules.put_schedule(after):
                self._all_know = False
