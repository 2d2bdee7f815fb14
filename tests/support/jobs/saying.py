"""A handler that says a text of its payload in every way that a handler has."""

from __future__ import annotations

from tocsin import Handlers, JobContext

handlers = Handlers()


@handlers.on("says")
async def says(job: JobContext) -> dict[str, str]:
    """Progress, a line of log, an error in the first attempt, a result in the second."""
    text = job.data["text"]
    await job.progress(0.5, f"{text} progress")
    await job.log(f"{text} line")
    if job.attempt == 1:
        raise ValueError(f"{text} error")
    return {"said": f"{text} result"}
