"""Handlers that do not end until a test opens the gate (GATE_OPEN in the server's environment)."""

from __future__ import annotations

import asyncio
import os

from tocsin import Handlers, JobContext

from support.journal import note

handlers = Handlers()


@handlers.on("gated", concurrency=50)
async def gated(job: JobContext) -> None:
    """Runs until its server stops it, or at once where the gate is open."""
    note("start", job.job_id, job.attempt)
    if not os.environ.get("GATE_OPEN"):
        await asyncio.Event().wait()
    note("end", job.job_id, job.attempt)
