"""Refusals of what would be too many."""

from __future__ import annotations

from tocsin_server.domain import limits
from tocsin_server.domain.errors import QuotaExceeded


def too_many_types(queue: str) -> QuotaExceeded:
    """The queue has all the types that it may have."""
    return QuotaExceeded(
        f"types in queue {queue!r}",
        limits.TYPES_PER_QUEUE,
        "Use fewer types and put what differs into the payload or tags, or use another queue.",
    )
