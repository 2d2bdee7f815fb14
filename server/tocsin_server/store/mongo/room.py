"""How many jobs more queues may hold, where a quota says so."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tocsin_server.domain.errors import QuotaExceeded
from tocsin_server.domain.quotas import too_many_jobs
from tocsin_server.store.mongo.records import Records

#: A count is good for so many seconds: other servers add, and jobs are trimmed. So a quota may be passed by what others
#: add in that time.
_COUNTED_FOR = 1.0


@dataclass(slots=True)
class QueueRoom:
    """What is left in one queue. None: any number."""

    queue: str
    most: int | None
    left: int
    until: float = 0.0

    def take(self) -> QuotaExceeded | None:
        """Room for one job; the refusal where there is none."""
        if self.most is None:
            return None
        if self.left <= 0:
            return too_many_jobs(self.queue, self.most)
        self.left -= 1
        return None


class Rooms:
    """All queues' rooms."""

    def __init__(self, records: Records, most: int | None) -> None:
        self._records = records
        self._most = most
        self._rooms: dict[str, QueueRoom] = {}

    async def of(self, queue: str) -> QueueRoom:
        """The queue's room, counted lately. Cost O(n) up to the quota, once a second at most."""
        most = self._most
        if most is None:
            return QueueRoom(queue, None, 0)
        room = self._rooms.get(queue)
        if room is None or room.until < time.monotonic():
            count = await self._records.run(
                lambda: self._records.jobs.count_documents({"queue": queue}, limit=most), read_only=True
            )
            now = time.monotonic()
            self._rooms = {name: one for name, one in self._rooms.items() if one.until >= now}
            room = self._rooms[queue] = QueueRoom(queue, most, most - count, now + _COUNTED_FOR)
        return room
