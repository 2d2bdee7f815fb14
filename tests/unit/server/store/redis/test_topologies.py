"""Sentinels, a cluster and TLS: the same promises as with one server."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from support.eventually import until, until_async
from support.ports import free_port
from support.redis_servers import REDIS, Proxy, ServerProcess
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway
from tocsin_server.store.redis.checks import check
from tocsin_server.store.redis.connection import RedisConnection

pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not on PATH")

StartServer = Callable[..., ServerProcess]
SOON = timedelta(milliseconds=300)


def asked(port: int, *command: str) -> object:
    """The answer of the server on a port, None while it does not answer."""
    try:
        with Redis(port=port, decode_responses=True) as client:
            return client.execute_command(*command)
    except RedisError:
        return None


@pytest.fixture
async def cluster(start_server: StartServer) -> AsyncIterator[tuple[Proxy, str]]:
    """A cluster of two nodes; clients learn of the first one by a proxy's port. The proxy, and the second's address."""
    ports = [free_port(), free_port()]
    folders = []
    proxy: Proxy | None = None
    for port in ports:
        server = start_server(
            *("--port", str(port), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
            *("--cluster-announce-ip", "127.0.0.1"),
            binary=REDIS,
        )
        folders.append(server.socket)
    proxy = Proxy(folders[0])
    await proxy.start()
    await asyncio.to_thread(_join, ports, proxy.url.rpartition(":")[2])
    yield proxy, f"127.0.0.1:{ports[1]}"
    await proxy.stop()


def _join(ports: list[int], announced: str) -> None:
    asked(ports[0], "CLUSTER", "ADDSLOTSRANGE", "0", "8191")
    asked(ports[1], "CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
    asked(ports[0], "CONFIG", "SET", "cluster-announce-port", announced)
    asked(ports[0], "CONFIG", "SET", "cluster-announce-bus-port", str(ports[0] + 10_000))
    asked(ports[0], "CLUSTER", "MEET", "127.0.0.1", str(ports[1]))
    for port in ports:
        until(lambda port=port: "cluster_state:ok" in str(asked(port, "CLUSTER", "INFO")), within=20)
        until(lambda port=port: announced in str(asked(port, "CLUSTER", "SLOTS")), within=20)


# Slots 5061 and 12182: one key on each node.
ON_FIRST, ON_SECOND = "{bar}k", "{foo}k"


async def test_a_cluster_takes_commands_for_all_its_nodes_and_loses_no_word_about_lost_answers(
    cluster: tuple[Proxy, str],
) -> None:
    proxy, second = cluster
    connection = RedisConnection(f"redis+cluster://{second}", answer_within=SOON, connect_within=SOON)
    try:
        await connection.open()
        assert connection.cluster
        assert await connection.execute("EVAL", "return redis.call('INCR', KEYS[1])", 1, ON_FIRST) == 1
        assert await connection.execute("EVAL", "return redis.call('INCR', KEYS[1])", 1, ON_SECOND) == 1
        info, _ = await check(connection)
        assert info.version.startswith("redis ")

        proxy.swallow_after = b"INCR"
        with pytest.raises(OutcomeUnknown):
            await connection.execute("EVAL", "return redis.call('INCR', KEYS[1])", 1, ON_FIRST)
        proxy.swallow_after = None
        assert await connection.execute("GET", ON_FIRST, read_only=True) == b"2"  # it ran, and ran once

        await proxy.stop()
        with pytest.raises(StoreAway):
            await connection.execute("INCR", ON_FIRST)
    finally:
        await connection.close()


@pytest.fixture
def sentinels(start_server: StartServer, tmp_path: Path) -> Iterator[tuple[str, ServerProcess]]:
    """A primary with a replica, watched by a sentinel: the sentinel's address, and the primary."""
    port, replica, sentinel = free_port(), free_port(), free_port()
    options = ("--repl-diskless-sync-delay", "0", "--save", "")
    primary = start_server("--port", str(port), *options, binary=REDIS)
    start_server("--port", str(replica), "--replicaof", "127.0.0.1", str(port), *options, binary=REDIS)
    until(lambda: "master_link_status:up" in str(_info(replica)), within=20)
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {sentinel}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
    )
    process = subprocess.Popen([str(REDIS), str(config), "--sentinel"], stdout=subprocess.DEVNULL)
    until(lambda: asked(sentinel, "SENTINEL", "REPLICAS", "main"), within=20)
    yield f"127.0.0.1:{sentinel}", primary
    process.kill()
    process.wait()


def _info(port: int) -> str:
    with contextlib.suppress(RedisError), Redis(port=port) as client:
        return "".join(f"{name}:{value}\n" for name, value in client.info("replication").items())
    return ""


async def test_after_a_failover_the_new_primary_is_found(sentinels: tuple[str, ServerProcess]) -> None:
    address, primary = sentinels
    connection = RedisConnection(f"redis+sentinel://127.0.0.1:1,{address}/main/0", connect_within=SOON)
    try:
        await connection.open()
        assert await connection.execute("INCR", "k") == 1
        await connection.execute("WAIT", 1, 200)
        await asyncio.to_thread(primary.stop)

        async def writes() -> bool:
            try:
                return bool(await connection.execute("INCR", "k") >= 2)
            except StoreAway:  # and nothing else: nobody is there to take it
                return False

        await until_async(writes, within=20)
    finally:
        await connection.close()


async def test_sentinels_that_are_all_away_are_store_away() -> None:
    connection = RedisConnection("redis+sentinel://127.0.0.1:1,127.0.0.1:2/main", connect_within=SOON)
    with pytest.raises(StoreAway):
        await connection.execute("INCR", "k")
    await connection.close()


async def test_tls_is_spoken_and_the_certificate_checked(start_server: StartServer, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not on PATH")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    making = await asyncio.create_subprocess_exec(
        *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        stderr=subprocess.DEVNULL,
    )
    assert await making.wait() == 0
    port = free_port()
    start_server(
        *("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
        *("--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"),
        binary=REDIS,
    )
    trusting = RedisConnection(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}")
    assert await trusting.execute("INCR", "k") == 1
    await trusting.close()
    doubting = RedisConnection(f"rediss://127.0.0.1:{port}/0")
    with pytest.raises(StoreAway, match="certificate"):
        await doubting.execute("INCR", "k")
    await doubting.close()
