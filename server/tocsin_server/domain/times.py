"""Times and spans in whole milliseconds, as all that is stored keeps them.

Finer ones round up: nothing may start early, and no limit may be cut.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tocsin_server.domain import limits

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def to_ms(span: timedelta) -> int:
    """Milliseconds of a span, rounded up."""
    return -(-span // MILLISECOND)


def time_to_ms(time: datetime) -> int:
    """Milliseconds from 1970 to an aware time, rounded up."""
    return to_ms(time - EPOCH)


def time_of(seconds: int, nanos: int) -> datetime:
    """The UTC time so long after 1970, as messages say it; past the last millisecond of 9999 it is that one, before
    1970 the first of that year."""
    return to_time(max(0, min(seconds * 1000 - (-nanos // 1_000_000), _LAST_MS)))


def span_of(seconds: int, nanos: int) -> timedelta:
    """The span so long, as messages say it."""
    return timedelta(milliseconds=seconds * 1000 - (-nanos // 1_000_000))


def to_time(ms: int) -> datetime:
    """The UTC time so many milliseconds after 1970."""
    return EPOCH + timedelta(milliseconds=ms)


_LAST_MS = time_to_ms(limits.LAST_TIME)
