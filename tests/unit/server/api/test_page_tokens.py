"""A page token goes on where its page ended, and is good for that list alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.api import page_tokens
from tocsin_server.domain.errors import InvalidFields
from tocsin_server.domain.filters import JobFilter, Order, Position, Window
from tocsin_server.domain.states import State

HASH = page_tokens.filter_hash("q", JobFilter(), Order.NEWEST)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
DUES = st.none() | st.integers(0, 250_000_000_000_000).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)


@given(st.integers(0, 2**48), DUES, st.integers(0, 10_000))
def test_a_position_comes_back_as_it_was(arrival: int, due: datetime | None, skip: int) -> None:
    position = Position(arrival, due, skip)
    assert page_tokens.jobs_position(HASH, page_tokens.jobs_token(HASH, position)) == position


BASE = JobFilter(states=frozenset({State.FAILED}), types=frozenset({"a", "b"}), tags={"k": "v"}, priority_min=1)


@pytest.mark.parametrize(
    "other",
    [
        ("p", BASE, Order.NEWEST),
        ("q", BASE, Order.SOONEST),
        ("q", replace(BASE, states=frozenset()), Order.NEWEST),
        ("q", replace(BASE, types=frozenset({"a,b"})), Order.NEWEST),
        ("q", replace(BASE, tags={"k": "w"}), Order.NEWEST),
        ("q", replace(BASE, priority_min=None, priority_max=1), Order.NEWEST),
        ("q", replace(BASE, scheduled=Window(start=NOON)), Order.NEWEST),
        ("q", replace(BASE, scheduled=Window(end=NOON)), Order.NEWEST),
        ("q", replace(BASE, created=Window(start=NOON)), Order.NEWEST),
        ("q", replace(BASE, ended=Window(start=NOON)), Order.NEWEST),
    ],
)
def test_a_token_of_another_list_is_refused(other: tuple[str, JobFilter, Order]) -> None:
    token = page_tokens.jobs_token(page_tokens.filter_hash(*other), Position(5))
    with pytest.raises(InvalidFields, match="page_token"):
        page_tokens.jobs_position(page_tokens.filter_hash("q", BASE, Order.NEWEST), token)


def test_the_order_of_a_filters_values_does_not_matter() -> None:
    tags = {"a": "1", "b": "2"}
    turned = dict(reversed(tags.items()))
    one, other = (page_tokens.filter_hash("q", JobFilter(tags=t), Order.NEWEST) for t in (tags, turned))
    assert one == other


@given(st.text() | st.binary().map(bytes.hex) | st.from_regex(r"[A-Za-z0-9_-]{0,60}", fullmatch=True))
def test_garbage_is_refused(token: str) -> None:
    assert fields_refused(lambda: page_tokens.jobs_position(HASH, token)) == ["page_token"]
    with contextlib.suppress(InvalidFields):
        assert page_tokens.queues_token(page_tokens.last_queue(token)) == token


def fields_refused(read: Callable[[], object]) -> list[str]:
    with pytest.raises(InvalidFields) as caught:
        read()
    return [violation.field for violation in caught.value.violations]


@given(st.from_regex(r"[A-Za-z0-9._-]{1,100}", fullmatch=True))
def test_a_queue_comes_back_as_it_was(name: str) -> None:
    assert page_tokens.last_queue(page_tokens.queues_token(name)) == name


def test_tokens_of_jobs_and_queues_are_not_mixed_up() -> None:
    with pytest.raises(InvalidFields):
        page_tokens.last_queue(page_tokens.jobs_token(HASH, Position(5)))
    with pytest.raises(InvalidFields):
        page_tokens.jobs_position(HASH, page_tokens.queues_token("q"))


def test_skip_counts_on_top_of_what_a_token_has_still_to_pass_over() -> None:
    token = page_tokens.jobs_token(HASH, Position(5, skip=9_000))
    assert page_tokens.jobs_position(HASH, token, 1_000).skip == 10_000
    with pytest.raises(InvalidFields, match="skip"):
        page_tokens.jobs_position(HASH, token, 1_001)
