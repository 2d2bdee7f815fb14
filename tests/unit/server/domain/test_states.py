"""States and their sets, and what queues say of them."""

from __future__ import annotations

from datetime import UTC, datetime

from tocsin_server.domain.queues import QueueFigures, QueueSettings
from tocsin_server.domain.states import ENDED, PENDING, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_every_state_is_pending_running_or_ended() -> None:
    assert sorted([*PENDING, State.ACTIVE, *ENDED]) == sorted(State)
    assert not PENDING & ENDED


def test_numbers_are_part_of_what_is_stored() -> None:
    assert {state.name: int(state) for state in State} == {
        "SCHEDULED": 1,
        "BLOCKED": 2,
        "WAITING": 3,
        "ACTIVE": 4,
        "COMPLETED": 5,
        "FAILED": 6,
        "CANCELLED": 7,
    }


def test_totals_are_over_all_types() -> None:
    figures = QueueFigures(NOW, {State.WAITING: {"a": 2, "b": 3}}, None, 0.0, 0.0)
    assert (figures.total(State.WAITING), figures.total(State.ACTIVE)) == (5, 0)


def test_a_queue_is_paused_since_a_time_or_not_at_all() -> None:
    assert not QueueSettings().paused
    assert QueueSettings(paused_since=NOW).paused
