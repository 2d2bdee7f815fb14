"""Jobs that end as their payload says, and journal what they did."""

from __future__ import annotations

from tocsin import DoNotRetry, Handlers, JobContext

from support.journal import note

handlers = Handlers()


async def _mixed(job: JobContext) -> None:
    """`fails`: how many attempts fail before one ends well; `dies`: the job fails for good."""
    if job.data.get("dies"):
        note(f"{job.type} failed", job.job_id, job.attempt)
        raise DoNotRetry(f"order {job.job_id} has no price")
    if job.attempt <= job.data.get("fails", 0):
        note(f"{job.type} repeated", job.job_id, job.attempt)
        raise ConnectionError("the bank is away")
    note(f"{job.type} completed", job.job_id, job.attempt)


for _type in ("charge", "resize", "mail"):
    handlers.on(_type, concurrency=500)(_mixed)
