"""Windows are cut where a calendar would cut them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from tocsin_server.operations.reporting.intervals import handy_step, longer, start_of

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("length", "step"),
    [
        (timedelta(milliseconds=1), timedelta(seconds=1)),
        (HOUR, 2 * MINUTE),
        (DAY, 30 * MINUTE),
        (30 * DAY, DAY),
        (365 * DAY, 14 * DAY),
        (8_000 * 365 * DAY, 364 * 256 * DAY),
    ],
)
def test_a_window_is_cut_into_some_fifty_intervals(length: timedelta, step: timedelta) -> None:
    assert handy_step(length, 48) == step


def test_hours_days_and_weeks_begin_as_on_a_calendar() -> None:
    tuesday = datetime(2026, 11, 24, 10, 17, 5, tzinfo=UTC)
    assert start_of(tuesday, HOUR) == datetime(2026, 11, 24, 10, tzinfo=UTC)
    assert start_of(tuesday, DAY) == datetime(2026, 11, 24, tzinfo=UTC)
    assert start_of(tuesday, 7 * DAY) == datetime(2026, 11, 23, tzinfo=UTC)
    assert start_of(datetime(1970, 1, 1, tzinfo=UTC), 7 * DAY) == datetime(1969, 12, 29, tzinfo=UTC)


def test_a_longer_interval_is_made_of_whole_ones() -> None:
    steps = [HOUR]
    for _ in range(5):
        steps.append(longer(steps[-1]))
    assert all(large % small == timedelta(0) for small, large in itertools.pairwise(steps))
    time = datetime(2026, 11, 24, 10, 17, 5, tzinfo=UTC)
    for small, large in itertools.pairwise(steps):
        assert start_of(start_of(time, small), large) == start_of(time, large)
