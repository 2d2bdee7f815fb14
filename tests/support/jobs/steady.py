"""Jobs of 50 ms (or of STEADY_TAKES) that journal their start and end, and a poison pill that kills the process it
runs in."""

from __future__ import annotations

import asyncio
import os
import signal

from tocsin import Handlers, JobContext

from support.journal import note

handlers = Handlers()

_TAKES = float(os.environ.get("STEADY_TAKES", "0.05"))  # seconds


@handlers.on("steady", concurrency=20)
async def steady(job: JobContext) -> None:
    """Waits."""
    note("start", job.job_id, job.attempt)
    await asyncio.sleep(_TAKES)
    note("end", job.job_id, job.attempt)


@handlers.on("poison")
async def poison(job: JobContext) -> None:
    """Kills its process, as a handler does that runs out of memory."""
    note("start", job.job_id, job.attempt)
    os.kill(os.getpid(), signal.SIGKILL)
