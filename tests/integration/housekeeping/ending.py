"""Many jobs that ended, each in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from contract.backdating import Backdate
from contract.builders import a_draft, added, cancelled, claimed, completed, failed, finished
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.states import State
from tocsin_server.store.interface import JobStore


async def ended(
    store: JobStore, backdate: Backdate, *wanted: tuple[str, State, timedelta], queue: str = "q"
) -> list[Job]:
    """A job for each (type, state, how long ago it ended), as it stands, in order."""
    jobs = await added(store, *(a_draft(type=type_, queue=queue) for type_, _, _ in wanted))
    state_of = {job.job_id: state for job, (_, state, _) in zip(jobs, wanted, strict=True)}
    for job in jobs:
        if state_of[job.job_id] is State.CANCELLED:
            await cancelled(store, job)
    ones = await claimed(store, queue=queue, types=sorted({type_ for type_, _, _ in wanted}))
    await finished(
        store, *(failed(one) if state_of[one.job.job_id] is State.FAILED else completed(one) for one in ones)
    )
    standing = await again(store, jobs)
    for job, (_, _, ago) in zip(standing, wanted, strict=True):
        if ago:
            backdate.end(job, by=ago)
    return await again(store, jobs)


async def again(store: JobStore, jobs: Sequence[Job]) -> list[Job]:
    """Those of the jobs that stand, as they are now."""
    found = await store.get(jobs[0].queue, [job.job_id for job in jobs], View.BASIC)
    return [job for job in found if job is not None]
