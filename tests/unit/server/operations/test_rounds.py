"""Which queues a tick reads: all of few; of very many those in use, those whose time has come, and the rest in turn."""

from __future__ import annotations

from datetime import UTC, datetime

from contract.builders import SECOND
from tocsin_server.domain.queues import Tick
from tocsin_server.operations.rounds import Rounds

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
IDLE = Tick(0, None, None, None)
NAMES = [f"q{number:04}" for number in range(1000)]
AT_ONCE = 50


def read(rounds: Rounds, now: datetime = NOON, **other: Tick) -> list[str]:
    """A tick: what it reads; all are idle but those that are said."""
    chosen = rounds.choose(now, AT_ONCE)
    rounds.take({name: other.get(name, IDLE) for name in chosen}, now, 1.0)
    return chosen


def known(count: int = 1000, **other: Tick) -> Rounds:
    """Queues that were all read once."""
    rounds = Rounds()
    rounds.set_names(NAMES[:count])
    assert sorted(read(rounds, **other)) == NAMES[:count]
    return rounds


def test_where_one_command_reads_all_each_tick_does() -> None:
    rounds = known(AT_ONCE)
    for _ in range(20):
        assert sorted(read(rounds)) == NAMES[:AT_ONCE]


def test_of_very_many_each_has_its_turn_at_the_cost_of_one_command_a_tick() -> None:
    rounds = known()
    seen: list[str] = []
    for _ in range(1000 // AT_ONCE):
        chosen = read(rounds)
        assert len(chosen) == AT_ONCE
        seen += chosen
    assert sorted(seen) == NAMES


def test_a_queue_that_was_heard_of_is_read_at_each_tick_until_nothing_changes_there() -> None:
    rounds = known()
    rounds.hear("q0500")
    for number in range(30):
        assert "q0500" in read(rounds, q0500=Tick(number, None, None, None))
    quiet = [("q0500" in read(rounds, q0500=Tick(29, None, None, None))) for _ in range(18)]
    assert quiet == [True] * 10 + [False] * 8


def test_a_queue_is_read_when_its_own_time_has_come_and_ever_less_often_where_nothing_follows() -> None:
    due = Tick(0, NOON + 60 * SECOND, None, None)
    rounds = known(q0999=due)
    when = [
        second
        for second in range(200)
        # The turn of the queue itself is not what is looked at.
        if "q0999" in read(rounds, NOON + second * SECOND, q0999=due) and second % 20 != 19
    ]
    assert when[:5] == [60, 61, 63, 67, 75]


def test_a_time_that_nobody_does_anything_about_hides_none_that_comes_later() -> None:
    due = Tick(0, NOON + 70 * SECOND, NOON + 60 * SECOND, None)
    rounds = known(q0999=due)
    when = [second for second in range(75) if "q0999" in read(rounds, NOON + second * SECOND, q0999=due)]
    assert [second for second in when if second % 20 != 19] == [60, 61, 63, 67, 70]


def test_all_are_read_once_more_where_messages_may_have_been_missed() -> None:
    rounds = known()
    rounds.begin_anew()
    assert sorted(read(rounds)) == NAMES
    assert len(read(rounds)) == AT_ONCE


def test_those_in_use_leave_room_for_the_turns_of_the_others() -> None:
    rounds = known()
    for name in NAMES[:200]:
        rounds.hear(name)
    chosen = read(rounds)
    assert set(NAMES[:200]) <= set(chosen)
    assert len(chosen) <= 200 + AT_ONCE // 10


def test_names_that_are_gone_are_forgotten_and_new_ones_read_at_once() -> None:
    rounds = known()
    rounds.set_names([*NAMES[500:], "new"])
    assert "new" in read(rounds)
    assert len(rounds) == 501
    assert all(name not in NAMES[:500] for _ in range(30) for name in read(rounds))
