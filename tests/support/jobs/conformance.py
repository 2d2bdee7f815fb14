"""The types that `tocsin conformance` schedules, as handlers: see docs/conformance.md."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from tocsin import DoNotRetry, Handlers, JobContext, Release, RetryLater

handlers = Handlers()


@handlers.on("conformance.echo")
async def echo(job: JobContext) -> Any:
    """Returns its payload."""
    return job.payload


@handlers.on("conformance.digest")
def digest(job: JobContext) -> str:
    """Returns the SHA-256 of its bytes."""
    assert isinstance(job.payload, bytes)
    return hashlib.sha256(job.payload).hexdigest()


@handlers.on("conformance.sleep")
async def sleep(job: JobContext) -> str:
    """Waits; a cancel ends it."""
    await asyncio.sleep(job.data["ms"] / 1000)
    return "slept"


@handlers.on("conformance.fail")
async def fail(job: JobContext) -> str:
    """Fails as it is told to."""
    data = job.data
    if 0 < data.get("attempts", 0) < job.attempt:
        return "at last"
    base: type[Exception] = DoNotRetry if data.get("final") else RetryLater if data.get("retry_in_ms") else Exception
    kind = type(data["type"], (base,), {})
    raise kind(data["retry_in_ms"] / 1000, data["message"]) if base is RetryLater else kind(data["message"])


@handlers.on("conformance.release")
async def release(job: JobContext) -> str:
    """Gives its first attempt back."""
    if job.attempt == 1:
        raise Release("not now")
    return "now"


@handlers.on("conformance.progress")
async def progress(job: JobContext) -> str:
    """Takes its steps."""
    steps = job.data["steps"]
    for step in range(1, steps + 1):
        await job.progress(step / steps, f"step {step} of {steps}")
        await asyncio.sleep(job.data["ms"] / 1000)
    return "done"


@handlers.on("conformance.log")
async def log(job: JobContext) -> str:
    """Writes its lines."""
    for line in range(1, job.data["lines"] + 1):
        text = f"line {line} "
        job.log(text + "ö" * ((job.data["bytes"] - len(text)) // 2))
    return "logged"
