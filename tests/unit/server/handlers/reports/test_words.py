"""Figures as a reader wants them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from tocsin_server.handlers.reports import words
from tocsin_server.operations.reporting.retention import DEAD, Uncounted


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"),
        (0.001, "1 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (1, "1 s"),
        (1.236, "1.24 s"),
        (9.996, "10.0 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min"),
        (61, "1 min 1 s"),
        (3_599.6, "1 h"),
        (3_600 + 5 * 60 + 29, "1 h 5 min"),
        (86_399, "24 h"),
        (86_400, "1 d"),
        (86_400 * 3 + 3_600 * 4, "3 d 4 h"),
        (86_400 * 12_345, "12,345 d"),
    ],
)
def test_a_span_is_said_in_the_units_that_fit_it(seconds: float, said: str) -> None:
    assert words.span(timedelta(seconds=seconds)) == said


def test_what_is_unknown_is_a_dash() -> None:
    assert (words.span(None), words.share(0, 0), words.seconds(None)) == ("–", "–", None)


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 3, "33.3 %"),
        (1, 50_000, "< 0.1 %"),
        (49_999, 50_000, "> 99.9 %"),
        (1, 2, "50 %"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_all(part: int, whole: int, said: str) -> None:
    assert words.share(part, whole) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (0.0417, "0.042"), (3.168, "3.17"), (42.46, "42.5"), (1234.5, "1,234")]
)
def test_a_rate_has_the_digits_that_say_something(value: float, said: str) -> None:
    assert words.rate(value) == said


def test_times_are_utc_whatever_zone_they_came_in() -> None:
    time = datetime(2026, 11, 24, 1, 17, 3, 45_999, tzinfo=timezone(timedelta(hours=9)))
    assert words.moment(time) == "2026-11-23 16:17:03"
    assert words.stamp(time) == "2026-11-23T16:17:03.045Z"
    assert words.stamp(datetime(1970, 1, 1, tzinfo=UTC)) == "1970-01-01T00:00:00.000Z"


def test_jobs_that_somebody_deleted_are_told_as_such() -> None:
    said = words.missing(Uncounted(DEAD, datetime(2026, 11, 24, tzinfo=UTC), None, None))
    assert said.startswith("FAILED jobs that ended before 2026-11-24 00:00:00 UTC may have been deleted")
    assert "by hand or by a clean-up" in said
