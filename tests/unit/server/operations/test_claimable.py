"""What is known of queues: when a claim is worth its cost, and whose turn it is."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from contract.builders import SECOND
from tocsin_server.domain.lease import Claim
from tocsin_server.domain.queues import Tick
from tocsin_server.operations.leasing.claimable import Claimable

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
T = {"t": 1}


def a_tick(wakes: int = 0, next_due: datetime | None = None) -> dict[str, Tick]:
    return {"q": Tick(wakes, next_due, None, None)}


def nothing(now: datetime = NOON, *, more: bool = False) -> Claim:
    return Claim((), now, more)


def turn(claimable: Claimable, types: Collection[str] = T) -> str | None:
    """Whose turn it is for one who takes these types of all queues."""
    return claimable.next_for(lambda _, dry: None if set(types) <= dry else True)[0]


def known() -> Claimable:
    """A queue that was claimed from, in vain."""
    claimable = Claimable()
    claimable.serve(T)
    claimable.tick({"q": Tick(0, None, None, None, waiting=True)})
    assert claim(claimable) is False
    assert turn(claimable) is None
    return claimable


def claim(claimable: Claimable, answer: Claim | None = None) -> bool:
    queue = turn(claimable)
    assert queue == "q"
    return claimable.claimed(queue, T, 1, answer or nothing(), claimable.rings(queue))


def test_a_queue_first_heard_of_is_worth_a_claim() -> None:
    claimable = Claimable()
    claimable.serve(T)
    claimable.ring("q", NOON)
    assert turn(claimable) == "q"


def test_a_queue_whose_first_tick_says_that_nothing_waits_is_worth_no_claim_until_it_rings() -> None:
    claimable = Claimable()
    claimable.serve(T)
    claimable.tick(a_tick(7, NOON))
    assert turn(claimable) is None
    claimable.serve({"another"})
    assert turn(claimable, {"another"}) is None
    claimable.tick(a_tick(7, NOON))
    assert turn(claimable) is None
    claimable.pass_time(NOON)
    assert turn(claimable) == "q"


def test_a_message_that_came_before_the_first_tick_is_not_undone_by_it() -> None:
    claimable = Claimable()
    claimable.serve(T)
    claimable.ring("q")
    claimable.tick(a_tick(0))
    assert turn(claimable) == "q"


def test_a_changed_number_of_wakes_rings_and_the_same_does_not() -> None:
    claimable = known()
    claimable.tick(a_tick(0))
    assert turn(claimable) is None
    claimable.tick(a_tick(1))
    assert turn(claimable) == "q"


def test_a_claim_that_says_more_leaves_its_turn_to_come() -> None:
    claimable = known()
    claimable.ring("q")
    claim(claimable, nothing(more=True))
    assert turn(claimable) == "q"


def test_a_due_time_rings_when_it_has_come_and_the_next_must_be_asked_for() -> None:
    claimable = known()
    claimable.ring("q", NOON)
    assert claimable.next_due == NOON
    claimable.pass_time(NOON - SECOND)
    assert turn(claimable) is None
    claimable.pass_time(NOON)
    assert claim(claimable, nothing(NOON)) is True
    assert claimable.next_due is None


def test_a_claim_that_was_too_early_is_made_again_at_the_due_time() -> None:
    claimable = known()
    claimable.ring("q", NOON)
    claimable.pass_time(NOON)
    assert claim(claimable, nothing(NOON - SECOND)) is False
    assert turn(claimable) is None
    assert claimable.next_due == NOON


def test_the_due_time_of_a_paused_queue_is_claimed_for_once() -> None:
    claimable = known()
    claimable.tick(a_tick(0, NOON))
    claimable.pass_time(NOON)
    claim(claimable, nothing(NOON))
    claimable.tick(a_tick(0, NOON))
    claimable.pass_time(NOON + SECOND)
    assert turn(claimable) is None
    assert claimable.next_due is None


def test_a_tick_read_before_a_message_came_does_not_delay_what_the_message_said() -> None:
    claimable = known()
    claimable.ring("q", NOON)
    claimable.tick(a_tick(0, NOON + timedelta(hours=1)))
    assert claimable.next_due == NOON


def test_a_queue_on_hold_has_no_turn_until_it_is_resumed() -> None:
    claimable = known()
    claimable.hold("q")
    claimable.ring("q")
    assert turn(claimable) is None
    claimable.resume("q")
    assert turn(claimable) == "q"


def test_many_due_times_that_move_earlier_leave_one_alarm_to_come() -> None:
    claimable = known()
    for seconds in range(10, 0, -1):
        claimable.ring("q", NOON + seconds * SECOND)
    claimable.pass_time(NOON + SECOND)
    claim(claimable, nothing(NOON + SECOND))
    claimable.pass_time(NOON + 20 * SECOND)
    assert turn(claimable) is None
    assert claimable.next_due is None


def test_a_queue_that_is_missed_is_dropped_the_second_time_and_never_while_it_is_claimed_from() -> None:
    claimable = Claimable()
    claimable.serve(T)
    claimable.ring("q", NOON)
    for _ in range(3):
        claimable.keep([], busy=["q"])
    claimable.keep([], busy=[])
    assert turn(claimable) == "q"
    claimable.keep(["q"], busy=[])
    claimable.keep([], busy=[])
    assert turn(claimable) == "q"
    claimable.keep([], busy=[])
    assert turn(claimable) is None
    assert claimable.next_due is None
    claimable.resume("q")  # the end of a hold that was begun before


def test_queues_that_somebody_named_are_never_dropped_while_he_serves_them() -> None:
    claimable = Claimable()
    claimable.serve(T, ["q"])
    for _ in range(3):
        claimable.keep([], busy=[])
    assert turn(claimable) == "q"
    claimable.leave(T, ["q"])
    for _ in range(2):
        claimable.keep([], busy=[])
    claimable.serve(T)
    assert turn(claimable) is None


def test_queues_that_nobody_serves_have_no_turn() -> None:
    claimable = Claimable()
    claimable.ring("q")
    assert turn(claimable) is None
    claimable.serve(T, ["r"])
    assert claimable.in_turn() == ["r"]
    claimable.serve(T)
    assert sorted(claimable.in_turn()) == ["q", "r"]
    claimable.leave(T)
    assert claimable.in_turn() == ["r"]


def test_a_queue_is_served_until_the_last_who_serves_it_leaves() -> None:
    claimable = Claimable()
    claimable.serve(T, ["q"])
    claimable.serve(T, ["q"])
    claimable.leave(T, ["q"])
    assert turn(claimable) == "q"
    claimable.leave(T, ["q"])
    assert turn(claimable) is None


def test_one_who_comes_back_to_a_queue_that_has_nothing_costs_no_claim() -> None:
    claimable = Claimable()
    for _ in range(3):
        claimable.serve(T, ["q"])
        if turn(claimable) is not None:
            claim(claimable)
            first = claimable.rings("q")
        assert turn(claimable) is None
        claimable.leave(T, ["q"])
    assert claimable.rings("q") == first
