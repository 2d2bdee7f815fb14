"""Handlers that block, and others that must run beside them."""

from __future__ import annotations

import time

from tocsin import Handlers, JobContext

from support.journal import note

handlers = Handlers()


@handlers.on("async_asleep")
async def async_asleep(job: JobContext) -> None:
    """What nobody should do: blocks the loop it runs on for a minute."""
    note("start", job.job_id, job.attempt)
    time.sleep(60)  # noqa: ASYNC251  # the fault that this handler is for


@handlers.on("sync_spinning")
def sync_spinning(job: JobContext) -> None:
    """Computes for ever, and never looks at its flag."""
    note("start", job.job_id, job.attempt)
    while True:
        pass


@handlers.on("sync_quick")
def sync_quick(job: JobContext) -> None:
    """Must start in a thread beside the blocked ones."""
    note("start", job.job_id, job.attempt)


@handlers.on("async_quick")
async def async_quick(job: JobContext) -> None:
    """Must start on a loop beside the blocked one."""
    note("start", job.job_id, job.attempt)
