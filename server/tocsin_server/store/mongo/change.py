"""Standing jobs are cancelled, changed and deleted."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin_server.domain import limits
from tocsin_server.domain.commands import CancelJob, Change, HoldJob, ReleaseJob, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.errors import TocsinError, TooLarge
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.job_errors import JobNotFound, RevisionMismatch, WrongState
from tocsin_server.domain.states import State
from tocsin_server.store.mongo import transitions
from tocsin_server.store.mongo.commit import Commit
from tocsin_server.store.mongo.documents import due_time, ended, job_of, set_payload, set_terms, spec_bytes
from tocsin_server.store.mongo.transitions import Standing

_PENDING = (State.SCHEDULED, State.BLOCKED, State.WAITING)


class ChangeJobs:
    """JobStore.cancel, update and delete."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit

    async def cancel(self, queue: str, cancels: Sequence[CancelJob]) -> list[Job | TocsinError]:
        """As JobStore.cancel."""

        def decide(at: int, job: Standing | None) -> Job | TocsinError:
            wish = cancels[at]
            if job is None:
                return JobNotFound(queue, wish.job_id)
            if job.state in (State.COMPLETED, State.FAILED):
                return WrongState(queue, wish.job_id, job.state, "CancelJob")
            transitions.ask_cancel(job, wish)
            return job_of(job.document, View.BASIC)

        return await self._commit.change(queue, [wish.job_id for wish in cancels], decide, cancels=True)

    async def update(self, queue: str, changes: Sequence[Change]) -> list[Job | TocsinError]:
        """As JobStore.update."""

        def decide(at: int, job: Standing | None) -> Job | TocsinError:
            change = changes[at]
            if job is None:
                return JobNotFound(queue, change.job_id)
            if refusal := _refused(queue, job, change):
                return refusal
            return job_of(job.document, View.BASIC)

        return await self._commit.change(queue, [change.job_id for change in changes], decide)

    async def delete(self, queue: str, job_ids: Sequence[str], *, ended_only: bool) -> list[TocsinError | None]:
        """As JobStore.delete."""

        def decide(at: int, job: Standing | None) -> TocsinError | None:
            if job is None:
                return JobNotFound(queue, job_ids[at])
            if job.state is State.ACTIVE or (ended_only and not ended(job.document)):
                return WrongState(queue, job_ids[at], job.state, "DeleteJob")
            transitions.remove(job)
            return None

        return await self._commit.change(queue, job_ids, decide)


def _refused(queue: str, job: Standing, change: Change) -> TocsinError | None:
    """Change the job, or say why not."""
    if isinstance(change, UpdateJob):
        return _updated(queue, job, change)
    if isinstance(change, RunJob):
        if job.state is State.SCHEDULED:
            transitions.make_due(job, job.now)
        elif job.state not in (State.WAITING, State.ACTIVE):
            return WrongState(queue, change.job_id, job.state, "RunJob")
        return None
    if isinstance(change, HoldJob):
        if job.state not in _PENDING:
            return WrongState(queue, change.job_id, job.state, "HoldJob")
        transitions.hold(job)
        return None
    if isinstance(change, ReleaseJob):
        if ended(job.document):
            return WrongState(queue, change.job_id, job.state, "ReleaseJob")
        transitions.release(job)
        return None
    if job.state in (State.FAILED, State.CANCELLED):
        transitions.retry(job)
    elif job.state not in (State.WAITING, State.ACTIVE):
        return WrongState(queue, change.job_id, job.state, RetryJob.__name__)
    return None


def _updated(queue: str, job: Standing, change: UpdateJob) -> TocsinError | None:
    document = dict(job.document)
    if job.state not in _PENDING:
        return WrongState(queue, change.job_id, job.state, "UpdateJob")
    if change.revision is not None and change.revision != document["revision"]:
        return RevisionMismatch(queue, change.job_id, change.revision, document["revision"])
    if change.terms is not None:
        set_terms(document, change.terms, change.tags or {})
    if change.payload is not None:
        set_payload(document, change.payload)
    if change.terms is not None or change.payload is not None:
        size = document["bytes"] + spec_bytes(document)
        if size > limits.JOB_SPEC_BYTES:
            return TooLarge("job", size, limits.JOB_SPEC_BYTES)
    if change.priority is not None:
        document["priority"] = change.priority
    job.document = document
    if change.when is not None:
        due = due_time(change.when, job.now)
        if job.state is not State.BLOCKED:
            transitions.make_due(job, due)
            return None
        document["due"] = due
    transitions.changed(job)
    return None
