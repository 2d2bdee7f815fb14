"""`tocsin serve --processes N`: one address, one store, and whatever dies is started again."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.eventually import until
from support.journal import Journal
from support.ports import free_port
from support.scraping import until_told
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import State, Stubs
from tocsin.v1 import server_service_pb2 as pb
from tocsin.v1 import server_service_pb2_grpc as rpc

TWO = ("--processes", "2")


def children(server: Server) -> set[int]:
    """The processes that it has started."""
    listed = subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True, check=False)
    found = set(map(int, listed.stdout.split()))
    return {pid for pid in found if b"tocsin_server.cli.processes" in command_of(pid)}


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def gone(pid: int) -> bool:
    return not command_of(pid)


def serving(address: str) -> set[str]:
    """The names of the servers that answer there, over 30 connections of their own."""
    names = set()
    for _ in range(30):
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            info = rpc.ServerServiceStub(channel).GetServerInfo
            names.add(info(pb.GetServerInfoRequest(), wait_for_ready=True, timeout=30).server)
    return names


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Server]]:
    """Servers of a test's own; all are stopped at its end."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.kill()


def test_two_serve_on_one_address_and_run_jobs_beside_each_other(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    server = serve(store.url, *TWO, "--concurrency", "6", handlers="support.jobs.long", **journal.env)
    until(lambda: len(serving(server.address)) == 2, within=30, what="two servers")
    with Stubs(server.address) as stubs:
        for number in range(12):
            stubs.schedule("several", "gated", job_id=str(number))
        until(lambda: len(journal.lines("start")) == 12, within=20, what="twelve running")
        by_process = Counter(line.pid for line in journal.lines("start"))
        assert by_process == dict.fromkeys(children(server), 6)


def test_one_that_is_killed_is_started_again_and_its_jobs_run(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    server = serve(store.url, *TWO, "--lease", "2s", handlers="support.jobs.everyday", **journal.env)
    until(lambda: len(serving(server.address)) == 2, within=30, what="two servers")
    with Stubs(server.address) as stubs:
        for number in range(20):
            stubs.schedule("several", "half_a_second", job_id=str(number))
        until(lambda: len({line.pid for line in journal.lines("start")}) == 2, within=20, what="jobs in both")
        killed = journal.lines("start")[0].pid
        before = children(server)
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(children(server) - before) == 1, within=30, what="another process")
        until(lambda: len(serving(server.address)) == 2, within=30, what="two servers again")
    with Stubs(server.address) as stubs:
        for number in range(20):
            assert stubs.wait_for("several", str(number)).state == State.COMPLETED
    assert "a server process ended, starting another" in server.said(100_000)


def test_sigterm_stops_all_with_their_grace(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    server = serve(store.url, *TWO, handlers="support.jobs.everyday", TOCSIN_DRAIN__GRACE="20s", **journal.env)
    until(lambda: len(children(server)) == 2, within=30)
    with Stubs(server.address) as stubs:
        stubs.schedule("several", "half_a_second", job_id="one")
        until(lambda: journal.lines("start"), within=10)
    processes = children(server)
    assert server.stop() == 0
    assert all(map(gone, processes))
    assert [line.event for line in journal.lines("end")] == ["end"]


def test_where_their_parent_is_killed_they_stop_by_themselves(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal
) -> None:
    server = serve(store.url, *TWO, handlers="support.jobs.everyday", **journal.env)
    until(lambda: len(children(server)) == 2, within=30)
    with Stubs(server.address) as stubs:
        stubs.schedule("several", "half_a_second", job_id="one")
        until(lambda: journal.lines("start"), within=10)
    processes = children(server)
    server.kill()
    until(lambda: all(map(gone, processes)), within=30, what="the end of all")
    assert [line.event for line in journal.lines("end")] == ["end"], "what ran had its grace"


def test_an_embedded_store_is_shared_and_outlives_each_of_them(tmp_path: Path, started: list[Server]) -> None:
    server = Server(tmp_path, [*TWO, "--data", str(tmp_path / "data")])
    started.append(server)
    server.start()
    until(lambda: len(serving(server.address)) == 2, within=30, what="two servers")
    with Stubs(server.address) as stubs:
        stubs.schedule("several", "later", job_id="kept", delay=3600)
    before = children(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(children(server) - before) == 2, within=30, what="two others")
    until(lambda: len(serving(server.address)) == 2, within=30, what="two servers again")
    with Stubs(server.address) as stubs:
        assert stubs.get("several", "kept").state == State.SCHEDULED
    assert server.stop() == 0


def test_what_is_wrong_is_said_once_and_nothing_is_left(tmp_path: Path) -> None:
    done = run(tmp_path, "--handlers", "no.such.module")
    assert done.returncode == 2
    assert done.stdout.count("no.such.module") == 1, done.stdout


def test_a_port_that_another_program_has_is_refused(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = run(tmp_path, listen=f"127.0.0.1:{other.getsockname()[1]}")
    assert (done.returncode, "another program has the port" in done.stdout) == (2, True), done.stdout


def run(folder: Path, *flags: str, listen: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tocsin_server", "serve", *TWO, "--data", str(folder / "data"), *flags]
    return subprocess.run(
        [*command, "--listen", listen or f"127.0.0.1:{free_port()}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        timeout=60,
        check=False,
    )


def two_free_ports() -> int:
    """A free port after which the next one is free, too."""
    while True:
        port = free_port()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port + 1))
            return port


def test_each_process_tells_metrics_of_its_own(store: StoreBackend, serve: Callable[..., Server]) -> None:
    port = two_free_ports()
    server = serve(store.url, *TWO, TOCSIN_METRICS__LISTEN=f"127.0.0.1:{port}")
    until(lambda: len(serving(server.address)) == 2, within=30, what="two servers")
    told = [
        until_told(f"127.0.0.1:{one}", "it is ready", lambda told: told["tocsin_ready",] == 1)
        for one in (port, port + 1)
    ]
    assert told[0]["process_start_time_seconds",] != told[1]["process_start_time_seconds",]
    assert told[0]["tocsin_slots", "handlers"] == told[1]["tocsin_slots", "handlers"] == 20


def test_probes_have_a_port_of_their_own_that_all_share(store: StoreBackend, serve: Callable[..., Server]) -> None:
    probes = free_port()
    server = serve(store.url, *TWO, "--no-dispatch", TOCSIN_HEALTH_LISTEN=f"127.0.0.1:{probes}")
    until(lambda: len(serving(server.address)) == 2, within=60, what="two servers")

    def is_ready(channel: grpc.Channel) -> bool:  # each process is by itself, once it has read its store
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    for _ in range(10):
        with grpc.insecure_channel(f"127.0.0.1:{probes}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            until(functools.partial(is_ready, channel), within=30, what="a process that serves")
            with pytest.raises(grpc.RpcError) as refused:
                rpc.ServerServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), timeout=30)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
