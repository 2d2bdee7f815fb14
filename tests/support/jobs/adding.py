"""Handlers of each kind that add up what their parents found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin import Handlers, Job, JobContext

handlers = Handlers()


@handlers.on("number")
async def number(job: JobContext) -> dict[str, Any]:
    """Finds what it was given."""
    return job.data


@handlers.on("add_on_loop")
async def add_on_loop(job: JobContext) -> dict[str, Any]:
    """Awaits them."""
    return found(await job.parents())


@handlers.on("add_in_thread")
def add_in_thread(job: JobContext) -> dict[str, Any]:
    """Waits for them in a thread."""
    return found(job.parents())


@handlers.on("add_in_process", process=True)
def add_in_process(job: JobContext) -> dict[str, Any]:
    """The same in a process of its own, twice."""
    first, again = found(job.parents()), found(job.parents())
    return first if first == again else {}


@handlers.on("add_in_process_on_loop", process=True)
async def add_in_process_on_loop(job: JobContext) -> dict[str, Any]:
    """Awaits them in a process of its own."""
    return found(await job.parents())


@handlers.on("looks_on_loop")
async def looks_on_loop(job: JobContext) -> int:
    """Does not await them."""
    return len(job.parents())


def found(parents: Sequence[Job | None]) -> dict[str, Any]:
    """What stands in the results."""
    return {
        "ids": [None if one is None else one.job_id for one in parents],
        "sum": sum(one.result["n"] for one in parents if one is not None and isinstance(one.result, dict)),
    }
