"""Handlers read the results of the jobs that theirs waited for: in a server and in a worker, each kind of handler."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import TESTS, Server
from support.stores import StoreBackend
from tocsin import Client, DependsOn, JobRequest
from tocsin_server.security.principals import hash_of

HANDLERS = "support.jobs.adding"
KINDS = ("add_on_loop", "add_in_thread", "add_in_process", "add_in_process_on_loop")


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Starts `tocsin worker` with these words; it is killed at the test's end."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(*words: str, **env: str) -> None:
        command = [sys.executable, "-m", "tocsin.cli.main", "worker", HANDLERS, *words]
        with (tmp_path / "worker.log").open("ab") as log:
            workers.append(
                subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(TESTS)} | env, stdout=log, stderr=log)
            )

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


def check_each_kind(client: Client) -> None:
    parents = [client.schedule("number", {"n": n}, queue="q" if n else "other", job_id=f"p{n}") for n in range(3)]
    gone = client.schedule("number", {"n": 100}, queue="q", job_id="gone", delay=3600)
    for kind in KINDS:
        client.schedule(kind, queue="q", job_id=kind, delay=3600, depends_on=DependsOn([*parents, gone], "RUN"))
    client.cancel(gone)
    for kind in KINDS:
        until(lambda kind=kind: client.get(kind, queue="q").state == "SCHEDULED", within=20)
    client.delete(gone)
    for kind in KINDS:
        child = client.wait(client.run(kind, queue="q"), timeout=60)
        assert (child.state, child.result) == ("COMPLETED", {"ids": ["p0", "p1", "p2", None], "sum": 3}), kind
    alone = client.wait(client.schedule("add_in_thread"), timeout=20)
    assert alone.result == {"ids": [], "sum": 0}
    first = client.schedule("number", {"n": 5}, job_id="first", on_end=JobRequest("add_on_loop"))
    assert first.on_end is not None
    assert client.wait(first.on_end, timeout=20).result == {"ids": ["first"], "sum": 5}


def test_handlers_of_the_server_read_them(store: StoreBackend, serve: Callable[..., Server]) -> None:
    server = serve(store.url, handlers=HANDLERS)
    with Client(server.address) as client:
        check_each_kind(client)
        looks = client.schedule("number", {"n": 1}, on_end=JobRequest("looks_on_loop"))
        assert looks.on_end is not None
        until(lambda: client.get(looks.on_end).errors, within=20)
        assert "await job.parents()" in client.get(looks.on_end).errors[0].message


def test_handlers_of_a_worker_read_them(
    redis: RedisBackend, serve: Callable[..., Server], work: Callable[..., None]
) -> None:
    server = serve(redis.url, "--no-dispatch")
    work("--server", server.address)
    with Client(server.address) as client:
        check_each_kind(client)


PRINCIPALS = f"""
[[principal]]
name = "root"
scopes = ["read", "read_payload", "schedule", "operate", "work"]
[[principal.token]]
id = "3fa91c"
sha256 = "{hash_of("t-root")}"

[[principal]]
name = "worker"
scopes = ["work"]
[[principal.token]]
id = "3fa91d"
sha256 = "{hash_of("t-worker")}"
"""


def test_a_worker_reads_what_its_token_may(
    redis: RedisBackend, serve: Callable[..., Server], work: Callable[..., None], tmp_path: Path
) -> None:
    principals = tmp_path / "principals.toml"
    principals.write_text(PRINCIPALS)
    principals.chmod(0o600)
    server = serve(redis.url, "--no-dispatch", TOCSIN_AUTH__PRINCIPALS_FILE=str(principals))
    work("--server", server.address, TOCSIN_TOKEN="t-worker")
    with Client(server.address, token="t-root") as client:
        parent = client.schedule("number", {"n": 1})
        for kind in ("add_on_loop", "add_in_process"):
            child = client.schedule(kind, depends_on=DependsOn([parent], "RUN"))
            until(lambda child=child: client.get(child).errors, within=30)
            error = client.get(child).errors[0]
            assert error.type.endswith("ParentsUnread")
            assert "scope" in error.message
