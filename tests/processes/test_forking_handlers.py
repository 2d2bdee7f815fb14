"""Handlers that fork: neither their processes nor the ends of those reach the server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from support.redis_parts import RedisPart
from support.servers import Server
from support.stubs import State, Stubs


WAYS = {"pool": [1, 2], "terminated": -signal.SIGTERM, "forked": 0, "forked_and_raised": 0}


def test_what_handlers_fork_ends_without_the_server_taking_notice(
    redis: RedisPart, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, handlers="support.jobs.forking")
    with Stubs(server.address) as stubs:
        for kind in ("thread", "loop", "process"):
            for way in WAYS:
                stubs.schedule("forks", kind, job_id=f"{kind}-{way}", data={"way": way})
        for kind in ("thread", "loop", "process"):
            for way, wanted in WAYS.items():
                job = stubs.wait_for("forks", f"{kind}-{way}", within=40)
                assert (job.state, job.attempt) == (State.COMPLETED, 1), (kind, way, job.errors)
    assert server.process is not None
    assert server.process.poll() is None, server.said()
    assert "stopping" not in server.said(50_000)
    assert server.stop() == 0
    assert server.said(50_000).count('"stopping"') == 1, "asked once, by this test"


def test_a_forked_child_that_lives_on_does_not_keep_the_servers_port(
    redis: RedisPart, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, handlers="support.jobs.forking")
    with Stubs(server.address) as stubs:
        stubs.schedule("forks", "child_of_ours", job_id="one")
        child = int(stubs.wait_for("forks", "one").result.data.number_value)
        assert child > 1
        try:
            server.kill()
            server.restart()
            for number in range(8):  # a port that two listen at gives each a share of the connections
                with Stubs(server.address) as again:
                    again.schedule("forks", "thread", {"way": "forked"}, job_id=str(number))
            os.kill(child, 0)  # it lives
        finally:
            os.kill(child, signal.SIGKILL)
