"""Never more jobs than credits, whatever is given and taken in which order."""

from __future__ import annotations

from collections import Counter

from contract.properties import bounded
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.operations.working.credits import Credits

TYPES = ("t", "u", "v")
gives = st.tuples(st.just("give"), st.sampled_from(("", *TYPES)), st.integers(0, 3))
takes = st.tuples(st.just("take"), st.sampled_from(TYPES), st.just(1))


@bounded(200)
@given(st.lists(st.one_of(gives, takes), max_size=60))
def test_no_more_jobs_are_taken_than_credits_were_given(steps: list[tuple[str, str, int]]) -> None:
    credits_ = Credits()
    given_, taken = Counter[str](), Counter[str]()  # by type, and under "" of those without one
    seen: set[str] = set()
    for verb, type_, count in steps:
        if verb == "give":
            credits_.give(type_, count)
            given_[type_] += count
            seen.add(type_)
            continue
        offered = credits_.of(TYPES)
        assert (type_ in offered) == credits_.take(type_)
        if type_ in offered:
            # What is taken before the first of a kind was given takes none of that kind.
            taken.update(kind for kind in ("", type_) if kind in seen)
            assert seen & {"", type_}
        for kind in seen:
            assert taken[kind] <= given_[kind]
            assert credits_.given(kind) == given_[kind] - taken[kind]


def test_a_type_and_the_whole_are_bounded_at_once() -> None:
    credits_ = Credits()
    credits_.give("", 3)
    credits_.give("t", 1)
    assert credits_.of(TYPES) == {"t": 1, "u": 3, "v": 3}
    assert credits_.take("t")
    assert credits_.of(TYPES) == {"u": 2, "v": 2}
    assert not credits_.take("t")
    credits_.give("t", 5)
    assert credits_.of(TYPES) == {"t": 2, "u": 2, "v": 2}


def test_credits_of_types_alone_give_nothing_to_others() -> None:
    credits_ = Credits()
    credits_.give("t", 2)
    assert (credits_.unused, credits_.of(TYPES)) == (2, {"t": 2})
    assert not credits_.take("u")
    assert credits_.take("t")
    assert credits_.unused == 1


def test_a_type_is_held_back_by_a_credit_of_none() -> None:
    credits_ = Credits()
    credits_.give("", 2)
    credits_.give("t", 0)
    assert credits_.of(TYPES) == {"u": 2, "v": 2}
