"""Handlers that tests run in processes of their own. They tell the test by files in the folder the payload names."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tocsin import tracing
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry, Release, RetryLater
from tocsin.worker.registry import Handlers

handlers = Handlers()


def note(job: JobContext, name: str, text: object = "") -> None:
    """A file that the test sees whole or not at all."""
    folder = Path(job.data["folder"])
    (folder / f".{name}").write_text(str(text))
    (folder / f".{name}").rename(folder / name)


@handlers.on("sync", process=True)
def sync(job: JobContext) -> dict[str, Any]:
    sys.stdout.write("handlers may print\n")
    return {"pid": os.getpid(), "attempt": job.attempt, "tags": dict(job.tags), "stdin": sys.stdin.read()}


@handlers.on("async", process=True)
async def in_loop(job: JobContext) -> bytes:
    await asyncio.sleep(0)
    return str(os.getpid()).encode()


@handlers.on("traced", process=True)
def traced(job: JobContext) -> str:
    span = tracing.current()
    return "" if span is None else span.traceparent


@handlers.on("raises", process=True)
def raises(job: JobContext) -> None:
    match job.data["what"]:
        case "ValueError":
            raise ValueError("wrong colour")
        case "DoNotRetry":
            raise DoNotRetry("gone")
        case "RetryLater":
            raise RetryLater(90)
        case "Release":
            raise Release("no room here")
        case "SystemExit":
            raise SystemExit(3)
        case "UnfitResult":
            return object()  # type: ignore[return-value]  # the mistake under test


@handlers.on("says", process=True)
def says(job: JobContext) -> None:
    for i in range(10_000):
        job.progress(i / 10_000, f"step {i}")
        job.log(f"line {i}")
    job.progress(1.0, "there")
    job.log("there", "error")


@handlers.on("says_and_waits", process=True)
async def says_and_waits(job: JobContext) -> None:
    await job.progress(0.1, "first")
    await job.progress(0.2, "second")
    await asyncio.Event().wait()


@handlers.on("waits", process=True)
async def waits(job: JobContext) -> None:
    note(job, "entered", os.getpid())
    try:
        await asyncio.Event().wait()
    finally:
        note(job, "left", job.cancel_reason)


@handlers.on("polls", process=True)
def polls(job: JobContext) -> str:
    note(job, "entered", os.getpid())
    while not job.cancelled:
        time.sleep(0.01)
    return job.cancel_reason


@handlers.on("deaf", process=True)
def deaf(job: JobContext) -> None:
    note(job, "entered", os.getpid())
    while True:
        time.sleep(60)


@handlers.on("holds_the_lock", process=True)
def holds_the_lock(job: JobContext) -> None:
    note(job, "entered", os.getpid())
    ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the interpreter's lock


@handlers.on("has_child", process=True)
def has_child(job: JobContext) -> None:
    child = subprocess.Popen(["sleep", "60"])
    note(job, "entered", child.pid)
    child.wait()


@handlers.on("leaves_child", process=True)
def leaves_child(job: JobContext) -> int:
    return subprocess.Popen(["sleep", "60"]).pid


@handlers.on("exits", process=True)
def exits(job: JobContext) -> None:
    os._exit(int(job.data["code"]))


@handlers.on("is_killed", process=True)
def is_killed(job: JobContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@handlers.on("poison")
async def poison(job: JobContext) -> int:
    if job.crashes < 2:
        return os.getpid()
    os._exit(9)


@handlers.on("cured")
def cured(job: JobContext) -> int:
    return os.getpid()
