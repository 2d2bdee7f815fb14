"""The embedded Valkey and what is around it: its folder, memory, descriptors, and whose program it is."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from support.eventually import until, until_async
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.redis.embedded import valkey as module
from tocsin_server.store.redis.embedded.memory import memory_limit
from tocsin_server.store.redis.embedded.valkey import EmbeddedValkey, find_binary


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(tmp_path / "data")
    await valkey.start()
    yield valkey
    await valkey.stop()


async def answers(valkey: EmbeddedValkey) -> bool:
    try:
        async with Redis(unix_socket_path=valkey.url.removeprefix("unix://")) as redis:
            return bool(await redis.ping())
    except (RedisError, OSError):
        return False


async def test_it_is_started_once_that_can_be_done_again(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()

    def no_descriptors(*_: object, **__: object) -> None:
        refused.set()
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", no_descriptors)
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGKILL)
        await asyncio.wait_for(refused.wait(), 10)
    async with asyncio.timeout(20):
        while not await answers(valkey):
            pass


async def test_with_its_folder_gone_it_takes_no_writes_until_that_is_back(
    valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    async with Redis(unix_socket_path=valkey.url.removeprefix("unix://")) as redis:
        await redis.set("kept", "1")
        (tmp_path / "data").rename(tmp_path / "elsewhere")

        async def refused() -> bool:
            try:
                await redis.set("k", "v")
            except ResponseError as error:
                return str(error).startswith("NOREPLICAS")
            return False

        async def taken() -> bool:
            return not await refused()

        await until_async(refused, within=10)
        assert await redis.get("kept") == b"1"
        (tmp_path / "elsewhere").rename(tmp_path / "data")
        await until_async(taken, within=10)


async def test_it_does_not_start_again_in_a_folder_that_is_not_its_own(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    with structlog.testing.capture_logs() as log:
        await asyncio.to_thread(until, lambda: any("cannot be started" in line["event"] for line in log), within=10)
    assert list((tmp_path / "data").iterdir()) == []


async def test_what_it_keeps_is_for_its_user_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    valkey = EmbeddedValkey(data)
    old = os.umask(0o022)
    try:
        await valkey.start()
        async with Redis(unix_socket_path=valkey.url.removeprefix("unix://")) as redis:
            await redis.set("k", "secret")
    finally:
        await valkey.stop()
        os.umask(old)
    assert {path: path.stat().st_mode & 0o077 for path in (data, *data.rglob("*"))}.items() <= {
        (path, 0) for path in (data, *data.rglob("*"))
    }


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
async def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)
    with pytest.raises(StoreUnfit, match="written to by others"):
        await EmbeddedValkey(data).start()
    assert list(data.iterdir()) == []


async def test_a_link_in_the_place_of_its_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "server.lock").symlink_to(precious)
    with pytest.raises(StoreUnfit, match="cannot be used"):
        await EmbeddedValkey(tmp_path / "data").start()
    assert precious.read_text() == "precious"


async def test_it_says_that_it_is_full_before_the_machine_is(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path, maxmemory=8 << 20)
    await valkey.start()
    try:
        async with Redis(unix_socket_path=valkey.url.removeprefix("unix://")) as redis:
            with pytest.raises(OutOfMemoryError):
                await redis.mset({f"k{number}": b"x" * (1 << 20) for number in range(16)})
    finally:
        await valkey.stop()


async def test_half_of_what_there_is_is_its_own(valkey: EmbeddedValkey) -> None:
    limit = memory_limit()
    assert limit is not None
    async with Redis(unix_socket_path=valkey.url.removeprefix("unix://")) as redis:
        assert (await redis.info("memory"))["maxmemory"] == limit // 2


async def test_another_valkey_than_that_of_the_package_is_named(
    valkey: EmbeddedValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert valkey.warnings == []
    (tmp_path / "valkey-server").symlink_to(find_binary())
    monkeypatch.setattr(module, "_of_wheel", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    other = EmbeddedValkey(tmp_path / "other")
    await other.start()
    await other.stop()
    assert [str(tmp_path / "valkey-server") in line for line in other.warnings] == [True]
