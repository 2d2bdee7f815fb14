"""What a bulk action does to the jobs of one step, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from tocsin_server.domain import limits
from tocsin_server.domain.bulk_actions import BulkFate, BulkOrder, BulkVerb
from tocsin_server.domain.commands import CancelJob, Change, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.job_errors import JobActive, JobNotFound, RevisionMismatch, WrongState
from tocsin_server.domain.states import State
from tocsin_server.operations.bulk_actions.moving import MoveJobs
from tocsin_server.operations.bulk_actions.state import InFlight
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log

#: A refusal is why the job is as it was.
JobOutcome: TypeAlias = BulkFate | TocsinError


class Acts:
    """Does what an order says to jobs of its queue. Raises what the store raises: then some may be done."""

    def __init__(self, store: JobStore, order: BulkOrder) -> None:
        self._store = store
        self._order = order
        self._queue = order.queue
        self._moving = MoveJobs(store, order.queue, order.act.target)

    async def on(self, jobs: Sequence[InFlight]) -> list[JobOutcome]:
        """Act on jobs that were just seen; what each came to, in order."""
        if not jobs:
            return []
        verb, ids = self._order.act.verb, [job.job_id for job in jobs]
        if verb is BulkVerb.MOVE:
            return await self._moving.move(jobs)
        if verb is BulkVerb.DELETE:
            return [_fate(answer) for answer in await self._store.delete(self._queue, ids)]
        if verb is BulkVerb.CANCEL:
            act = self._order.act
            wishes = [CancelJob(job_id, act.reason, self._order.by, act.grace) for job_id in ids]
            answers = await self._store.cancel(self._queue, wishes)
            job_log.cancel_asked(answers)
        else:
            answers = await self._store.update(self._queue, [self._change(job) for job in jobs])
        return [_fate(answer) for answer in answers]

    async def settled(self, jobs: Sequence[InFlight]) -> list[JobOutcome]:
        """The same for jobs on which another attempt may have acted before it died: those that are as they were then
        are acted upon, and no other a second time."""
        if not jobs:
            return []
        if self._order.act.verb is BulkVerb.MOVE:
            return await self._moving.move(jobs, resumed=True)
        standing = await self._store.get(self._queue, [job.job_id for job in jobs], View.BASIC)
        untouched = [job for job, now in zip(jobs, standing, strict=True) if now and now.revision == job.revision]
        acted = dict(zip([job.job_id for job in untouched], await self.on(untouched), strict=True))
        return [acted.get(job.job_id) or self._earlier(now) for job, now in zip(jobs, standing, strict=True)]

    def _change(self, job: InFlight) -> Change:
        act = self._order.act
        match act.verb:
            case BulkVerb.RETRY:
                return RetryJob(job.job_id)
            case BulkVerb.RUN:
                return RunJob(job.job_id)
            case BulkVerb.PRIORITY:
                return UpdateJob(job.job_id, priority=act.priority, revision=job.revision)
            case _:
                return UpdateJob(job.job_id, when=self._due(job), revision=job.revision)

    def _due(self, job: InFlight) -> datetime:
        act = self._order.act
        if act.to is not None:
            return act.to
        try:
            return min(max(job.due + act.by, limits.FIRST_TIME), limits.LAST_TIME)
        except OverflowError:
            return limits.LAST_TIME if act.by.days >= 0 else limits.FIRST_TIME

    def _earlier(self, now: Job | None) -> BulkFate:
        """What became of a job that is no longer as it was when the step began: most likely our own act."""
        verb = self._order.act.verb
        if now is None:
            return BulkFate.DONE if verb is BulkVerb.DELETE else BulkFate.CHANGED
        if verb is BulkVerb.DELETE:
            return BulkFate.CHANGED
        if verb is BulkVerb.CANCEL:
            return BulkFate.DONE if now.cancel is not None or now.state is State.CANCELLED else BulkFate.CHANGED
        return BulkFate.DONE


def _fate(answer: Job | TocsinError | None) -> JobOutcome:
    if isinstance(answer, JobNotFound | WrongState | JobActive | RevisionMismatch):
        return BulkFate.CHANGED  # in the moment between being seen and being acted upon
    return answer if isinstance(answer, TocsinError) else BulkFate.DONE
