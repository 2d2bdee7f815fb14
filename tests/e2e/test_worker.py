"""Workers in processes of their own, on real servers: handlers of all kinds, drains, servers that go, and programs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from support.eventually import until
from support.jobs import worked
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import TESTS, Server
from support.stores import StoreBackend
from tocsin import Client, Job, RetryPolicy, Worker

StartServer = Callable[..., Server]
StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def start(tmp_path: Path, journal: Journal) -> Iterator[StartWorker]:
    """`start("support.jobs.worked", "--server", ...)` is `tocsin worker` with these words; killed at the test's end."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        environment = os.environ | journal.env | {"PYTHONPATH": str(TESTS)}
        with (tmp_path / "worker.log").open("ab") as log:
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tocsin.cli.main", "worker", *words], env=environment, stdout=log, stderr=log
                )
            )
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


def state(client: Client, job_id: str, wanted: str) -> bool:
    return client.get(job_id).state == wanted


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_handlers_of_all_kinds_run_unchanged_in_a_worker(
    store: StoreBackend, serve: StartServer, start: StartWorker
) -> None:
    address = serve(store.url, "--no-dispatch").address
    start("support.jobs.worked", "--server", address, "--name", "all-kinds")
    kinds = {
        "on_loop": ("info", "on a loop"),
        "in_thread": ("warning", "in a thread"),
        "in_process": ("error", "in a process"),
    }
    with Client(address) as client:
        jobs = {kind: client.schedule(kind, {"n": 1, "ä": [None]}) for kind in kinds}
        added = client.schedule("sum", worked.Sum([1, 2, 3]))
        for kind, job in jobs.items():
            done = client.wait(job, timeout=60)
            assert (done.state, done.result, done.attempt) == ("COMPLETED", {"n": 1, "ä": [None]}, 1)
            assert [(line.level, line.text) for line in client.logs(job)] == [kinds[kind]]
        assert client.wait(added, timeout=30).result == 6
        misfit = client.wait(client.schedule("sum", {"numbers": ["s3cret"]}), timeout=30)
        assert (misfit.state, misfit.errors[-1].type) == ("FAILED", "INVALID_PAYLOAD")
        assert "numbers[0]" in misfit.errors[-1].message
        assert "s3cret" not in misfit.errors[-1].message


@pytest.mark.parametrize("where", ["worker", "server"])
def test_a_handler_gives_its_job_back(where: str, store: StoreBackend, serve: StartServer, start: StartWorker) -> None:
    if where == "server":
        server = serve(store.url, handlers="support.jobs.worked", TOCSIN_LOG__LEVEL="debug")
    else:
        server = serve(store.url, "--no-dispatch", TOCSIN_LOG__LEVEL="debug")
        start("support.jobs.worked", "--server", server.address)
    with Client(server.address) as client:
        once = RetryPolicy(max_attempts=1)
        kinds = [client.schedule(f"release_{kind}", retry=once) for kind in ("on_loop", "in_thread", "in_process")]
        for job in kinds:
            done = client.wait(job, timeout=60)
            assert (done.state, done.attempt, done.failures, done.result) == ("COMPLETED", 2, 0, 2)
    given_back = [line for line in server.log.read_text().splitlines() if "attempt_given_back" in line]
    assert len(given_back) == len(kinds)
    assert all("no room here" in line for line in given_back)


def test_sigterm_lets_jobs_end_gives_back_the_rest_and_exits_0(
    store: StoreBackend, serve: StartServer, start: StartWorker, journal: Journal
) -> None:
    address = serve(store.url, "--no-dispatch").address
    worker = start("support.jobs.worked", "--server", address, "--grace", "2s")
    with Client(address) as client:
        ends, goes_on = (client.schedule("lasts", {"seconds": seconds}) for seconds in (1.5, 1000))
        until(lambda: journal.starts().keys() == {ends.job_id, goes_on.job_id}, within=30)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
        assert state(client, ends.job_id, "COMPLETED")
        given_back = client.get(goes_on.job_id)
        assert (given_back.state, given_back.failures, given_back.crashes) == ("WAITING", 0, 0)
        start("support.jobs.worked", "--server", address)
        until(lambda: journal.starts()[goes_on.job_id] == 2, within=30)


