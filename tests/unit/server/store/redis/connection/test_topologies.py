"""Sentinels, a cluster and TLS: the same promises as with one server."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.eventually import until, until_async
from support.ports import free_port
from support.redis_servers import REDIS, Proxy, ServerProcess
from support.redis_topologies import OPENSSL, Authority, SentinelGroup, asked
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway
from tocsin_server.store.redis.checks import check
from tocsin_server.store.redis.connection.connection import RedisConnection

pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not on PATH")

StartServer = Callable[..., ServerProcess]
SOON = timedelta(milliseconds=300)


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


async def test_after_a_failover_the_new_primary_is_found(tmp_path: Path) -> None:
    group = await asyncio.to_thread(SentinelGroup, tmp_path, replicas=1, sentinels=1, down_after=500)
    url = group.url.replace("://", "://127.0.0.1:1,")  # one that is away does no harm
    connection = RedisConnection(url, connect_within=SOON)
    try:
        await connection.open()
        assert await connection.execute("INCR", "k") == 1
        await connection.execute("WAIT", 1, 200)
        asked(group.replicas[0], "CONFIG", "SET", "min-replicas-to-write", "0")  # it will have none
        await asyncio.to_thread(group.kill, group.primary)

        async def writes() -> bool:
            try:
                return bool(await connection.execute("INCR", "k") >= 2)
            except StoreAway:  # and nothing else: nobody is there to take it
                return False

        await until_async(writes, within=20)
    finally:
        await connection.close()
        group.stop()


async def test_sentinels_that_are_all_away_are_store_away() -> None:
    connection = RedisConnection("redis+sentinel://127.0.0.1:1,127.0.0.1:2/main", connect_within=SOON)
    with pytest.raises(StoreAway):
        await connection.execute("INCR", "k")
    await connection.close()


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not on PATH")
async def test_tls_is_spoken_and_the_certificate_checked(start_server: StartServer, tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    start_server("--tls-port", str(port), *tls_options(authority), binary=REDIS)
    trusting = RedisConnection(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.certificate}")
    assert await trusting.execute("INCR", "k") == 1
    await trusting.close()
    doubting = RedisConnection(f"rediss://127.0.0.1:{port}/0")
    with pytest.raises(StoreAway, match="certificate"):
        await doubting.execute("INCR", "k")
    await doubting.close()


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not on PATH")
@pytest.mark.parametrize("sentinels_too", [True, False])
async def test_tls_is_spoken_with_the_primary_and_unless_told_otherwise_with_its_sentinels(
    start_server: StartServer, tmp_path: Path, sentinels_too: bool
) -> None:
    authority, port, sentinel = Authority(tmp_path), free_port(), free_port()
    start_server("--tls-port", str(port), *tls_options(authority), binary=REDIS)
    config = tmp_path / "sentinel.conf"
    options = [name.removeprefix("--") for name in tls_options(authority)]
    listen = f"port 0\ntls-port {sentinel}" if sentinels_too else f"port {sentinel}"
    config.write_text(
        f"{listen}\nbind 127.0.0.1\ndir {tmp_path}\ntls-replication yes\n"
        + "".join(
            f"{name.removeprefix('--')} {value}\n" for name, value in zip(options[::2], options[1::2], strict=True)
        )
        + f"sentinel monitor main 127.0.0.1 {port} 1\n"
    )
    process = start_sentinel(config)
    more = "" if sentinels_too else "&sentinel_ssl=false"
    url = f"rediss+sentinel://127.0.0.1:{sentinel}/main/0?ssl_ca_certs={authority.certificate}{more}"
    connection = RedisConnection(url)
    try:

        async def writes() -> bool:
            try:
                return bool(await connection.execute("INCR", "k"))
            except StoreAway:
                return False

        await until_async(writes, within=10)
    finally:
        await connection.close()
        process.kill()
        process.wait()


def start_sentinel(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([str(REDIS), str(config), "--sentinel"], stdout=subprocess.DEVNULL)


def tls_options(authority: Authority) -> tuple[str, ...]:
    server = authority.sign("server")
    return (
        *("--tls-cert-file", str(server.certificate), "--tls-key-file", str(server.key)),
        *("--tls-ca-cert-file", str(authority.certificate), "--tls-auth-clients", "no"),
    )
