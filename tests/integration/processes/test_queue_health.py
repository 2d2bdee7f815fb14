"""Queue health answers when it is needed most, and says what is wrong."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import State, Stubs
from tocsin import Client


@pytest.mark.parametrize("how", ["frozen", "gone"])
def test_a_store_that_does_not_answer_is_an_answer_and_a_quick_one(
    how: str, redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, TOCSIN_TICK="500ms")
    with Client(server.address) as tocsin:
        assert tocsin.queue_health("q").healthy
        # What it says is when the store answered last, which was some ticks before.
        before = datetime.now(UTC) - timedelta(seconds=2)
        os.kill(redis.pid, signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
        try:
            first = tocsin.queue_health("q", deadline=20)  # the server does not know it yet, perhaps
            assert (first.healthy, first.error.startswith("the store does not answer")) == (False, True)
            assert not first.message.HasField("counts")
            assert not first.message.HasField("as_of")
            until(lambda: " since " in tocsin.queue_health("q", deadline=20).error, within=20)
            begun = time.monotonic()
            later = tocsin.queue_health("q")
            assert time.monotonic() - begun < 0.5
            since = datetime.strptime(later.error.split(" since ")[1][:8], "%H:%M:%S").time()
            assert before.time().replace(microsecond=0) <= since <= datetime.now(UTC).time()
        finally:
            if how == "frozen":
                os.kill(redis.pid, signal.SIGCONT)
        if how == "frozen":
            until(lambda: tocsin.queue_health("q", deadline=20).healthy, within=20)


def test_a_queue_in_which_most_jobs_fail_has_a_warning_that_names_their_types(
    redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, handlers="support.jobs.everyday")
    with Stubs(server.address) as stubs:
        for number in range(8):
            stubs.schedule("sick", "fails_for_good", job_id=f"bad-{number}")
        for number in range(8):
            stubs.wait_for("sick", f"bad-{number}", State.FAILED)
        health = stubs.health("sick")
    assert health.healthy
    assert [line for line in health.warnings if "failed" in line] == [
        "100% of the attempts of the last five minutes failed; FAILED stand: fails_for_good 8; look at their errors"
    ]
