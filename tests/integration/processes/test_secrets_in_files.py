"""Secrets that stand in files are in no process's environment and on no command line, and are renewed while servers
run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client, Job, State

FIRST, SECOND = "c4nary/first", "c4nary?second"
HANDLERS = "support.jobs.worked"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{FIRST}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisBackend]:
    """A Redis that wants a password."""
    with RedisBackend(tmp_path / "redis") as redis:
        redis.client.config_set("requirepass", FIRST)
        yield redis


def family(pid: int) -> set[int]:
    """A process and all that came from it."""
    found = {pid}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= family(int(child))
    return found


def shown_by(pid: int) -> str:
    """What the machine's users may see of a process: its environment and its command line."""
    return "".join(Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in ("environ", "cmdline"))


def test_a_canary_is_nowhere_to_be_seen(guarded: RedisBackend, password: Path, serve: Callable[..., Server]) -> None:
    env = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(guarded.port), "REDIS_PASSWORD_FILE": str(password)}
    server = serve(guarded.url, handlers=HANDLERS, **env, REDIS_URL="", TOCSIN_LOG__LEVEL="debug")
    with Client(server.address) as client:
        done = client.wait(client.schedule("shown_in_process"), timeout=30)
        assert "runners" in done.result["cmdline"]
        assert FIRST not in str(done.result)
    assert FIRST not in shown_by(server.pid)
    assert FIRST not in server.said(1_000_000)
    doctor = [sys.executable, "-m", "tocsin.cli.main", "doctor", "--all"]
    said = subprocess.run(doctor, env=os.environ | env, capture_output=True, text=True, timeout=60)
    assert FIRST not in said.stdout + said.stderr
    assert "store.password" in said.stdout


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_variables_hold_is_withheld_from_processes_that_a_server_starts(
    tmp_path: Path, password: Path, serve: Callable[..., Server], processes: str
) -> None:
    """The server's own environment has it, as whoever started it gave it; its embedded store and handlers do not."""
    env = {
        "TOCSIN_SMS__URL": "https://127.0.0.1:9/x",
        "TOCSIN_SMS__PASSWORD": FIRST,
        "SOMETHING_ELSE": "of theirs",
    }
    server = serve("", "--data", str(tmp_path / "data"), "--processes", processes, handlers=HANDLERS, **env)
    with Client(server.address) as client:
        in_handler = str(client.wait(client.schedule("shown_in_process"), timeout=30).result)
    assert "SOMETHING_ELSE=of theirs" in in_handler
    assert FIRST not in in_handler
    pids = family(server.pid)
    servers = {pid for pid in pids if "tocsin" in shown_by(pid) and FIRST in shown_by(pid)}
    assert len(servers) == (1 if processes == "1" else 3)
    others = pids - servers
    assert any("valkey-server" in shown_by(pid) for pid in others)
    assert [pid for pid in others if FIRST in shown_by(pid)] == []


def test_the_password_of_a_redis_is_changed_while_a_server_runs(
    guarded: RedisBackend, password: Path, serve: Callable[..., Server]
) -> None:
    server = serve(
        guarded.url,
        handlers=HANDLERS,
        REDIS_URL="",
        REDIS_HOST="127.0.0.1",
        REDIS_PORT=str(guarded.port),
        REDIS_PASSWORD_FILE=str(password),
        TOCSIN_LOG__LEVEL="debug",
    )
    with Client(server.address) as client:
        running: Job = client.schedule("in_process")
        assert client.wait(running, timeout=30).state is State.COMPLETED
        guarded.client.config_set("requirepass", SECOND)
        password.write_text(f"{SECOND}\n")
        own = guarded.client.client_id()
        for one in guarded.client.client_list():  # whoever was let in with the old one
            if int(one["id"]) != own:
                try:
                    guarded.client.client_kill_filter(_id=one["id"])
                except RedisError:
                    pass

        def done() -> bool:
            try:
                return client.wait(client.schedule("in_process"), timeout=20).state is State.COMPLETED
            except Exception:
                return False

        until(done, within=30)
    assert server.process is not None
    assert server.process.poll() is None
    assert FIRST not in server.said(1_000_000)
    assert SECOND not in server.said(1_000_000)
