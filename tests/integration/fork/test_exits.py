"""Programs that end in the midst of something: they end, with their own exit code, and say nothing of ours."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.servers import Server

BEGIN = """
import asyncio, sys, threading
from tocsin import AsyncClient, Client
c = Client(sys.argv[1])
job = c.schedule("echo", {}, delay=3600)
"""
IN_A_WATCH = """
def main():
    for change in c.watch(job):
        raise RuntimeError("a bug")
main()
"""
IN_A_LIST = """
def main():
    return [1 / 0 for found in c.list()]
main()
"""


@pytest.mark.parametrize(
    ("program", "code"),
    [
        pytest.param(IN_A_WATCH, 1, id="an exception in a watch"),
        pytest.param(IN_A_LIST, 1, id="an exception in a list"),
        pytest.param("it = c.list(); next(it)", 0, id="a list that was begun"),
        pytest.param("it = c.watch(job); next(it); sys.exit(3)", 3, id="a watch that was begun"),
        pytest.param("it = c.queues(); next(it); cycle = [it]; cycle.append(cycle); del it", 0, id="in a cycle"),
        pytest.param("it = c.export_jobs(); next(it)", 0, id="an export"),
        pytest.param(
            "threading.Thread(target=lambda: list(c.watch(job)), daemon=True).start()",
            0,
            id="a watch of a daemon thread",
        ),
        pytest.param("class Late:\n    def __del__(self): c.close()\nlate = Late()", 0, id="closed at the very end"),
        pytest.param("import atexit; atexit.register(lambda: c.count())", 0, id="a call at exit"),
        pytest.param(
            "async def main():\n    a = AsyncClient(sys.argv[1]); w = a.watch(job); await anext(w); sys.exit(4)\n"
            "asyncio.run(main())",
            4,
            id="an asyncio program",
        ),
    ],
)
def test_a_program_ends(server: Server, program: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program, server.address],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stderr
    wanted = {IN_A_WATCH: "RuntimeError: a bug", IN_A_LIST: "ZeroDivisionError: division by zero"}.get(program, "")
    said = done.stderr.strip().splitlines()
    assert said[-1:] == ([wanted] if wanted else [])


def test_clients_that_nobody_holds_are_collected_with_a_warning(server: Server) -> None:
    program = """
import gc, os, time, warnings
c.close()
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    for _ in range(50):
        Client(sys.argv[1]).count()
    gc.collect()
said = [str(w.message) for w in heard if w.category is ResourceWarning and "Client of" in str(w.message)]
assert len(said) == 50, heard
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(20)
assert threading.active_count() == 1
assert len(os.listdir("/proc/self/fd")) < 20
"""
    subprocess.run([sys.executable, "-c", BEGIN + program, server.address], check=True, timeout=60)


def test_a_watch_of_another_thread_ends_when_the_client_is_closed(server: Server) -> None:
    program = """
from tocsin import TocsinError
begun, ended = threading.Event(), []
def watch():
    try:
        for change in c.watch(job): begun.set()
    except TocsinError as error:
        ended.append(str(error))
thread = threading.Thread(target=watch)
thread.start()
begun.wait()
c.close()
thread.join()
assert ended and "closed" in ended[0], ended
"""
    subprocess.run([sys.executable, "-c", BEGIN + program, server.address], check=True, timeout=60)


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(server: Server) -> None:
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    environment = {**os.environ, **proxies}
    subprocess.run([sys.executable, "-c", BEGIN, server.address], check=True, timeout=60, env=environment)
    health = [
        sys.executable,
        "-m",
        "tocsin.cli.main",
        "health",
        "--address",
        server.address,
        "--connect-timeout",
        "20s",
    ]
    subprocess.run(health, check=True, timeout=60, env=environment, stdout=subprocess.DEVNULL)
