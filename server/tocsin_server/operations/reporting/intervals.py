"""A window of time, cut into intervals of equal length."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday, so that weeks begin as calendars show them
_NONE = timedelta(0)
_SECOND, _MINUTE, _HOUR, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_HANDY = (
    *(n * _SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)


def start_of(time: datetime, step: timedelta, ahead: timedelta = _NONE) -> datetime:
    """Where the interval begins that `time` lies in; days begin at the midnight of who is so far ahead of UTC."""
    first = _EPOCH - ahead
    return first + (time - first) // step * step


def handy_step(length: timedelta, most: int) -> timedelta:
    """The shortest handy step that cuts a window of this length into about `most` intervals at most."""
    for step in _HANDY:
        if length <= most * step:
            return step
    step = _HANDY[-1]
    while length > most * step:
        step *= 2
    return step


def longer(step: timedelta) -> timedelta:
    """The next longer step; its intervals are made of whole ones of `step`."""
    return {_HOUR: _DAY, _DAY: 7 * _DAY}.get(step, 4 * step)
