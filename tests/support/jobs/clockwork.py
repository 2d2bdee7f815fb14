"""Handlers of an application that tests move through its days."""

from __future__ import annotations

from tocsin import Handlers, JobContext

handlers = Handlers()


@handlers.on("nightly_clean_up")
def nightly_clean_up(job: JobContext) -> None:
    """Cleans up at its third attempt."""
    if job.attempt < 3:
        raise RuntimeError(f"attempt {job.attempt} found the disk busy")


@handlers.on("greet")
def greet(job: JobContext) -> None:
    """Is done at once."""
