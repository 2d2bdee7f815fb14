"""The estimate of the store's clock is never ahead of it, and follows it wherever it goes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.operations.store_clock import StoreClock

HOUR = timedelta(hours=1)


def cut(now: datetime) -> datetime:
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def test_a_clock_set_far_away_is_followed() -> None:
    clock = StoreClock()
    for skew in (HOUR, -HOUR, timedelta(0)):
        store_now = cut(datetime.now(UTC) + skew)
        clock.heard(store_now, time.monotonic())
        assert abs(clock.now() - store_now) < timedelta(seconds=0.1)


@given(waits=st.lists(st.floats(0, 5), min_size=1, max_size=20))
def test_slow_answers_make_it_neither_early_nor_later_than_the_quickest_did(waits: list[float]) -> None:
    clock = StoreClock()
    true = datetime.now(UTC)
    at = time.monotonic()
    # The store reads its clock in the middle of the wait; the answer is heard now.
    lags = []
    for wait in waits:
        now = time.monotonic()
        there = true + timedelta(seconds=now - at - wait / 2)
        clock.heard(cut(there), now - wait)
        lags.append(wait / 2)
    truth = true + timedelta(seconds=time.monotonic() - at)
    behind = (truth - clock.now()).total_seconds()
    assert -0.001 < behind < min(lags) + 0.1


def test_until_it_is_heard_this_machines_clock_stands_in() -> None:
    assert abs(StoreClock().seconds_until(datetime.now(UTC) + HOUR) - 3600) < 1
