"""Handlers that keep the loop which serves calls from doing anything, as a fault of the server's would."""

from __future__ import annotations

import asyncio
import time

from tocsin import Handlers, JobContext

from support.journal import note

#: Handlers are loaded on that loop.
SERVING = asyncio.get_running_loop()

handlers = Handlers()


def occupy(seconds: float) -> None:
    """Compute for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@handlers.on("occupying")
async def occupying(job: JobContext) -> None:
    """Runs two seconds longer than it occupies the loop."""
    note("start", job.job_id, job.attempt)
    seconds = float(job.data["seconds"])
    SERVING.call_soon_threadsafe(occupy, seconds)
    await asyncio.sleep(seconds + 2)
    note("end", job.job_id, job.attempt)


@handlers.on("steady")
async def steady(job: JobContext) -> None:
    """Runs for a while, and does no harm."""
    note("start", job.job_id, job.attempt)
    await asyncio.sleep(float(job.data["seconds"]))
    note("end", job.job_id, job.attempt)
