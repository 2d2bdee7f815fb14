"""Cancelling, retrying and deleting all jobs that match a filter, in bounded steps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from tocsin_server.domain.commands import CancelJob, RetryJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.filters import JobFilter, ListQuery
from tocsin_server.domain.job_errors import JobActive, JobNotFound, WrongState
from tocsin_server.domain.states import ENDED, State
from tocsin_server.operations.pages import pages
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log


@dataclass(frozen=True, slots=True)
class Cancelled:
    """How many jobs a bulk cancel found: CANCELLED now, and ACTIVE ones that were asked to stop."""

    cancelled: int
    asked: int


class MatchingJobs:
    """Acts on all jobs of a queue that match a filter.

    Goes through them newest first, `step` at a time; jobs that arrive meanwhile are not touched. What was done before
    an error stays done, and a repeat goes on with what is left. Cost: as listing them, and the act on each.
    """

    def __init__(self, store: JobStore, *, step: int = 200) -> None:
        self._store = store
        self._step = step

    async def cancel(self, queue: str, filter_: JobFilter, *, reason: str, by: str, grace: timedelta) -> Cancelled:
        """Cancel what matches. Jobs that end or go meanwhile count as neither."""
        cancelled = asked = 0
        async for jobs in pages(self._store, queue, filter_, self._step):
            wishes = [CancelJob(job.job_id, reason, by, grace) for job in jobs]
            answers = await self._store.cancel(queue, wishes)
            job_log.cancel_asked(answers)
            for answer in answers:
                if isinstance(answer, TocsinError):
                    _only(answer, JobNotFound, WrongState)
                elif answer.state is State.CANCELLED:
                    cancelled += 1
                else:
                    asked += 1
        return Cancelled(cancelled, asked)

    async def retry(self, queue: str, filter_: JobFilter, *, dry_run: bool) -> int:
        """Make due again what matches; how many are, or with `dry_run` would be. Jobs that go meanwhile count not."""
        if dry_run:
            return await self._count(queue, filter_)
        retried = 0
        async for jobs in pages(self._store, queue, filter_, self._step):
            for answer in await self._store.update(queue, [RetryJob(job.job_id) for job in jobs]):
                if isinstance(answer, TocsinError):
                    _only(answer, JobNotFound, WrongState)
                else:
                    retried += 1
        return retried

    async def purge(self, queue: str, filter_: JobFilter, *, dry_run: bool) -> int:
        """Delete what matches and does not run; how many went, or with `dry_run` would.

        A job that changes its state in the moment between being found and being deleted is deleted all the same,
        unless it runs.
        """
        if dry_run:
            return await self._count(queue, filter_)
        purged = 0
        ended_only = filter_.states <= ENDED
        async for jobs in pages(self._store, queue, filter_, self._step):
            for refusal in await self._store.delete(queue, [job.job_id for job in jobs], ended_only=ended_only):
                if refusal is None:
                    purged += 1
                else:
                    _only(refusal, JobNotFound, JobActive, WrongState)
        return purged

    async def _count(self, queue: str, filter_: JobFilter) -> int:
        if filter_.counted:
            page = await self._store.page(ListQuery(queue, filter_, limit=1))
            if page.total is not None:
                return page.total
        return sum([len(jobs) async for jobs in pages(self._store, queue, filter_, self._step)])


def _only(refusal: TocsinError, *harmless: type[TocsinError]) -> None:
    """Pass over what a job's own change meanwhile explains; raise anything else."""
    if not isinstance(refusal, harmless):
        raise refusal
