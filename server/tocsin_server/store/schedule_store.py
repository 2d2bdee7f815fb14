"""ScheduleStore: what a store must do with schedules. The specification, as interface.py is for jobs.

A schedule belongs to its queue, and stands where that stands. It is written whole, on the condition that it stands as
it was read: its stamp, which is another one after each write, tells. So of servers that fire one time in the same
moment one does, whatever has become of the job meanwhile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Draft, View
from tocsin_server.domain.record import record
from tocsin_server.domain.schedules.standing import Schedule


@record
class DueSchedules:
    """Schedules that are to be looked at, the longest due first, and the store's time."""

    now: datetime
    schedules: Sequence[Schedule]
    more: bool = False  # whether others may be due behind these


@record
class ScheduleWrite:
    """A schedule as it is to stand, and the jobs that are to be added with it: at most firing.MOST_FIRED, each with an
    id of its own and KEEP."""

    schedule: Schedule
    drafts: Sequence[Draft] = ()


class ScheduleStore(ABC):
    """Keeps schedules."""

    @abstractmethod
    async def put_schedules(self, queue: str, writes: Sequence[ScheduleWrite]) -> list[bool | TocsinError]:
        """Write schedules of one queue, each of them once, where they stand as they were read, with an empty stamp
        where none stands, and with each add its jobs. Whether it stood so; else nothing is done of it.

        Redis does both in one step. MongoDB writes the schedules, with the jobs that they owe, and then adds them; who
        dies between the two leaves them to whoever reads the schedule next. QuotaExceeded in the place of one for whose
        jobs the queue has no room: they come once there is some and it is looked at again. A queue that was never used
        appears. O(log n) each.
        """

    async def put_schedule(self, schedule: Schedule, drafts: Sequence[Draft] = ()) -> bool:
        """Write one, as `put_schedules` does. QuotaExceeded."""
        [answer] = await self.put_schedules(schedule.spec.queue, [ScheduleWrite(schedule, drafts)])
        if isinstance(answer, TocsinError):
            raise answer
        return answer

    @abstractmethod
    async def read_schedules(self, queue: str, schedule_ids: Sequence[str]) -> list[Schedule | None]:
        """The schedules, None where none stands. Cost O(1) each."""

    @abstractmethod
    async def schedules(
        self, queue: str, *, after: str = "", limit: int = 100, view: View = View.FULL
    ) -> list[Schedule]:
        """The queue's schedules by id, after `after`, at most `limit`. BASIC: without their jobs' payloads, up to
        1 MiB each; these are passed over in pieces. Cost O(limit + log n)."""

    @abstractmethod
    async def due_schedules(self, queue: str, *, skip: int = 0, limit: int = 500) -> DueSchedules:
        """Those whose look_time has come by the store's clock, but for the first `skip`; fewer than `limit` where they
        have more than 2 MiB. Cost O(skip + limit + log n).
        Tick.next_schedule says when there are some."""

    @abstractmethod
    async def next_look(self, queue: str) -> datetime | None:
        """The earliest look_time that has not come yet by the store's clock. Cost O(log n)."""

    @abstractmethod
    async def delete_schedule(self, queue: str, schedule_id: str) -> bool:
        """Delete a schedule; whether one stood. Its jobs stay."""