def test_a_server_that_is_killed_costs_no_attempt_where_there_is_another(
    redis: RedisBackend, serve: StartServer, start: StartWorker, journal: Journal, tmp_path: Path
) -> None:
    first = serve(redis.url, "--no-dispatch")
    second = Server(tmp_path / "second", ["--no-dispatch"], {"REDIS_URL": redis.url})
    start("support.jobs.worked", "--server", f"{first.address},{second.address}")
    try:
        with Client(first.address) as client:
            until(lambda: any(client.workers(type="lasts")), within=30)  # at the first: there is no other yet
            second.start()
            goes_on = client.schedule("lasts", {"seconds": 5})
            until(lambda: journal.starts()[goes_on.job_id], within=30)
        first.kill()
        with Client(second.address) as client:
            done = client.wait(goes_on, timeout=60)
            assert (done.state, done.attempt, done.crashes) == ("COMPLETED", 1, 0)
            assert client.wait(client.schedule("on_loop"), timeout=30).state == "COMPLETED"
        assert journal.starts() == {goes_on.job_id: 1}
    finally:
        second.kill()


async def test_a_server_that_drains_hands_its_workers_on(redis: RedisBackend, serve: StartServer) -> None:
    servers = [serve(redis.url, "--no-dispatch") for _ in range(2)]
    worker = Worker([server.address for server in servers], worked.handlers, grace=0)
    running = asyncio.create_task(worker.run_async())

    def rounds() -> list[Job]:
        done = []
        for server, other in (servers, reversed(servers)):
            with Client(other.address) as client:
                lasting = client.schedule("lasts", {"seconds": 3})
                until(partial(state, client, lasting.job_id, "ACTIVE"), within=30)
                server.stop()
                done.append(client.wait(lasting, timeout=30))
                server.start()
        return done

    for job in await asyncio.to_thread(rounds):
        assert (job.state, job.attempt) == ("COMPLETED", 1)
    worker.stop()
    await running


def test_a_program_runs_jobs_and_its_group_ends_with_a_cancel_and_a_timeout(
    redis: RedisBackend, serve: StartServer, start: StartWorker, tmp_path: Path
) -> None:
    script = tmp_path / "job.sh"
    script.write_text(
        "#!/bin/sh\n"
        "input=$(cat)\n"
        'case "$TOCSIN_TYPE" in\n'
        '  short) echo "note of $TOCSIN_JOB_ID" >&2; echo "$input" ;;\n'
        "  fails) echo no disk >&2; exit 75 ;;\n"
        f'  long) sleep 1000 & echo $! > "{tmp_path}/$TOCSIN_JOB_ID.new"; '
        f'mv "{tmp_path}/$TOCSIN_JOB_ID.new" "{tmp_path}/$TOCSIN_JOB_ID"; wait ;;\n'
        "esac\n"
    )
    script.chmod(0o755)
    address = serve(redis.url, "--no-dispatch").address
    types = [word for name in ("short", "fails", "long") for word in ("--type", name)]
    worker = start("exec", "--server", address, "--concurrency", "4", *types, "--", str(script))
    with Client(address) as client:
        short = client.wait(client.schedule("short", {"path": "ä"}), timeout=30)
        assert short.result == {"path": "ä"}
        assert [line.text for line in client.logs(short)] == [f"note of {short.job_id}"]
        fails = client.schedule("fails", retry=RetryPolicy(max_attempts=2, initial_delay=timedelta(milliseconds=10)))
        failed = client.wait(fails, timeout=30)
        assert (failed.state, failed.failures) == ("FAILED", 2)
        assert failed.errors[-1].message == "exited with code 75: no disk"

        timed = client.schedule("long", job_id="timed", timeout=1)
        cancelled = client.schedule("long", job_id="cancelled")
        children = {}
        for job in (timed, cancelled):
            until((tmp_path / job.job_id).exists, within=30)
            children[job.job_id] = int((tmp_path / job.job_id).read_text())
        client.cancel(cancelled, reason="moved")
        assert client.wait(cancelled, timeout=30).state == "CANCELLED"
        until(lambda: client.get(timed).failures >= 1, within=30)
        assert client.get(timed).errors[0].type == "TIMEOUT"
        for child in children.values():
            until(partial(gone, child), within=10)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
