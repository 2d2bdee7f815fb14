"""Stacks as errors."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tocsin_server.migrate.systems.bull.errors import CUT_MESSAGE, CUT_TRACE, FEWER, errors_of

FIRST, LAST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stack", "kind", "message", "has_trace"),
    [
        ("TypeError: no\n    at f (x.js:1:2)", "TypeError", "no", True),
        ("Error: two\nlines: here\n    at f", "Error", "two\nlines: here", True),
        ("ns.Own$Error: x", "ns.Own$Error", "x", False),
        ("just text", "Error", "just text", False),
        ("http://a: b", "Error", "http://a: b", False),
        ("", "Error", "", False),
        ("Error\n    at f", "Error", "Error", True),
    ],
)
def test_a_stack_is_type_message_and_trace(stack: str, kind: str, message: str, has_trace: bool) -> None:
    [error] = errors_of(None, [stack], attempt=1, failures=1, last_time=LAST, first_time=FIRST, whys=[])
    assert (error.type, error.message, error.trace) == (kind, message, stack if has_trace else "")
    assert (error.time, error.attempt) == (LAST, 1)


def test_the_reason_is_an_error_of_its_own_unless_the_last_stack_says_it() -> None:
    stacks = ["Error: a\n    at f", "Error: b\n    at f"]

    def said(reason: str | None, *, failures: int) -> list[tuple[str, str, int]]:
        found = errors_of(
            reason, stacks, attempt=failures, failures=failures, last_time=LAST, first_time=FIRST, whys=[]
        )
        return [(error.message, error.trace, error.attempt) for error in found]

    both = [("a", stacks[0], 1), ("b", stacks[1], 2)]
    assert said(None, failures=2) == said("b", failures=2) == both
    assert said("b: the order 7", failures=2) == [both[0], ("b: the order 7", stacks[1], 2)], "one failure is one error"
    assert said("job stalled more than allowable limit", failures=2)[-1][0].startswith("job stalled")
    assert len(said("job stalled more than allowable limit", failures=2)) == 3
    assert [message for message, _, _ in said("c", failures=3)] == ["a", "b", "c"], "stacks were not kept of all"


def test_only_the_last_has_a_time_of_its_own() -> None:
    errors = errors_of(None, ["a", "b", "c"], attempt=5, failures=5, last_time=LAST, first_time=FIRST, whys=[])
    assert [(error.time, error.attempt) for error in errors] == [(FIRST, 3), (FIRST, 4), (LAST, 5)]


def test_texts_are_cut_between_characters() -> None:
    stack = "Error: " + "é" * 600 + "\n    at " + "é" * 5_000
    whys: list[str] = []
    [error] = errors_of(None, [stack], attempt=1, failures=1, last_time=LAST, first_time=FIRST, whys=whys)
    assert error.message == "é" * 512
    assert error.trace == "é" * 4_096
    assert whys == [CUT_MESSAGE, CUT_TRACE]


def test_of_many_errors_the_report_says_that_some_are_left() -> None:
    for count, whys_wanted in ((10, []), (11, [FEWER])):
        whys: list[str] = []
        stacks = [f"Error: {number}\n    at f" for number in range(count)]
        errors = errors_of(None, stacks, attempt=count, failures=count, last_time=LAST, first_time=FIRST, whys=whys)
        assert (len(errors), whys) == (10, whys_wanted)


def test_half_of_a_surrogate_pair_can_be_kept() -> None:
    [error] = errors_of("\ud800", [], attempt=1, failures=1, last_time=LAST, first_time=FIRST, whys=[])
    assert error.message == "?"
