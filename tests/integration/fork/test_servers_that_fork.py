"""A client at module level under real programs that fork their workers."""

from __future__ import annotations

import http.client
import importlib.util
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.eventually import until
from support.ports import free_port
from support.servers import Server

APP = """
import os
from tocsin import Client
client = Client(os.environ["SERVER"])
{before}

def application(environ, start_response):
    job = client.schedule("echo", {{}}, delay=3600)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{os.getpid()}} {{job.state}}".encode()]
"""
BEFORE = pytest.mark.parametrize(
    "before",
    ["", "client.server_info()", "client.count(); client.close(); client = Client(client.address)"],
    ids=["never used", "used", "used and closed"],
)


@contextmanager
def serving(command: list[str], folder: Path, server: Server) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "SERVER": server.address},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int, number: int, process: subprocess.Popen[bytes], folder: Path) -> set[str]:
    """The processes that answered `number` requests, each of which scheduled a job."""
    found: set[str] = set()
    for _ in range(number):
        pid, state = _get(port, process, folder).split()
        assert state == "SCHEDULED"
        found.add(pid)
    return found


def _get(port: int, process: subprocess.Popen[bytes], folder: Path) -> str:
    def said() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error}\n{(folder / 'log').read_text()}") from None
        except urllib.error.URLError:  # not up yet
            assert process.poll() is None, (folder / "log").read_text()
            return ""

    return until(said, within=30, what="an answer")


@BEFORE
def test_gunicorn_with_preload(server: Server, tmp_path: Path, before: str) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "app.py").write_text(APP.format(before=before))
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{port}", "app:application"]
    with serving(command, tmp_path, server) as process:
        pids = answers(port, 12, process, tmp_path)
    assert str(process.pid) not in pids
    assert "SIG" not in (tmp_path / "log").read_text().replace("SIGTERM", "")


@pytest.mark.parametrize(
    "before",
    ["", "client.count(); client.close(); client = Client(client.address)"],
    ids=["never used", "used and closed"],
)
def test_uwsgi_with_its_defaults(server: Server, tmp_path: Path, before: str) -> None:
    with serving(_uwsgi(tmp_path, before, port := free_port()), tmp_path, server) as process:
        assert str(process.pid) not in answers(port, 12, process, tmp_path)


def test_uwsgi_calls_no_hook_so_that_an_open_client_is_told(server: Server, tmp_path: Path) -> None:
    command = _uwsgi(tmp_path, "client.count()", port := free_port())
    with serving(command, tmp_path, server) as process:
        with pytest.raises(http.client.RemoteDisconnected):  # uWSGI's way to answer an exception
            _get(port, process, tmp_path)
        assert "UnusableClient: this process was forked while its parent used gRPC" in (tmp_path / "log").read_text()
        assert process.poll() is None


def _uwsgi(folder: Path, before: str, port: int) -> list[str]:
    if importlib.util.find_spec("uwsgi") is None and importlib.util.find_spec("pyuwsgi") is None:
        pytest.skip("pyuwsgi is not installed")
    (folder / "app.py").write_text(APP.format(before=before))
    command = shutil.which("uwsgi", path=str(Path(sys.executable).parent))
    start = [command] if command else [sys.executable, "-c", "import pyuwsgi, sys; pyuwsgi.run(sys.argv[1:])"]
    return [
        *start, "--http-socket", f"127.0.0.1:{port}", "--master", "--processes", "2", "--module", "app",
        "--pythonpath", str(folder), "--die-on-term", "--home", sys.prefix,
    ]  # fmt: skip


TASKS = """
import os
from celery import Celery
from tocsin import Client
client = Client(os.environ["SERVER"])
{before}
app = Celery("tasks", broker="filesystem://", backend="file://" + os.environ["RESULTS"])
app.conf.broker_transport_options = dict.fromkeys(("data_folder_in", "data_folder_out"), os.environ["MESSAGES"])
app.conf.update(broker_connection_retry_on_startup=True)

@app.task
def schedule():
    return str(client.schedule("echo", {{}}, delay=3600).state)
"""


@BEFORE
def test_celery_prefork(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    pytest.importorskip("celery")
    for name in ("results", "messages"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MESSAGES", str(tmp_path / "messages"))
    (tmp_path / "tasks.py").write_text(TASKS.format(before=before))
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "prefork", "-c", "2", "-l", "warning"]
    ask = "from tasks import schedule; print([r.get(timeout=60) for r in [schedule.delay() for _ in range(6)]])"
    with serving([*command, "--without-gossip", "--without-mingle"], tmp_path, server):
        environment = {**os.environ, "SERVER": server.address}
        asked = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ask],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
    assert asked.stdout.strip() == str(["SCHEDULED"] * 6), asked.stderr + (tmp_path / "log").read_text()
