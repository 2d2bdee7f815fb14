"""Handlers that take what their server needs, and one that breaks it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
import threading
import time
from pathlib import Path

from tocsin import Handlers, JobContext
from tocsin.worker.supervisor import Supervisor

handlers = Handlers()

_A_GIGABYTE = 1 << 30


@handlers.on("hungry")
def hungry(job: JobContext) -> None:
    """Holds all file descriptors until the file named GATE is there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 300), hard))
    held: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    sys.stderr.write("no descriptor is left\n")
    while not Path(os.environ["GATE"]).exists():
        time.sleep(0.02)
    for fd in held:
        os.close(fd)


@handlers.on("threadless")
def threadless(job: JobContext) -> None:
    """Leaves room for no further thread until the file named GATE is there, and enough for all else."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    threading.stack_size(_A_GIGABYTE)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + _A_GIGABYTE // 2, hard))
    sys.stderr.write("no thread can start\n")
    while not Path(os.environ["GATE"]).exists():
        time.sleep(0.02)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    threading.stack_size(0)


@handlers.on("plain")
def plain(job: JobContext) -> str:
    """Needs a thread."""
    return "ran"


@handlers.on("loop")
async def loop(job: JobContext) -> str:
    """Needs an event loop."""
    return "ran"


@handlers.on("process", process=True)
def process(job: JobContext) -> str:
    """Needs a process."""
    return "ran"


@handlers.on("closes_log")
def closes_log(job: JobContext) -> None:
    """Takes the server's log away."""
    sys.stderr.close()


@handlers.on("deaf")
async def deaf(job: JobContext) -> None:
    """Never stops."""
    sys.stderr.write("it is deaf\n")
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@handlers.on("breaks")
def breaks(job: JobContext) -> None:
    """A fault in what runs jobs."""

    def fail(*_: object) -> None:
        raise RuntimeError("broken by the test")

    Supervisor.start = fail  # type: ignore[method-assign]
