"""Handlers that end when a test says so, by making the file that GATE in the server's environment names; and one that
ends its process."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from tocsin import Handlers, JobContext

from support.journal import note

handlers = Handlers()


def _closed() -> bool:
    return not Path(os.environ["GATE"]).exists()


@handlers.on("gated", concurrency=50)
async def gated(job: JobContext) -> str:
    """On an event loop."""
    note("start", job.job_id, job.attempt)
    while _closed():  # noqa: ASYNC110  # a file sends no event
        await asyncio.sleep(0.02)
    note("end", job.job_id, job.attempt)
    return job.job_id


@handlers.on("sync_gated", concurrency=50)
def sync_gated(job: JobContext) -> str:
    """In a thread."""
    note("start", job.job_id, job.attempt)
    while _closed():
        time.sleep(0.02)
    note("end", job.job_id, job.attempt)
    return job.job_id


@handlers.on("pill")
async def pill(job: JobContext) -> None:
    """Ends the process it runs in."""
    note("start", job.job_id, job.attempt)
    os._exit(1)
