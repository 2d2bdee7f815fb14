"""What a script's answer means: the jobs, or the refusals that stand in their places."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.errors import TocsinError, TooLarge
from tocsin_server.domain.job import Added, Draft, Job, Kept, New, Put, Replaced, View
from tocsin_server.domain.job_errors import JobActive, JobExists, JobNotFound, RevisionMismatch, WrongState
from tocsin_server.domain.lease import LostLease
from tocsin_server.domain.quotas import too_many_jobs, too_many_types
from tocsin_server.domain.states import State
from tocsin_server.domain.times import to_time
from tocsin_server.store.redis.records import job_of

_NEW = struct.Struct(">B6s6s")  # state, due, arrival of a new job; zeros of any other
_OWN_ID = 36  # characters of an id that the store makes
_STATES = {int(state): state for state in State}
_PUT = {one.name.encode(): one for one in Put}


def added(drafts: Sequence[Draft], reply: Sequence[Any], jobs_max: int) -> list[Added | TocsinError]:
    """What add.lua says of jobs: {now, the new ones packed, the others in their order}."""
    now_ms, packed, others = reply
    now, left, at = to_time(now_ms), iter(others), 0
    last_due, due_time = now_ms, now  # jobs of a batch are mostly due together, and share one object of it
    answers: list[Added | TocsinError] = []
    for draft in drafts:
        state, due_ms, arrival = _NEW.unpack_from(packed, at)
        at += _NEW.size
        if not state:
            answers.append(_not_new(draft, next(left), jobs_max))
            continue
        job_id = draft.job_id
        if job_id is None:
            job_id, at = packed[at : at + _OWN_ID].decode(), at + _OWN_ID
        due = int.from_bytes(due_ms, "big")
        if due != last_due:
            last_due, due_time = due, now if due == now_ms else to_time(due)
        answers.append(New(job_id, _STATES[state], now, due_time, int.from_bytes(arrival, "big")))
    return answers


def _not_new(draft: Draft, reply: Sequence[Any], jobs_max: int) -> Added | TocsinError:
    queue = draft.spec.queue
    word, said = reply
    if word == b"KEPT":
        return Kept(job_of(queue, said, View.BASIC))
    if word == b"REPLACED":
        return Replaced(job_of(queue, said, View.BASIC))
    if word == b"JOB_EXISTS":
        return JobExists(queue, draft.job_id or "", State(said))
    if word == b"JOB_ACTIVE":
        return JobActive(queue, draft.job_id or "")
    return _quota(queue, said, jobs_max)


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
