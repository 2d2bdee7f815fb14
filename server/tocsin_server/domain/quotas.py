"""Refusals of what would be too many."""

from __future__ import annotations

from tocsin_server.domain import limits
from tocsin_server.domain.errors import QuotaExceeded
from tocsin_server.domain.record import record


@record
class Quotas:
    """How much a store may hold. `jobs`: of a queue, in whatever state; None: any number."""

    queues: int = 10_000
    jobs: int | None = None


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
        "(TOCSIN_QUOTAS__JOBS_PER_QUEUE).",
    )


def too_many_calendars() -> QuotaExceeded:
    """There are all the calendars that there may be."""
    return QuotaExceeded(
        "calendars", limits.CALENDARS, "Delete some that no schedule names, or put days of several into one."
    )


def too_many_types(queue: str) -> QuotaExceeded:
    """The queue has all the types that it may have."""
    return QuotaExceeded(
        f"types in queue {queue!r}",
        limits.TYPES_PER_QUEUE,
        "Use fewer types and put what differs into the payload or tags, or use another queue.",
    )
