"""Spans, numbers and times as a reader wants them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from tocsin_server.domain.states import State
from tocsin_server.operations.reporting.retention import Uncounted

NOTHING = "–"

_DAY = 86_400


def span(value: timedelta | None) -> str:
    """ "0 ms", "850 ms", "2 s", "1.24 s", "12.4 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds()
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60 and seconds.is_integer():
        return f"{seconds:.0f} s"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    if whole < _DAY:
        return _two(round(whole / 60) * 60, 3600, "h", 60, "min")
    return _two(round(whole / 3600) * 3600, _DAY, "d", 3600, "h")


def _two(seconds: int, large: int, its_name: str, small: int, its_own: str) -> str:
    left = seconds % large // small
    return f"{seconds // large:,} {its_name}" + (f" {left} {its_own}" if left else "")


def number(value: int) -> str:
    """With a comma at each thousand."""
    return f"{value:,}"


def rate(value: float) -> str:
    """Three digits that say something: "0.042", "3.17", "42.5", "1,234"."""
    if value == 0:
        return "0"
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def share(part: int, whole: int) -> str:
    """A percentage; what is not nothing is never shown as 0 %, what is not all never as 100 %."""
    if not whole:
        return NOTHING
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent % 1 else f"{percent:.0f} %"


def moment(time: datetime, zone: tzinfo = UTC) -> str:
    """Day and time to the second, in a zone."""
    return f"{time.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def zone_name(zone: tzinfo) -> str:
    """UTC, Europe/Berlin."""
    return str(zone)


def seconds(value: timedelta | None) -> float | None:
    """For programs, to the millisecond."""
    return None if value is None else round(value.total_seconds(), 3)


def stamp(time: datetime) -> str:
    """For programs: RFC 3339, to the millisecond."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


def missing(gap: Uncounted, zone: tzinfo = UTC) -> str:
    """What a reader must know of jobs that may be gone."""
    kinds = "FAILED" if State.FAILED in gap.states else "COMPLETED and CANCELLED"
    if gap.kept_for is not None:
        why = f"some jobs are kept for {span(gap.kept_for)} only"
    elif gap.kept_most is not None:
        why = f"the queue keeps {gap.kept_most:,} of them at most, and holds as many"
    else:
        why = "some were deleted or replaced before their time, by hand or by a clean-up"
    return (
        f"{kinds} jobs that ended before {moment(gap.before, zone)} {zone_name(zone)} "
        "may have been deleted before this report was made "
        f"({why}), and are not counted then."
    )
