"""Connections that end by their age are not seen by who uses the client, and a public address is warned of."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.redis_backend import RedisBackend
from support.servers import TESTS, Server
from support.stores import store_settings
from tocsin import AsyncClient, Client, State

PUBLIC = "can be reached from other machines"


async def test_nothing_is_seen_of_connections_that_end_by_their_age(
    redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_CONNECTIONS__MAX_AGE="2s", TOCSIN_CONNECTIONS__MAX_AGE_GRACE="1s")
    seen: list[str] = []
    watching = asyncio.Event()
    async with AsyncClient(server.address) as client:
        stands = await client.schedule("t", queue="q", job_id="last", delay=3600)

        async def watch() -> None:
            async for change in client.watch(queue="q"):
                assert not change.gap, "changes were missed"
                assert change.job is not None
                if change.job.job_id == "last":
                    return
                seen.append(change.job.job_id)
                watching.set()

        watched = asyncio.create_task(watch())
        waited = asyncio.create_task(client.wait("last", queue="q", timeout=60))
        number = 0
        while not watching.is_set():  # until the watch stands
            await client.schedule("t", queue="q", job_id=f"before{number}", delay=3600)
            number += 1
        began, asked = asyncio.get_running_loop().time(), 0
        while asyncio.get_running_loop().time() - began < 8 or asked < 500:
            # Each once, and without an id that would let it be repeated: none of them may be lost.
            await client.schedule("t", queue="q", job_id=f"during{asked}", delay=3600)
            assert (await client.get(stands, queue="q")).state is State.SCHEDULED
            asked += 2
        await client.cancel("last", queue="q")
        await asyncio.wait_for(watched, 30)
        assert (await waited).state is State.CANCELLED
    assert [name for name in seen if name.startswith("during")] == [f"during{n}" for n in range(0, asked, 2)]


def test_a_worker_and_who_schedules_for_it_see_nothing_of_connections_that_end_by_their_age(
    redis: RedisBackend, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_CONNECTIONS__MAX_AGE="5s", TOCSIN_CONNECTIONS__MAX_AGE_GRACE="1s")
    said = tmp_path / "worker.log"
    command = [sys.executable, "-m", "tocsin.cli.main", "worker", "run", "support.jobs.everyday"]
    with said.open("wb") as log:
        env = os.environ | {"PYTHONPATH": str(TESTS)}
        worker = subprocess.Popen(
            [*command, "--server", server.address, "--log-level", "warning"], env=env, stdout=log, stderr=log
        )
    try:
        with Client(server.address) as client:
            began, jobs, twice = time.monotonic(), 0, 0
            while time.monotonic() - began < 14:  # connections of two ages, and a third's beginning
                done = client.wait(client.schedule("echo", {"number": jobs}), timeout=30)
                assert (done.state, done.failures, done.crashes) == (State.COMPLETED, 0, 0)
                twice += done.attempt > 1
                jobs += 1
        assert twice <= 2  # granted to a stream in the moment of its end, and to the next one then
        assert jobs > 100
        assert worker.poll() is None
    finally:
        worker.terminate()
        assert worker.wait(30) == 0
    assert said.read_text() == ""  # not a warning
    assert [line for line in server.said(100_000).splitlines() if '"error"' in line] == []


def frames(connection: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """HTTP/2 frames until the other side closes: kind, flags, what they hold."""
    with connection.makefile("rb") as incoming:
        while len(head := incoming.read(9)) == 9:
            yield head[3], head[4], incoming.read(int.from_bytes(head[:3], "big"))


def test_a_connection_that_only_answers_pings_is_closed(redis: RedisBackend, serve: Callable[..., Server]) -> None:
    server = serve(redis.url, "--no-dispatch", TOCSIN_CONNECTIONS__MAX_IDLE="1s")
    settings, ping, goaway, ack = 4, 6, 7, b"\x01"
    kinds = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, settings, 0, 0, 0, 0, 0]))
        for kind, flags, body in frames(connection):
            kinds.append(kind)
            if kind in (settings, ping) and not flags & 1:
                held = body if kind == ping else b""
                with contextlib.suppress(OSError):  # closed by then: the end of what comes is seen
                    connection.sendall(bytes([0, 0, len(held), kind]) + ack + bytes(4) + held)
    assert settings in kinds
    assert goaway in kinds
    assert server.stop() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "192.0.2.1", "no-such-host.invalid"])
def test_a_port_that_cannot_be_had_is_told_in_one_line_with_the_way_out(tmp_path: Path, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"{host}:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "tocsin_server", "serve", "--listen", listen, "--data", str(tmp_path / "data")]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    said = [line for line in (done.stdout + done.stderr).splitlines() if listen in line and "cannot listen" in line]
    assert len(said) == 1
    assert said[0].startswith(f"tocsin serve: cannot listen on {listen}: ")
    assert said[0].endswith("name another one with --listen HOST:PORT")
    assert "add_port" not in done.stderr + done.stdout


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)])
def test_an_address_that_others_can_reach_is_warned_of(
    redis: RedisBackend, tmp_path: Path, host: str, warned: bool
) -> None:
    server = Server(tmp_path, env={**store_settings(redis.url), "TOCSIN_LOG__FORMAT": "json"})
    server.flags = ["--no-dispatch", "--listen", f"{host}:{server.port}"]  # the later --listen holds
    try:
        server.start()
    finally:
        server.kill()
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    warnings = [line["event"] for line in lines if line["level"] == "warning" and PUBLIC in line["event"]]
    assert len(warnings) == warned
    if warned:
        assert f"{host}:{server.port}" in warnings[0]
        assert "Listen on 127.0.0.1" in warnings[0]
