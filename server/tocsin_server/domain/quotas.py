"""Refusals of what would be too many."""

from __future__ import annotations

from tocsin_server.domain import limits
from tocsin_server.domain.errors import QuotaExceeded
from tocsin_server.domain.record import record


@record
class Quotas:
    """How much a store may hold. `jobs`: of a queue, in whatever state; None: any number.

    `jobs_in`: other numbers for some queues, 0 is any number: of queues by name, and of all whose names begin as one
    that ends with *. A name goes before beginnings, and a longer beginning before a shorter one. `payload_bytes`: of
    one job, None: as many as a job may have.
    """

    queues: int = 10_000
    jobs: int | None = None
    jobs_in: tuple[tuple[str, int], ...] = ()
    payload_bytes: int | None = None

    def jobs_of(self, queue: str) -> int | None:
        """How many jobs this queue may hold; None: any number."""
        for name, most in self.own:
            if queue == name or (name.endswith("*") and queue.startswith(name[:-1])):
                return most or None
        return self.jobs

    @property
    def own(self) -> list[tuple[str, int]]:
        """`jobs_in` in the order in which it is gone through: the first that fits is right."""
        return sorted(self.jobs_in, key=lambda one: (one[0].endswith("*"), -len(one[0])))


DEFAULT_QUOTAS = Quotas()


def too_many_queues(limit: int) -> QuotaExceeded:
    """There are all the queues that there may be."""
    return QuotaExceeded(
        "queues",
        limit,
        "Delete queues that are no longer used, tell jobs apart by type or tag instead, or raise the server's setting "
        "quotas.queues (TOCSIN_QUOTAS__QUEUES).",
    )


def too_many_jobs(queue: str, limit: int) -> QuotaExceeded:
    """The queue holds all the jobs that it may hold."""
    return QuotaExceeded(
        f"jobs in queue {queue!r}",
        limit,
        "Wait until jobs have ended and are trimmed, purge some, or raise the server's setting quotas.jobs_per_queue "
        "(TOCSIN_QUOTAS__JOBS_PER_QUEUE) or quotas.jobs_in_queues.",
    )


def too_many_calendars() -> QuotaExceeded:
    """There are all the calendars that there may be."""
    return QuotaExceeded(
        "calendars", limits.CALENDARS, "Delete some that no schedule names, or put days of several into one."
    )


def too_many_shared_limits() -> QuotaExceeded:
    """There are all the shared limits that there may be."""
    return QuotaExceeded("shared limits", limits.SHARED_LIMITS, "Delete some that are not needed any more.")


def too_many_types(queue: str) -> QuotaExceeded:
    """The queue has all the types that it may have."""
    return QuotaExceeded(
        f"types in queue {queue!r}",
        limits.TYPES_PER_QUEUE,
        "Use fewer types and put what differs into the payload or tags, or use another queue.",
    )
