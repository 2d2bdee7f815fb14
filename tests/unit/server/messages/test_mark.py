"""The mark in an error by which the next attempt knows whom it need not send to again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.messages.mark import reached_before, written

DIGEST = "0123abcd"


@given(st.sets(st.integers(0, 199)))
def test_what_is_written_is_read(reached: set[int]) -> None:
    errors = [
        "first",
        f"{written(reached, 200, DIGEST)}; sms, 3 not reached: 503",
        "the attempt passed its limit of 3 s",
    ]
    assert reached_before(errors, 200, DIGEST) == reached
    assert len(written(reached, 200, DIGEST)) < 900  # of the 1,024 bytes that an error keeps


def test_people_can_read_it() -> None:
    assert written({0, 1, 2, 4}, 7, DIGEST) == "sent already to 1-3,5 of 7 (0123abcd)"
    assert written(set(), 7, DIGEST) == ""


def test_the_newest_mark_counts() -> None:
    errors = [written({0}, 3, DIGEST), written({0, 2}, 3, DIGEST), "LEASE_EXPIRED"]
    assert reached_before(errors, 3, DIGEST) == {0, 2}


@pytest.mark.parametrize(("total", "digest"), [(3, "ffffffff"), (4, DIGEST)])
def test_of_another_payload_nobody_was_reached(total: int, digest: str) -> None:
    assert reached_before([written({0}, 3, DIGEST)], total, digest) == frozenset()


@pytest.mark.parametrize(
    "error",
    [
        "the provider says: sent already to 1-3 of 3 (0123abcd)",
        "sent already to 9999999999-99999999999 of 3 (0123abcd)",
        "sent already to -,- of 3 (0123abcd)",
        "sent already to 1-3 of 3 (0123abc)",
    ],
)
def test_words_of_others_are_no_mark(error: str) -> None:
    assert reached_before([error], 3, DIGEST) == frozenset()
