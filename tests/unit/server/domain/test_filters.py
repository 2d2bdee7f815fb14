"""Which filters the counters can answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tocsin_server.domain.filters import JobFilter, Window
from tocsin_server.domain.states import State

TIME = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter(),
        JobFilter(states=frozenset({State.FAILED})),
        JobFilter(types=frozenset({"t"})),
        JobFilter(states=frozenset({State.FAILED}), types=frozenset({"t"})),
    ],
    ids=str,
)
def test_states_and_types_are_counted(wanted: JobFilter) -> None:
    assert wanted.counted


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter(tags={"k": "v"}),
        JobFilter(priority_min=0),
        JobFilter(priority_max=0),
        JobFilter(scheduled=Window(TIME, None)),
        JobFilter(created=Window(None, TIME)),
        JobFilter(ended=Window(TIME, TIME)),
    ],
    ids=str,
)
def test_nothing_else_is(wanted: JobFilter) -> None:
    assert not wanted.counted
