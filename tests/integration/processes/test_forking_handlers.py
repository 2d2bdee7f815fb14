"""Handlers that fork: neither their processes nor the ends of those reach the server."""

from __future__ import annotations

import signal
from collections.abc import Callable

from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import State, Stubs
from tocsin.payloads import python_from_value

#: A pool's processes run Python in a fork of many threads, which may hang in a lock that another one held; so that is
#: tried only where there are few.
WAYS = [
    *((kind, "terminated", -signal.SIGTERM) for kind in ("thread", "loop", "process")),
    *((kind, way, 0) for kind in ("thread", "process") for way in ("forked", "forked_and_raised")),
    ("process", "pool", [1, 2]),
]


def test_what_handlers_fork_ends_without_the_server_taking_notice(
    redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, handlers="support.jobs.forking", GRPC_ENABLE_FORK_SUPPORT="0")
    with Stubs(server.address) as stubs:
        for kind, way, _ in WAYS:
            stubs.schedule("forks", kind, job_id=f"{kind}-{way}", data={"way": way})
        for kind, way, wanted in WAYS:
            job = stubs.wait_for("forks", f"{kind}-{way}", within=40)
            assert (job.state, job.attempt) == (State.COMPLETED, 1), job
            assert python_from_value(job.result.data) == wanted
    assert server.process is not None
    assert server.process.poll() is None, server.said()
    assert "stopping" not in server.said(50_000)
    assert server.stop() == 0
    assert server.said(50_000).count('"stopping"') == 1, "asked once, by this test"
