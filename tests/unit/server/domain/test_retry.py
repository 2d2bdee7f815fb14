"""When the next attempt follows a failed one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain import limits
from tocsin_server.domain.retry import Backoff, RetryPolicy

SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)

policies = st.builds(
    lambda attempts, backoff, initial, more, jitter: RetryPolicy(
        attempts, backoff, initial, min(initial + more, limits.MAX_BACKOFF), jitter
    ),
    st.integers(1, limits.MAX_ATTEMPTS),
    st.sampled_from(Backoff),
    st.timedeltas(MILLISECOND, limits.MAX_INITIAL_DELAY),
    st.timedeltas(timedelta(0), limits.MAX_BACKOFF),
    st.floats(0, 1),
)


def test_by_default_waits_double_from_two_seconds() -> None:
    policy = RetryPolicy(max_attempts=100, jitter=0)
    assert [policy.delay_after(failures) for failures in range(1, 5)] == [
        2 * SECOND,
        4 * SECOND,
        8 * SECOND,
        16 * SECOND,
    ]


def test_by_default_there_are_three_attempts() -> None:
    policy = RetryPolicy()
    assert policy.delay_after(2) is not None
    assert policy.delay_after(3) is None
    assert policy.delay_after(4) is None


def test_waits_do_not_pass_the_longest() -> None:
    policy = RetryPolicy(max_attempts=100, max_delay=10 * SECOND, jitter=0)
    assert [policy.delay_after(failures) for failures in (2, 3, 4, 99)] == [
        4 * SECOND,
        8 * SECOND,
        10 * SECOND,
        10 * SECOND,
    ]


def test_a_fixed_wait_stays_as_it_is() -> None:
    policy = RetryPolicy(100, Backoff.FIXED, 7 * SECOND, 60 * SECOND, jitter=0)
    assert {policy.delay_after(failures) for failures in range(1, 100)} == {7 * SECOND}


def test_one_attempt_is_never_followed_by_another() -> None:
    assert RetryPolicy(max_attempts=1).delay_after(1) is None


@pytest.mark.parametrize(("draw", "wait"), [(0.0, 6), (0.5, 8), (1.0, 10)])
def test_the_jittered_share_is_drawn(draw: float, wait: int) -> None:
    policy = RetryPolicy(9, Backoff.FIXED, 10 * SECOND, 10 * SECOND, jitter=0.4)
    assert policy.delay_after(1, draw) == wait * SECOND


def test_jobs_that_failed_together_part() -> None:
    policy = RetryPolicy(9, Backoff.FIXED, 10 * SECOND, 10 * SECOND, jitter=1.0)
    assert len({policy.delay_after(1) for _ in range(50)}) > 40


@given(policies, st.integers(1, limits.MAX_ATTEMPTS), st.none() | st.floats(0, 1))
def test_any_allowed_policy_gives_a_wait_within_its_bounds(
    policy: RetryPolicy, failures: int, draw: float | None
) -> None:
    wait = policy.delay_after(failures, draw)
    assert (wait is None) is (failures >= policy.max_attempts)
    if wait is not None:
        longest = policy.initial_delay if policy.backoff is Backoff.FIXED else policy.max_delay
        least = policy.initial_delay * (1 - policy.jitter)
        rounding = timedelta(microseconds=1)
        assert least - rounding <= wait <= longest + rounding


@given(policies, st.integers(1, limits.MAX_ATTEMPTS - 2), st.floats(0, 1))
def test_waits_never_shrink_from_one_failure_to_the_next(policy: RetryPolicy, failures: int, draw: float) -> None:
    first, second = policy.delay_after(failures, draw), policy.delay_after(failures + 1, draw)
    assert second is None or (first is not None and first <= second)
