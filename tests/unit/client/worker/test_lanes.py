"""Slots by type and by queue: who shares with whom, and what a changed number does to what runs already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from tocsin.worker.slots import Slots

TYPES, QUEUES = ("a", "b"), ("q", "r")


def widens(slots: Slots, change: Callable[[], None]) -> bool:
    """Whether the slots say, during a change, that attempts may begin which could not before."""
    said: list[None] = []
    slots.widened = lambda: said.append(None)
    change()
    return bool(said)


def test_a_type_has_what_its_handler_says_else_what_each_has() -> None:
    slots = Slots(20, {"said": 7, "silent": None}, each=5)
    assert slots.capacity().of("q") == {"said": 7, "silent": 5}


def test_queues_without_a_number_share_a_types_slots() -> None:
    slots = Slots(20, {"a": 2})
    slots.take("q", "a")
    slots.take("r", "a")
    assert slots.capacity().of("q") == {}
    assert widens(slots, lambda: slots.give("q", "a"))
    assert slots.capacity().of("r") == {"a": 1}


def test_a_queue_with_a_number_counts_its_own_alone() -> None:
    slots = Slots(20, {"a": 2}, each=5)
    slots.take("r", "a")
    assert not widens(slots, lambda: slots.limit_queue("q", {"a": 4}))  # there was room before
    assert (slots.capacity().of("q"), slots.capacity().of("r")) == ({"a": 4}, {"a": 1})
    for _ in range(4):
        slots.take("q", "a")
    assert (slots.capacity().of("q"), slots.capacity().of("r")) == ({}, {"a": 1})


def test_a_raised_number_says_that_something_may_begin() -> None:
    slots = Slots(20, {"a": 1, "b": 1})
    slots.take("q", "a")
    assert widens(slots, lambda: slots.limit_queue("q", {"a": 2}))
    assert not widens(slots, lambda: slots.limit_queue("q", {"a": 2}))
    assert not widens(slots, lambda: slots.limit_queue("q", {"a": 3}))
    assert not widens(slots, lambda: slots.limit_queue("q", {"a": 1}))


def test_attempts_that_move_to_a_lane_of_their_own_leave_room_behind() -> None:
    slots = Slots(20, {"a": 1})
    slots.take("q", "a")
    assert slots.capacity().of("r") == {}
    assert widens(slots, lambda: slots.limit_queue("q", {"a": 1}))  # for the other queues
    assert (slots.capacity().of("q"), slots.capacity().of("r")) == ({}, {"a": 1})
    assert not widens(slots, lambda: slots.limit_queue("q", {}))
    assert (slots.capacity().of("q"), slots.capacity().of("r")) == ({}, {})


def test_a_lowered_number_lets_what_runs_end_and_nothing_begin_before() -> None:
    slots = Slots(20, {"a": 4})
    for _ in range(4):
        slots.take("q", "a")
    slots.limit_queue("q", {"a": 2})
    assert [widens(slots, lambda: slots.give("q", "a")) for _ in range(4)] == [False, False, True, False]
    assert slots.capacity().of("q") == {"a": 2}


def test_a_number_above_all_slots_is_all_slots() -> None:
    slots = Slots(3, {"a": None, "b": None}, each=5)
    slots.limit_queue("q", {"a": 100})
    slots.take("q", "b")
    assert slots.capacity().of("q") == {"a": 2, "b": 2}


def test_the_first_slot_of_all_that_is_free_again_is_told() -> None:
    slots = Slots(2, {"a": None, "b": None})
    slots.take("q", "a")
    slots.take("q", "b")
    assert widens(slots, lambda: slots.give("q", "a"))
    assert not widens(slots, lambda: slots.give("q", "b"))


def test_a_slot_that_is_promised_is_promised_once() -> None:
    slots = Slots(4, {"a": 2, "b": None})
    slots.limit_queue("q", {"a": 1})
    room = slots.capacity()
    assert room.of("r") == {"a": 2, "b": 4}
    assert [room.take("q", "a"), room.take("q", "a")] == [True, False]
    assert room.of("r") == {"a": 2, "b": 3}
    assert [room.take("r", "a"), room.take("s", "a"), room.take("r", "a")] == [True, True, False]
    assert room.of("r") == {"b": 1}
    assert [room.take("q", "b"), room.take("q", "b"), room.take("q", "unknown")] == [True, False, False]
    assert slots.capacity().of("r") == {"a": 2, "b": 4}  # nothing has begun


queues, types = st.sampled_from(QUEUES), st.sampled_from(TYPES)
attempts = st.tuples(st.sampled_from(["take", "give"]), queues, types)
changes = st.tuples(st.just("limit"), queues, st.dictionaries(types, st.integers(1, 4)))
steps = st.lists(attempts | changes, max_size=40)


@given(steps)
def test_counts_are_right_whatever_comes(steps: list[tuple[str, str, str | dict[str, int]]]) -> None:
    shared, total = {"a": 2, "b": 3}, 6
    slots = Slots(total, shared)
    busy: Counter[tuple[str, str]] = Counter()
    own: dict[str, dict[str, int]] = {queue: {} for queue in QUEUES}

    def left(queue: str, type: str) -> int:
        if type in own.get(queue, {}):
            return own[queue][type] - busy[queue, type]
        return shared[type] - sum(busy[other, type] for other in QUEUES if type not in own[other])

    def open_lanes() -> set[tuple[str, str]]:
        return {(queue, type) for queue in (*QUEUES, "other") for type in TYPES if left(queue, type) > 0}

    for verb, queue, what in steps:
        before = open_lanes()
        if isinstance(what, dict):
            own[queue] = what
            said = widens(slots, partial(slots.limit_queue, queue, what))
            assert said == bool(open_lanes() - before)
        elif verb == "take" and left(queue, what) > 0 and slots.free > 0:
            busy[queue, what] += 1
            slots.take(queue, what)
        elif verb == "give" and busy[queue, what]:
            busy[queue, what] -= 1
            said = widens(slots, partial(slots.give, queue, what))
            assert said == (bool(open_lanes() - before) or slots.free == 1)
        free = total - busy.total()
        for name in (*QUEUES, "other"):
            room = {type: min(left(name, type), free) for type in TYPES if min(left(name, type), free) > 0}
            assert slots.capacity().of(name) == room


def test_a_queue_may_have_a_lane_for_a_type_that_no_other_has() -> None:
    slots = Slots(3, {"a": None})
    assert widens(slots, lambda: slots.limit_queue("q", {"pushed": 2}))
    assert (slots.capacity().of("q"), slots.capacity().of("r")) == ({"a": 3, "pushed": 2}, {"a": 3})
    free = slots.capacity()
    assert [free.take("r", "pushed"), *(free.take("q", "pushed") for _ in range(3))] == [False, True, True, False]
    slots.take("q", "pushed")
    slots.limit_queue("q", {})  # what runs goes on, and its slot comes back
    assert slots.capacity().of("q") == {"a": 2}
    slots.give("q", "pushed")
    slots.limit_queue("q", {"pushed": 2})
    assert slots.capacity().of("q") == {"a": 3, "pushed": 2}


def test_a_lane_of_width_0_lets_nothing_begin() -> None:
    slots = Slots(3, {"a": None, "b": None})
    slots.limit_queue("q", {"a": 0})
    assert (slots.capacity().of("q"), slots.capacity().of("r")) == ({"b": 3}, {"a": 3, "b": 3})
    assert not slots.capacity().take("q", "a")
