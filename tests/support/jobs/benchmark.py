"""Handlers to measure with: one that does nothing, one that notes when it was started."""

from __future__ import annotations

from tocsin import Handlers, JobContext

from support.journal import note

handlers = Handlers()


@handlers.on("noop", concurrency=1000)
async def noop(job: JobContext) -> None:
    """Does nothing."""


@handlers.on("stamped", concurrency=1000)
async def stamped(job: JobContext) -> None:
    """Notes the time of its first line."""
    note("start", job.job_id, job.attempt)
