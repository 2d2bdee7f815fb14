"""What a job gets where neither it nor its queue says anything."""

from __future__ import annotations

from tocsin_server.domain.defaults import JobDefaults
from tocsin_server.domain.retry import Backoff
from tocsin_server.domain.times import MILLISECOND, to_ms
from tocsin_server.settings.model import Settings


def server_defaults(settings: Settings) -> JobDefaults:
    """The server's own word."""
    retry, retention = settings.retry, settings.retention
    # Whole milliseconds, as jobs are stored: a new job is answered from what it was drafted with.
    return JobDefaults(
        max_attempts=retry.max_attempts,
        backoff=Backoff[retry.backoff.upper()],
        initial_delay=to_ms(retry.initial_delay) * MILLISECOND,
        max_delay=to_ms(retry.max_delay) * MILLISECOND,
        jitter=retry.jitter,
        completed_for=to_ms(retention.completed_for) * MILLISECOND,
        failed_for=to_ms(retention.failed_for) * MILLISECOND,
    )
