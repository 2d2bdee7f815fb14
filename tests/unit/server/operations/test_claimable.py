"""What is known of queues: when a claim is worth its cost, and whose turn it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contract.builders import SECOND
from tocsin_server.domain.lease import Claim
from tocsin_server.domain.queues import Tick
from tocsin_server.operations.claimable import Claimable

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
T = {"t": 1}


def a_tick(wakes: int = 0, next_due: datetime | None = None) -> dict[str, Tick]:
    return {"q": Tick(wakes, next_due, None, None)}


def nothing(now: datetime = NOON, *, more: bool = False) -> Claim:
    return Claim((), now, more)


def known() -> Claimable:
    """A queue that was claimed from, in vain."""
    claimable = Claimable()
    claimable.want(T)
    claimable.tick({"q": Tick(0, None, None, None, waiting=True)})
    assert claim(claimable) is False
    assert claimable.next_for(lambda _: T) is None
    return claimable


def claim(claimable: Claimable, answer: Claim | None = None) -> bool:
    queue = claimable.next_for(lambda _: T)
    assert queue == "q"
    return claimable.claimed(queue, T, 1, answer or nothing(), claimable.rings(queue))


def test_a_queue_first_heard_of_is_worth_a_claim() -> None:
    claimable = Claimable()
    claimable.want(T)
    claimable.ring("q", NOON)
    assert claimable.next_for(lambda _: T) == "q"


def test_a_queue_whose_first_tick_says_that_nothing_waits_is_worth_no_claim_until_it_rings() -> None:
    claimable = Claimable()
    claimable.want(T)
    claimable.tick(a_tick(7, NOON))
    assert claimable.next_for(lambda _: T) is None
    claimable.want({"another"})
    assert claimable.next_for(lambda _: {"another": 1}) is None
    claimable.tick(a_tick(7, NOON))
    assert claimable.next_for(lambda _: T) is None
    claimable.pass_time(NOON)
    assert claimable.next_for(lambda _: T) == "q"


def test_a_message_that_came_before_the_first_tick_is_not_undone_by_it() -> None:
    claimable = Claimable()
    claimable.want(T)
    claimable.ring("q")
    claimable.tick(a_tick(0))
    assert claimable.next_for(lambda _: T) == "q"


def test_a_changed_number_of_wakes_rings_and_the_same_does_not() -> None:
    claimable = known()
    claimable.tick(a_tick(0))
    assert claimable.next_for(lambda _: T) is None
    claimable.tick(a_tick(1))
    assert claimable.next_for(lambda _: T) == "q"


def test_a_claim_that_says_more_leaves_its_turn_to_come() -> None:
    claimable = known()
    claimable.ring("q")
    claim(claimable, nothing(more=True))
    assert claimable.next_for(lambda _: T) == "q"


def test_a_due_time_rings_when_it_has_come_and_the_next_must_be_asked_for() -> None:
    claimable = known()
    claimable.ring("q", NOON)
    assert claimable.next_due == NOON
    claimable.pass_time(NOON - SECOND)
    assert claimable.next_for(lambda _: T) is None
    claimable.pass_time(NOON)
    assert claim(claimable, nothing(NOON)) is True
    assert claimable.next_due is None


def test_a_claim_that_was_too_early_is_made_again_at_the_due_time() -> None:
    claimable = known()
    claimable.ring("q", NOON)
    claimable.pass_time(NOON)
    assert claim(claimable, nothing(NOON - SECOND)) is False
    assert claimable.next_for(lambda _: T) is None
    assert claimable.next_due == NOON


def test_the_due_time_of_a_paused_queue_is_claimed_for_once() -> None:
    claimable = known()
    claimable.tick(a_tick(0, NOON))
    claimable.pass_time(NOON)
    claim(claimable, nothing(NOON))
    claimable.tick(a_tick(0, NOON))
    claimable.pass_time(NOON + SECOND)
    assert claimable.next_for(lambda _: T) is None
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
    assert claimable.next_for(lambda _: T) is None
    claimable.resume("q")
    assert claimable.next_for(lambda _: T) == "q"


def test_many_due_times_that_move_earlier_leave_one_alarm_to_come() -> None:
    claimable = known()
    for seconds in range(10, 0, -1):
        claimable.ring("q", NOON + seconds * SECOND)
    claimable.pass_time(NOON + SECOND)
    claim(claimable, nothing(NOON + SECOND))
    claimable.pass_time(NOON + 20 * SECOND)
    assert claimable.next_for(lambda _: T) is None
    assert claimable.next_due is None


def test_a_queue_that_is_missed_is_dropped_the_second_time_and_never_while_it_is_claimed_from() -> None:
    claimable = Claimable()
    claimable.want(T)
    claimable.ring("q", NOON)
    for _ in range(3):
        claimable.keep([], busy=["q"])
    claimable.keep([], busy=[])
    assert claimable.next_for(lambda _: T) == "q"
    claimable.keep(["q"], busy=[])
    claimable.keep([], busy=[])
    assert claimable.next_for(lambda _: T) == "q"
    claimable.keep([], busy=[])
    assert claimable.next_for(lambda _: T) is None
    assert claimable.next_due is None
    claimable.resume("q")  # the end of a hold that was begun before


def test_queues_that_it_is_limited_to_are_never_dropped() -> None:
    claimable = Claimable(["q"])
    claimable.want(T)
    for _ in range(3):
        claimable.keep([], busy=[])
    assert claimable.next_for(lambda _: T) == "q"
