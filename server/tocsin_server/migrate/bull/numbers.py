"""Numbers and times as hashes and options of the source hold them: as text, as JSON, or as anything else."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from tocsin_server.domain import limits

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_LAST_MS = (limits.LAST_TIME - _EPOCH) // _MS


def number_of(value: object) -> float | None:
    """A finite number; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, bytes)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def count_of(value: object, most: int) -> int:
    """A whole number from 0 to `most`; 0 for what is no number."""
    number = number_of(value)
    return 0 if number is None else int(min(max(number, 0), most))


def time_of(ms: float | None) -> datetime | None:
    """The time of milliseconds since 1970; None where it is none from 1970 to 9999."""
    if ms is None or not 0 < ms <= _LAST_MS:
        return None
    return _EPOCH + int(ms) * _MS


def span_of(ms: float, least: timedelta, most: timedelta) -> timedelta:
    """Milliseconds as a span within limits."""
    if ms >= most / _MS:
        return most
    return max(int(ms) * _MS, least)
