"""Times and spans in whole milliseconds, as all that is stored keeps them.

Finer ones round up: nothing may start early, and no limit may be cut.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def to_ms(span: timedelta) -> int:
    """Milliseconds of a span, rounded up."""
    return -(-span // MILLISECOND)


def time_to_ms(time: datetime) -> int:
    """Milliseconds from 1970 to an aware time, rounded up."""
    return to_ms(time - EPOCH)


def to_time(ms: int) -> datetime:
    """The UTC time so many milliseconds after 1970."""
    return EPOCH + timedelta(milliseconds=ms)
