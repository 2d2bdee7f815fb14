"""Priorities and due times along a list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.migrate.systems.bull.order import WaitingLine, bull_priority, bullmq_priority

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_NUMBERS = st.floats(allow_nan=False)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 9)), max_size=30))
def test_what_a_line_says_never_contradicts_the_list(jobs: list[tuple[int, int]]) -> None:
    line = WaitingLine()
    told = []
    for number, (own, second) in enumerate(jobs):
        priority = line.priority(own)
        due = line.due(EPOCH + timedelta(seconds=second))
        assert priority <= own
        assert due >= EPOCH + timedelta(seconds=second)
        told.append((-priority, due, number))
    assert told == sorted(told)


def test_a_line_that_is_right_is_left_alone() -> None:
    line = WaitingLine()
    for own, second in [(9, 5), (9, 6), (2, 1), (2, 3), (0, 0)]:
        due = EPOCH + timedelta(seconds=second)
        assert (line.priority(own), line.due(due)) == (own, due)
    assert line.last(EPOCH) == EPOCH + timedelta(seconds=6)


@given(_NUMBERS, _NUMBERS)
def test_bulls_priorities_keep_their_order(one: float, other: float) -> None:
    for number in (one, other):
        assert -(2**31) <= bullmq_priority(number) <= 0 <= bull_priority(number) < 2**31
    if 0 < one <= other:
        assert bull_priority(one) >= bull_priority(other) > bull_priority(0)
        assert bullmq_priority(other) <= bullmq_priority(one) <= bullmq_priority(0) == 0
