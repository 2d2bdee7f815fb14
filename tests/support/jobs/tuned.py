"""Handlers for the limits on how many run at once: types that say a number, and types that do not."""

from __future__ import annotations

import asyncio

from tocsin import Handlers, JobContext

from support.journal import note

handlers = Handlers()


async def _held(job: JobContext) -> None:
    note("start", job.job_id, job.attempt, job.type)
    try:
        await asyncio.Event().wait()
    finally:
        note("end", job.job_id, job.attempt, job.type)


for _type, _number in (("held", None), ("held_three", 3)):
    handlers.on(_type, concurrency=_number)(_held)


@handlers.on("short")
async def short(job: JobContext) -> None:
    """A tenth of a second."""
    note("start", job.job_id, job.attempt, job.type)
    await asyncio.sleep(0.1)
    note("end", job.job_id, job.attempt, job.type)


@handlers.on("noop", concurrency=100)
async def noop(job: JobContext) -> None:
    """Does nothing."""


@handlers.on("fails")
async def fails(job: JobContext) -> None:
    """Fails, whatever the attempt."""
    note("start", job.job_id, job.attempt, job.type)
    raise RuntimeError("this job always fails")
