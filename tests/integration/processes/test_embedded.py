"""The server and its own Valkey: they go and come together, and no acknowledged job is lost between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2
from redis import Redis
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client, TocsinError

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Servers in one folder, on one data folder there; killed at the end."""
    servers: list[Server] = []

    def make(*flags: str) -> Server:
        servers.append(Server(tmp_path, flags, program=(sys.executable, "-m", "tocsin_server")))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


def store_pid(folder: Path) -> int:
    return int((folder / ".tocsin" / "valkey.lock").read_text())


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_with_nothing_configured_jobs_are_kept_in_a_store_of_the_server_itself(
    make: Callable[..., Server], tmp_path: Path
) -> None:
    server = make().start()
    with Client(server.address) as tocsin:
        info = tocsin.server_info()
        assert info.store_embedded
        tocsin.schedule("later", {}, delay=3600, job_id="kept")
    pid = store_pid(tmp_path)
    assert server.stop() == 0
    assert not runs(pid)
    server.start()
    with Client(server.address) as tocsin:
        assert tocsin.get("kept").state == "SCHEDULED"


def test_after_a_kill_the_store_is_gone_and_a_start_at_once_finds_every_acknowledged_job(
    make: Callable[..., Server], tmp_path: Path
) -> None:
    server = make().start()
    acknowledged = []
    with Client(server.address) as tocsin:
        acknowledged = [tocsin.schedule("later", {}, delay=3600).job_id for _ in range(100)]
    pid = store_pid(tmp_path)
    server.kill()
    again = make().launch()
    until(lambda: not runs(pid), within=5)
    again.wait_health(SERVING)
    with Client(again.address) as tocsin:
        assert {job.job_id for job in tocsin.list()} >= set(acknowledged)


def test_a_second_server_on_the_folder_exits_2_and_names_the_pid_that_has_it(make: Callable[..., Server]) -> None:
    first = make().start()
    second = make().launch()
    assert second.wait(20) == 2
    [line] = second.said().strip().splitlines()
    assert f"pid {first.pid}" in line


def test_a_store_that_dies_is_started_again_and_the_server_goes_on(make: Callable[..., Server], tmp_path: Path) -> None:
    server = make().start()
    with Client(server.address) as tocsin:
        job = tocsin.schedule("later", {}, delay=3600)
        # A Valkey that syncs every second may put off a write while its disk is slow; what is on disk must come back.
        with Redis(unix_socket_path=str(tmp_path / ".tocsin" / "valkey.sock")) as store:
            assert store.execute_command("WAITAOF", 1, 0, 10_000)[0] == 1
        os.kill(store_pid(tmp_path), signal.SIGKILL)

        def found() -> bool:
            try:
                return tocsin.get(job.job_id).state == "SCHEDULED"
            except TocsinError:
                return False

        until(found, within=30)
    server.wait_health(SERVING)
    assert server.stop() == 0


def test_while_its_store_is_away_a_server_is_alive_but_not_ready_and_comes_back_alone(
    make: Callable[..., Server], redis: RedisBackend
) -> None:
    server = make("--redis-url", redis.url).start()
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        server.wait_health(NOT_SERVING, timeout=10)
        server.wait_health(SERVING, timeout=5, service="live")
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    server.wait_health(SERVING, timeout=10)


def test_a_wrong_setting_exits_2_with_one_line_that_names_the_flag(make: Callable[..., Server]) -> None:
    server = make("--lease", "0.1s").launch()
    assert server.wait(20) == 2
    [line] = server.said().strip().splitlines()
    assert line.startswith("tocsin serve: --lease: ")


def test_a_port_that_is_taken_exits_2_and_leaves_no_store_behind(make: Callable[..., Server], tmp_path: Path) -> None:
    first = make("--data", str(tmp_path / "other")).start()
    second = make()
    second.port = first.port
    assert second.launch().wait(20) == 2
    assert "another program has the port" in second.said()
    assert not runs(store_pid(tmp_path))


def test_a_stop_before_the_store_answers_ends_with_0(make: Callable[..., Server]) -> None:
    server = make("--redis-url", "redis://127.0.0.1:1").launch()
    until(lambda: "waiting for it" in server.said(), within=20)
    assert server.stop() == 0


def test_dev_never_runs_the_jobs_of_a_store_that_the_environment_names(tmp_path: Path) -> None:
    environ = {"REDIS_URL": "redis://production.example", "QUEUE_PROVIDER": "redis"}
    server = Server(tmp_path, env=environ, command="dev", program=(sys.executable, "-m", "tocsin_server")).start()
    with Client(server.address) as tocsin:
        assert tocsin.server_info().store_embedded
    assert server.stop() == 0


def test_dev_is_not_for_others_to_reach(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tocsin_server", "dev", "--listen", "0.0.0.0:0"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert refused.returncode == 2
    assert "can be reached from outside" in refused.stderr
