"""Updating a job, where the request names the job's type."""

from __future__ import annotations

from tocsin_server.domain.changes import UpdateJob
from tocsin_server.domain.errors import InvalidFields, JobNotFound, TocsinError, Violation
from tocsin_server.domain.job import Job, View
from tocsin_server.store.interface import JobStore


class Changing:
    """Updates standing jobs."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def update(self, queue: str, change: UpdateJob, type_: str | None) -> Job | TocsinError:
        """Update a job. With `type_`, only where that is the job's own: else InvalidFields on `job.type`.

        A job's type never changes while it stands, so reading it first is safe but for an id that is taken anew at
        this very moment.
        """
        if type_ is not None:
            [job] = await self._store.get(queue, [change.job_id], View.BASIC)
            if job is None:
                return JobNotFound(queue, change.job_id)
            if job.spec.type != type_:
                own = f"is not the job's own, {job.spec.type!r}; a job cannot change its type"
                return InvalidFields([Violation("job.type", own)])
        [changed] = await self._store.update(queue, [change])
        return changed
