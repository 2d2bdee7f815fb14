"""Percentiles out of a few kilobytes are as near to the truth as they say."""

from __future__ import annotations

import math
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.operations.reporting.histogram import ERROR, Histogram

MS = timedelta(milliseconds=1)
CENTURY = 36_525 * 86_400_000


def counted(spans: list[int]) -> Histogram:
    histogram = Histogram()
    for ms in spans:
        histogram.add(ms * MS)
    return histogram


SPANS = st.integers(0, 1_000) | st.integers(0, 100_000) | st.integers(0, CENTURY)


@given(st.lists(SPANS, min_size=1, max_size=300), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_its_error_of_the_span_that_has_the_rank(spans: list[int], share: float) -> None:
    exact = sorted(spans)[max(1, math.ceil(share * len(spans))) - 1]
    found = counted(spans).percentile(share)
    assert found is not None
    assert abs(found / MS - exact) <= exact * ERROR


def test_every_short_span_is_within_its_error() -> None:
    found = [counted([ms, ms * 2]).percentile(0.5) for ms in range(20_000)]
    assert [ms for ms, span in enumerate(found) if span is None or abs(span / MS - ms) > ms * ERROR] == []


@given(st.lists(st.integers(0, CENTURY), min_size=1, max_size=50))
def test_count_mean_and_greatest_are_exact(spans: list[int]) -> None:
    histogram = counted(spans)
    assert (histogram.count, histogram.max) == (len(spans), max(spans) * MS)
    assert histogram.mean == round(sum(spans) / len(spans)) * MS


def test_short_spans_are_exact() -> None:
    assert [counted([ms]).percentile(0.5) for ms in range(100)] == [ms * MS for ms in range(100)]
    assert counted(list(range(50))).percentile(0.5) == 24 * MS


def test_of_nothing_there_is_no_percentile() -> None:
    empty = Histogram()
    assert (empty.percentile(0.5), empty.mean, empty.max) == (None, None, None)


def test_what_is_negative_counts_as_nothing_and_more_than_a_century_as_a_century() -> None:
    odd = Histogram()
    odd.add(-5 * MS)
    assert odd.percentile(1) == timedelta(0)
    odd.add(timedelta(days=400_000))
    assert odd.max == timedelta(days=400_000)


@pytest.mark.parametrize("spans", [range(0, 50_000, 7), [2**n for n in range(41)]])
def test_it_stays_small_whatever_it_counts(spans: range | list[int]) -> None:
    histogram = counted([*spans, CENTURY])
    assert sys.getsizeof(histogram._bins) < 14_000
