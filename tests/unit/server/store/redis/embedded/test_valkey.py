"""The server's own Valkey: there when it is wanted, gone when it is not, one a folder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis
from tocsin_server.domain.errors import StoreAway
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.redis.checks import check
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.embedded import valkey as module
from tocsin_server.store.redis.embedded.folder import SOCKET_PATH_BYTES, DataFolder
from tocsin_server.store.redis.embedded.valkey import EmbeddedValkey, find_binary

# A process that starts a Valkey on a folder, says its pid, and writes until it is killed, saying what was acknowledged.
OWNER = """
import asyncio, sys, threading
from pathlib import Path
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.embedded.valkey import EmbeddedValkey

async def main() -> None:
    valkey = EmbeddedValkey(Path(sys.argv[1]))
    await valkey.start()
    connection = RedisConnection(valkey.url)
    print(valkey.pid, flush=True)
    while True:
        print(await connection.execute("INCR", "acknowledged"), flush=True)

if sys.argv[2] == "thread":
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
else:
    asyncio.run(main())
"""


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(tmp_path / "data")
    await valkey.start()
    yield valkey
    await valkey.stop()


@pytest.fixture
def owner(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that owns a Valkey on tmp_path/data, and that Valkey's pid."""
    command = [sys.executable, "-c", OWNER, str(tmp_path / "data"), getattr(request, "param", "main")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def gone(pid: int, within: float) -> bool:
    """Whether the process ends in time; one that its parent has not looked at yet has ended."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
    return False


async def test_it_answers_once_started_and_keeps_an_append_only_file(valkey: EmbeddedValkey) -> None:
    connection = RedisConnection(valkey.url)
    await connection.open()
    info, warnings = await check(connection, embedded=True)
    await connection.close()
    assert (info.embedded, info.durability.name, warnings) == (True, "EVERY_SECOND", [])


async def test_after_stop_its_process_has_gone_and_the_folder_is_free(tmp_path: Path) -> None:
    first = EmbeddedValkey(tmp_path)
    await first.start()
    pid = first.pid
    assert pid is not None
    await first.stop()
    assert gone(pid, 0.1)
    second = EmbeddedValkey(tmp_path)
    await second.start()
    await second.stop()


async def test_what_was_written_is_there_after_a_stop(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        valkey = EmbeddedValkey(tmp_path)
        await valkey.start()
        connection = RedisConnection(valkey.url)
        assert await connection.execute("INCR", "runs") == expected
        await connection.close()
        await valkey.stop()


async def test_it_is_started_again_when_it_dies(valkey: EmbeddedValkey) -> None:
    connection = RedisConnection(valkey.url)
    assert await connection.execute("INCR", "k") == 1
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while True:
            try:
                if await connection.execute("GET", "k", read_only=True) == b"1" and valkey.pid:
                    break
            except StoreAway:
                continue
    await connection.close()


async def test_a_second_server_on_the_folder_is_refused_and_told_who_has_it(
    tmp_path: Path, owner: tuple[subprocess.Popen[str], int]
) -> None:
    process, _ = owner
    with pytest.raises(StoreUnfit, match=rf"in use by the server with pid {process.pid}:") as refusal:
        await EmbeddedValkey(tmp_path / "data").start()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("owner", ["main", "thread"], indirect=True)
async def test_it_goes_within_5_s_when_its_server_is_killed(owner: tuple[subprocess.Popen[str], int]) -> None:
    process, pid = owner
    process.kill()
    assert gone(pid, 5)


@pytest.mark.parametrize("owner", ["main", "thread"], indirect=True)
async def test_a_start_right_after_a_kill_finds_all_that_was_acknowledged(
    tmp_path: Path, owner: tuple[subprocess.Popen[str], int]
) -> None:
    process, _ = owner
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(500)]
    process.kill()
    valkey = EmbeddedValkey(tmp_path / "data")
    await valkey.start()
    said += process.stdout.readlines()
    acknowledged = next(line for line in reversed(said) if line.endswith("\n"))
    with Redis.from_url(valkey.url) as client:
        assert int(client.get("acknowledged")) >= int(acknowledged)
    await valkey.stop()


async def test_a_valkey_that_stayed_behind_is_asked_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GO_BY_ITSELF", 0.2)
    folder = DataFolder(tmp_path)
    await folder.take()
    assert await folder.take_store(0)
    left = await asyncio.create_subprocess_exec(
        *(find_binary(), "--port", "0", "--unixsocket", str(folder.socket()), "--dir", str(tmp_path)),
        stdout=subprocess.PIPE,
        pass_fds=[folder.store.descriptor],
    )
    assert left.stdout is not None
    await left.stdout.readuntil(b"Ready to accept connections unix")
    folder.release()

    valkey = EmbeddedValkey(tmp_path)
    await valkey.start()
    await left.stdout.read()
    assert await left.wait() == 0
    await valkey.stop()


async def test_a_folder_with_a_long_path_gets_a_short_socket_of_its_own(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    valkey = EmbeddedValkey(data)
    await valkey.start()
    path = DataFolder(data).socket()
    assert len(os.fsencode(path)) <= SOCKET_PATH_BYTES
    assert path.parent.stat().st_mode & 0o777 == 0o700
    await valkey.stop()
    path.unlink(missing_ok=True)
    path.parent.rmdir()


async def test_a_short_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / ("long" * 30))
    short = folder.socket().parent
    short.chmod(0o755)
    with pytest.raises(StoreUnfit, match="only this user"):
        folder.socket()
    short.rmdir()


async def test_a_store_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("rubbish\n")
    with pytest.raises(StoreUnfit, match=r"ended at once: exit code 1, .*manifest") as refusal:
        await EmbeddedValkey(tmp_path).start()
    assert "\n" not in str(refusal.value)


async def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnfit, match="cannot be used: Not a directory"):
        await EmbeddedValkey(tmp_path / "file" / "data").start()


async def test_starting_in_another_thread_works(tmp_path: Path) -> None:
    async def once() -> None:
        valkey = EmbeddedValkey(tmp_path)
        await valkey.start()
        await valkey.stop()

    thread = threading.Thread(target=lambda: asyncio.run(once()))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert await DataFolder(tmp_path).take_store(0)
