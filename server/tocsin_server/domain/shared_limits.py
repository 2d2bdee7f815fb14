"""Limits that several queues share: of a store, not of a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from tocsin_server.domain.errors import QueueInUse, TocsinError
from tocsin_server.domain.queue_limits import Rate
from tocsin_server.domain.record import record


@record
class SharedLimit:
    """How many jobs of these queues run at once, and how fast they begin, over all servers. It counts all jobs of each
    of its queues; one of both is said at least."""

    name: str
    queues: tuple[str, ...]  # 1 to 100, by name
    max_active: int | None = None  # how many run at once; None: any number
    rate: Rate | None = None  # None: as fast as may be


@record
class SharedLimitState:
    """A shared limit, and how full it is."""

    limit: SharedLimit
    active: Mapping[str, int]  # by queue: places that are taken; only what is not zero
    time: datetime | None = None  # when its rate lets the next job begin; None: now

    @property
    def total(self) -> int:
        """Places that are taken in all."""
        return sum(self.active.values())

    @property
    def full(self) -> bool:
        """Whether all places are taken."""
        return self.limit.max_active is not None and self.total >= self.limit.max_active


class SharedLimitNotFound(TocsinError):
    """There is no shared limit of that name."""

    reason = "SHARED_LIMIT_NOT_FOUND"
    facts = ("shared_limit",)

    def __init__(self, shared_limit: str) -> None:
        self.shared_limit = shared_limit
        super().__init__(
            f"there is no shared limit {shared_limit!r}; nothing was changed. Check its name, or make it with "
            "PutSharedLimit."
        )


class QueueShares(QueueInUse):
    """The queue is in shared limits, so it is not deleted."""

    def __init__(self, queue: str, shared_limits: Sequence[str]) -> None:
        self.queue, self.jobs = queue, 0
        TocsinError.__init__(
            self,
            f"queue {queue!r} is in shared limits ({', '.join(map(repr, shared_limits))}); nothing was changed. Take "
            "it out of them with PutSharedLimit, or delete them, and repeat.",
        )
