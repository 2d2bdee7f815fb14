"""Handlers for workers: one of each kind, and some that last."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin import Handlers, JobContext, Release

from support.journal import note

handlers = Handlers()


@dataclass
class Sum:
    """A payload."""

    numbers: list[int]


@handlers.on("on_loop")
async def on_loop(job: JobContext) -> dict[str, Any]:
    """Logs, and returns what it was given."""
    await job.progress(0.5, "half way")
    job.log("on a loop")
    return job.data


@handlers.on("in_thread", concurrency=2)
def in_thread(job: JobContext) -> dict[str, Any]:
    """The same in a thread."""
    job.log("in a thread", "warning")
    return job.data


@handlers.on("in_process", process=True)
def in_process(job: JobContext) -> dict[str, Any]:
    """The same in a process of its own."""
    job.log("in a process", "error")
    return job.data


@handlers.on("shown_in_process", process=True)
def shown_in_process(job: JobContext) -> dict[str, str]:
    """What the machine's users may see of the process it runs in."""
    return {name: Path(f"/proc/self/{name}").read_text(errors="replace") for name in ("environ", "cmdline")}


@handlers.on("release_on_loop")
async def release_on_loop(job: JobContext) -> int:
    """Gives its first attempt back."""
    return second_of(job)


@handlers.on("release_in_thread")
def release_in_thread(job: JobContext) -> int:
    """The same in a thread."""
    return second_of(job)


@handlers.on("release_in_process", process=True)
def release_in_process(job: JobContext) -> int:
    """The same in a process of its own."""
    return second_of(job)


def second_of(job: JobContext) -> int:
    """The attempt, if it is not the first."""
    if job.attempt == 1:
        raise Release("no room here")
    return job.attempt


@handlers.on("sum", payload=Sum)
def sum_(job: JobContext, payload: Sum) -> int:
    """Takes a class."""
    return sum(payload.numbers)


@handlers.on("lasts")
async def lasts(job: JobContext) -> None:
    """Lasts as many seconds as it is told, and journals its start and end."""
    note("start", job.job_id, job.attempt)
    try:
        await asyncio.sleep(job.data["seconds"])
    finally:
        note("end", job.job_id, job.attempt)
