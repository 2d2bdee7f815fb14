"""What a queue may hold: so many types, and where a quota says so, so many jobs."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from tocsin_server.domain.errors import QuotaExceeded
from tocsin_server.domain.quotas import Quotas, too_many_jobs
from tocsin_server.store.mongo.jobs import Jobs

#: A count is good for so many seconds: other servers add, and jobs are trimmed. So a quota may be passed by what others
#: add in that time.
_COUNTED_FOR = 1.0


@dataclass(slots=True)
class Left:
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


class JobQuota:
    """Of all queues."""

    def __init__(self, jobs: Jobs, quotas: Quotas) -> None:
        self._jobs = jobs
        self._quotas = quotas
        self._left: dict[str, Left] = {}

    async def of(self, queue: str) -> Left:
        """What the queue has left, counted lately. Cost O(n) up to the quota, once a second at most."""
        most = self._quotas.jobs_of(queue)
        if most is None:
            return Left(queue, None, 0)
        left = self._left.get(queue)
        if left is None or left.until < time.monotonic():
            count = await self._jobs.run(
                lambda: self._jobs.collection.count_documents({"queue": queue}, limit=most), read_only=True
            )
            now = time.monotonic()
            self._left = {name: one for name, one in self._left.items() if one.until >= now}
            left = self._left[queue] = Left(queue, most, most - count, now + _COUNTED_FOR)
        return left


class KnownTypes:
    """What was found out before is good enough where it holds all that are wanted."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._types: dict[str, set[str]] = {}  # queue -> types it had when it was asked, and those added since

    async def of(self, queue: str, wanted: set[str]) -> set[str]:
        """The types of a queue, to which the caller adds those that it adds."""
        known = self._types.get(queue, set())
        if not wanted <= known:
            found = await self._jobs.run(
                lambda: self._jobs.collection.distinct("type", {"queue": queue}), read_only=True
            )
            known = self._types[queue] = set(found)
        return known

    def keep(self, queues: Collection[str]) -> None:
        """These queues are there, and no other."""
        self._types = {queue: types for queue, types in self._types.items() if queue in queues}
