"""Cancels of jobs that run."""

from __future__ import annotations

from tocsin import State

from tocsin_server.conformance.checking import check, expect
from tocsin_server.conformance.stage import LEASE, Stage

_OBEYS = 2.0  # seconds after it was told; the job does nothing but wait
_TOLD = 0.6 * LEASE.total_seconds()  # seconds after the ask; with plain calls the next heartbeat's answer tells


@check("cancel", "it stops a job that somebody cancels", takes=2.5)
async def cancel(stage: Stage) -> None:
    job_id = await stage.schedule("sleep", {"ms": 8_000})
    lease = await stage.leased(job_id)
    await stage.client.cancel(job_id, queue=stage.queue, reason="conformance", grace=60)
    told = await stage.journal.until(lambda: lease.cancel_told, _TOLD, "it could not be told of a cancel")
    await stage.journal.until(lambda: lease.outcomes, _OBEYS, "told of a cancel, it did not end the attempt")
    job = await stage.ended(job_id, 5.0, State.CANCELLED)
    expect(lease.outcomes[0][0] >= told, "it ended the attempt before it was told")
    expect(job.cancel and job.cancel.obey_time, "the job is not marked as obeyed")


@check("cancel_one", "cancelling one job leaves the others alone", takes=3.0)
async def cancel_one(stage: Stage) -> None:
    jobs = [await stage.schedule("sleep", {"ms": 2_500}) for _ in range(2)]
    leases = [await stage.leased(job_id) for job_id in jobs]
    await stage.client.cancel(jobs[0], queue=stage.queue, grace=60)
    await stage.journal.until(lambda: leases[0].outcomes, 8.0, "a cancelled job did not end")
    job = await stage.ended(jobs[1], 8.0)
    expect(job.attempt == 1, f"the other job was run {job.attempt} times")


CHECKS = (cancel, cancel_one)
