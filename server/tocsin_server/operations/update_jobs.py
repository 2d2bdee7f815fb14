"""Updating a job, where what stands must be known first: its type, or the terms of which some are to stay."""

from __future__ import annotations

from dataclasses import replace

from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.defaults import TermsChange, changed_terms
from tocsin_server.domain.errors import InvalidFields, TocsinError, Violation
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.job_errors import JobNotFound, RevisionMismatch
from tocsin_server.store.interface import JobStore

_ROUNDS = 50  # then the caller is told that it has changed, as if its revision had been given


class UpdateJobs:
    """Updates standing jobs."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def update(
        self, queue: str, change: UpdateJob, type_: str | None, asked: TermsChange | None = None
    ) -> Job | TocsinError:
        """Update a job. With `type_`, only where that is the job's own: else InvalidFields on `job.type`. `asked`: what
        is to change of its terms.

        A job's type never changes while it stands, so reading it first is safe but for an id that is taken anew at
        this very moment. Its terms may be changed by somebody else meanwhile: then they are read again.
        """
        for _ in range(_ROUNDS):
            wanted = change
            if type_ is not None or asked is not None:
                [job] = await self._store.get(queue, [change.job_id], View.BASIC)
                if job is None:
                    return JobNotFound(queue, change.job_id)
                if type_ is not None and job.spec.type != type_:
                    own = f"is not the job's own, {job.spec.type!r}; a job cannot change its type"
                    return InvalidFields([Violation("job.type", own)])
                if asked is not None:
                    tags = job.spec.tags if asked.tags is None else asked.tags
                    revision = job.revision if change.revision is None else change.revision
                    wanted = replace(change, terms=changed_terms(job.spec.terms, asked), tags=tags, revision=revision)
            [changed] = await self._store.update(queue, [wanted])
            if change.revision is not None or not isinstance(changed, RevisionMismatch):
                return changed
        return changed
