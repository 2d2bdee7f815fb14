"""What a script's answer means: the jobs, or the refusals that stand in their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.errors import (
    JobActive,
    JobExists,
    JobNotFound,
    RevisionMismatch,
    TocsinError,
    TooLarge,
    WrongState,
)
from tocsin_server.domain.job import Added, Draft, Job, Put, View
from tocsin_server.domain.lease import LostLease
from tocsin_server.domain.states import State
from tocsin_server.store.quotas import too_many_jobs, too_many_types
from tocsin_server.store.redis.records import job_of

_ADDED = {b"CREATED": Added.CREATED, b"REPLACED": Added.REPLACED, b"KEPT": Added.KEPT}
_PUT = {one.name.encode(): one for one in Put}


def added(draft: Draft, reply: Sequence[Any], jobs_max: int) -> tuple[Job, Added] | TocsinError:
    """What add.lua says of one job."""
    spec, word = draft.spec, reply[0]
    if outcome := _ADDED.get(word):
        return job_of(spec.queue, reply[1], View.BASIC), outcome
    if word == b"JOB_EXISTS":
        return JobExists(spec.queue, draft.job_id or "", State(reply[1]))
    if word == b"JOB_ACTIVE":
        return JobActive(spec.queue, draft.job_id or "")
    return _quota(spec.queue, reply[1], jobs_max)


def put(job: Job, word: bytes, jobs_max: int) -> Put | TocsinError:
    """What put.lua says of one job."""
    if outcome := _PUT.get(word):
        return outcome
    return JobActive(job.queue, job.job_id) if word == b"JOB_ACTIVE" else _quota(job.queue, word.lower(), jobs_max)


def _quota(queue: str, of_what: bytes, jobs_max: int) -> TocsinError:
    return too_many_jobs(queue, jobs_max) if of_what == b"jobs" else too_many_types(queue)


def lost_lease(reply: Sequence[Any]) -> LostLease:
    """What reap.lua says of one job."""
    job_id, type_, attempt, state = reply
    return LostLease(job_id.decode(), type_.decode(), attempt, State(state))


def changed(queue: str, job_id: str, verb: str, revision: int | None, reply: Sequence[Any]) -> Job | TocsinError:
    """What cancel.lua and update.lua say of one job."""
    if reply[0] == b"OK":
        return job_of(queue, reply[1], View.BASIC)
    if reply[0] == b"TOO_LARGE":
        return TooLarge("job", reply[1], limits.JOB_SPEC_BYTES)
    if reply[0] == b"REVISION_MISMATCH":
        return RevisionMismatch(queue, job_id, revision or 0, reply[1])
    return refusal(queue, job_id, verb, reply)


def deleted(queue: str, job_id: str, reply: Sequence[Any]) -> TocsinError | None:
    """What delete.lua says of one job."""
    return None if reply[0] == b"OK" else refusal(queue, job_id, "DeleteJob", reply)


def refusal(queue: str, job_id: str, verb: str, reply: Sequence[Any]) -> TocsinError:
    """JOB_NOT_FOUND or WRONG_STATE."""
    if reply[0] == b"JOB_NOT_FOUND":
        return JobNotFound(queue, job_id)
    return WrongState(queue, job_id, State(reply[1]), verb)
