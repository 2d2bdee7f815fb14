"""Short handlers of every kind. Types that end in no-op do not write the journal."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tocsin import DoNotRetry, Handlers, JobContext, RetryLater

from support.journal import note

handlers = Handlers()


@handlers.on("noop", concurrency=100)
async def noop(job: JobContext) -> None:
    """Does nothing."""


@handlers.on("sync_noop")
def sync_noop(job: JobContext) -> None:
    """Does nothing, in a thread."""


@handlers.on("echo")
async def echo(job: JobContext) -> dict[str, Any]:
    """Returns what it was given."""
    return job.data


@handlers.on("half_a_second", concurrency=50)
async def half_a_second(job: JobContext) -> None:
    """Sleeps, and journals its start and end."""
    note("start", job.job_id, job.attempt)
    await asyncio.sleep(0.5)
    note("end", job.job_id, job.attempt)


@handlers.on("fails")
async def fails(job: JobContext) -> None:
    """Fails, whatever the attempt."""
    raise RuntimeError("this job always fails")


@handlers.on("fails_at_first")
async def fails_at_first(job: JobContext) -> str:
    """Fails as often as its payload says, then ends well."""
    if job.attempt <= job.data["failures"]:
        raise ValueError(f"attempt {job.attempt} fails")
    return f"attempt {job.attempt}"


@handlers.on("fails_for_good")
async def fails_for_good(job: JobContext) -> None:
    """Says that no further attempt would help."""
    raise DoNotRetry("no such address")


@handlers.on("asks_for_later")
async def asks_for_later(job: JobContext) -> None:
    """Chooses its own wait before the second attempt."""
    if job.attempt == 1:
        raise RetryLater(0.2, "busy")


@handlers.on("reports_progress")
async def reports_progress(job: JobContext) -> None:
    """Says that it is half way, then waits to be cancelled."""
    await job.progress(0.5, "half way")
    await asyncio.Event().wait()


@handlers.on("until_cancelled", concurrency=50)
async def until_cancelled(job: JobContext) -> None:
    """Waits until it is cancelled."""
    note("start", job.job_id, job.attempt)
    try:
        await asyncio.Event().wait()
    finally:
        note("cancelled", job.job_id, job.attempt)


@handlers.on("sync_until_cancelled")
def sync_until_cancelled(job: JobContext) -> None:
    """A sync handler that looks at its flag."""
    while not job.cancelled:
        time.sleep(0.01)
    job.raise_if_cancelled()


@handlers.on("writes_lines")
async def writes_lines(job: JobContext) -> None:
    """Logs as many lines as its payload says; where it says so, it fails then or waits to be cancelled."""
    for number in range(job.data["lines"]):
        await job.log(f"line {number}", "warning" if number % 2 else "info")
    if job.data.get("fails"):
        raise ValueError("it is to fail")
    if job.data.get("waits"):
        await asyncio.Event().wait()
