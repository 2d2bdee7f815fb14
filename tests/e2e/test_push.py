"""Jobs that are HTTP requests, and jobs that are sent to a push target, through a real server and store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from support.http_target import HttpTarget, Reply, http_target
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client, HttpRequest

SECRET = "orders-secret-of-2026"
StartServer = Callable[..., Server]


@dataclass(frozen=True, slots=True)
class Scene:
    client: Client
    target: HttpTarget


@pytest.fixture
def scene(redis: RedisBackend, serve: StartServer, journal: Journal) -> Iterator[Scene]:
    """A server that may send to this machine, with handlers of its own, and something to send to."""
    env = {"TOCSIN_HTTP__ALLOW": "127.0.0.1", "TOCSIN_HTTP__SECRETS": f"orders={SECRET}"}
    server = serve(redis.url, handlers="support.jobs.tuned", **env, **journal.env)
    with http_target() as target, Client(server.address) as client:
        yield Scene(client, target)


def test_an_http_request_is_made_and_its_answer_is_the_result(scene: Scene) -> None:
    scene.target.replies.append(Reply(body={"paid": [1, None, "é"]}))
    request = HttpRequest(
        url=f"{scene.target.url}/pay?order=7",
        method="PUT",
        headers={"X-Team": "orders"},
        body=b"{}",
        secret_ref="orders",
    )
    job = scene.client.wait(scene.client.schedule(request, job_id="pay ü/7"), timeout=20)
    assert (job.state, job.result) == ("COMPLETED", {"paid": [1, None, "é"]})
    [received] = scene.target.received
    assert (received.method, received.path, received.body) == ("PUT", "/pay?order=7", b"{}")
    headers = received.headers
    assert headers["x-team"] == "orders"
    assert headers["tocsin-signature"].startswith("t=")
    assert headers["host"] == scene.target.url.removeprefix("http://")
    about = {name: headers[f"tocsin-{name}"] for name in ("queue", "job-id", "type", "attempt")}
    assert about == {"queue": "default", "job-id": "pay%20%C3%BC/7", "type": "http_request", "attempt": "1"}
