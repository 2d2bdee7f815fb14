"""Options as retry policy, timeout and retention."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tocsin_server.domain.retry import Backoff
from tocsin_server.migrate.systems.bull.dialect import BULL, BULLMQ, Dialect
from tocsin_server.migrate.systems.bull.terms import retention_of, retry_of, timeout_of

MS = timedelta(milliseconds=1)


def their_wait(dialect: Dialect, failures: int, delay: int) -> timedelta:
    """The formula of the library, in Node: lib/backoffs.js of Bull, classes/backoffs.js of BullMQ."""
    return ((1 << failures) - 1 if dialect is BULL else 1 << (failures - 1)) * delay * MS


@pytest.mark.parametrize("dialect", [BULL, BULLMQ])
@pytest.mark.parametrize("delay", [1, 1000, 60_000])
def test_exponential_waits_are_never_shorter_and_at_most_one_delay_longer(dialect: Dialect, delay: int) -> None:
    policy = retry_of({"attempts": 8, "backoff": {"type": "exponential", "delay": delay}}, dialect, [])
    for failures in range(1, 8):
        wait = policy.delay_after(failures, draw=1)
        assert wait is not None
        longer = wait - their_wait(dialect, failures, delay)
        assert longer == (delay * MS if dialect is BULL else timedelta(0))
    assert policy.delay_after(8) is None


def test_jitter_takes_away_as_much_as_in_bullmq() -> None:
    options = {"attempts": 3, "backoff": {"type": "fixed", "delay": 1000, "jitter": 0.5}}
    policy = retry_of(options, BULLMQ, [])
    assert (policy.delay_after(1, draw=0), policy.delay_after(1, draw=1)) == (500 * MS, 1000 * MS)


@pytest.mark.parametrize(
    ("options", "whys"),
    [
        ({"attempts": 3, "backoff": {"type": "fixed", "delay": 1000}}, 0),
        ({"attempts": 100, "backoff": 86_400_000}, 0),
        ({"attempts": 101}, 1),
        ({"attempts": 2, "backoff": 86_400_002}, 1),
        ({"attempts": 30, "backoff": {"type": "exponential", "delay": 1}}, 0),
        ({"attempts": 40, "backoff": {"type": "exponential", "delay": 1}}, 1),
        ({"attempts": 3, "backoff": {"type": "own"}}, 1),
        ({"attempts": 1, "backoff": {"type": "own"}}, 0),
        ({"attempts": 0}, 0),
        ({"attempts": -5}, 0),
        ({"attempts": "3"}, 0),
    ],
)
def test_what_is_not_as_it_was_is_said(options: dict[str, Any], whys: int) -> None:
    said: list[str] = []
    retry_of(options, BULLMQ, said)
    assert len(said) == whys


def test_no_wait_is_the_shortest() -> None:
    for options in ({"attempts": 2}, {"attempts": 2, "backoff": 0}, {"attempts": 2, "backoff": {"type": "fixed"}}):
        policy = retry_of(options, BULL, [])
        assert (policy.backoff, policy.delay_after(1)) == (Backoff.FIXED, MS)


@pytest.mark.parametrize(
    ("said", "timeout", "whys"),
    [(None, None, 0), (0, None, 0), (1, MS, 0), (0.5, MS, 1), (-3, MS, 1), (2_592_000_001, timedelta(days=30), 1)],
)
def test_timeouts(said: float | None, timeout: timedelta | None, whys: int) -> None:
    why: list[str] = []
    assert timeout_of({"timeout": said}, BULL, why) == timeout
    assert len(why) == whys
    assert timeout_of({"timeout": said}, BULLMQ, why) is None


@pytest.mark.parametrize(
    ("said", "kept", "whys"),
    [
        (None, timedelta(days=1), 0),
        (False, timedelta(days=1), 0),
        (True, timedelta(0), 0),
        (0, timedelta(0), 0),
        (3, timedelta(days=1), 1),
        ({"age": 90}, timedelta(seconds=90), 0),
        ({"age": 0}, timedelta(0), 0),
        ({"age": 90, "count": 2}, timedelta(seconds=90), 1),
        ({"count": 0}, timedelta(0), 0),
        ({"age": 1e12}, timedelta(days=3653), 0),
        ("x", timedelta(days=1), 0),
    ],
)
def test_retentions(said: object, kept: timedelta, whys: int) -> None:
    why: list[str] = []
    assert retention_of({"removeOnComplete": said}, why).completed_for == kept
    assert len(why) == whys
