"""What a script's answer means: the jobs, or the refusals that stand in their places."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.domain.dependencies import EndedParent, Errands, ParentEnd, ParentJob
from tocsin_server.domain.errors import QueueDraining, TocsinError, TooLarge
from tocsin_server.domain.explaining import HeldBack, Outlook, Turn
from tocsin_server.domain.job import Added, Draft, Job, Kept, New, Put, Replaced, View
from tocsin_server.domain.job_errors import (
    JobActive,
    JobExists,
    JobNotFound,
    LeaseLost,
    RevisionMismatch,
    WrongState,
)
from tocsin_server.domain.lease import Claim, Claimed, Extended, Finished, Lease, LostLease
from tocsin_server.domain.quotas import Quotas, too_many_jobs, too_many_types
from tocsin_server.domain.states import State
from tocsin_server.domain.times import to_time
from tocsin_server.store.condition_records import ref_in
from tocsin_server.store.redis.records import AlikeReader, job_of, lease_end, made_id, six_bytes

_RUN = struct.Struct(">HB6s6s")  # new jobs: how many, state, due, arrival of the first; state 0: of one that is not new
_STATES = {int(state): state for state in State}
_LOST, _REPEATED = b"LR"  # finish.lua's words
_PUT = {one.name.encode(): one for one in Put}


def added(
    drafts: Sequence[Draft], arguments: Sequence[Sequence[bytes]], reply: Sequence[Any], quotas: Quotas
) -> list[Added | TocsinError]:
    """What add.lua says of jobs: {now, runs of new ones, the others in their order}. It was given these `arguments`."""
    now_ms, packed, others = reply
    now, create, left = to_time(now_ms), six_bytes(now_ms), iter(others)
    answers: list[Added | TocsinError] = []
    for count, state, due_ms, first in _RUN.iter_unpack(packed):
        at = len(answers)
        if not state:
            answers.append(_not_new(drafts[at], next(left), quotas))
            continue
        due = now if due_ms == create else to_time(int.from_bytes(due_ms, "big"))  # one object for all of a run
        arrival = int.from_bytes(first, "big")
        for draft, argument in zip(drafts[at : at + count], arguments[at : at + count], strict=True):
            job_id = draft.job_id
            if job_id is None:
                job_id = made_id(create, argument[1][:4], six_bytes(arrival))
            answers.append(New(job_id, _STATES[state], now, due, arrival))
            arrival += 1
    return answers


def _not_new(draft: Draft, reply: Sequence[Any], quotas: Quotas) -> Added | TocsinError:
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
    return QueueDraining(queue) if word == b"DRAINING" else _quota(queue, said, quotas)


def put(job: Job, word: bytes, quotas: Quotas) -> Put | TocsinError:
    """What put.lua says of one job."""
    if outcome := _PUT.get(word):
        return outcome
    return JobActive(job.queue, job.job_id) if word == b"JOB_ACTIVE" else _quota(job.queue, word.lower(), quotas)


def _quota(queue: str, of_what: bytes, quotas: Quotas) -> TocsinError:
    return too_many_jobs(queue, quotas.jobs_of(queue) or 0) if of_what == b"jobs" else too_many_types(queue)


def lost_lease(queue: str, reply: bytes) -> LostLease:
    """What reap.lua says of one job."""
    job = job_of(queue, reply, View.BASIC)
    return LostLease(job.job_id, job.spec.type, job.attempt, job.state)


def outlook(queue: str, now_ms: int, paused_ms: bytes | None, reply: Sequence[Any] | None) -> Outlook | None:
    """What explain.lua says of one job."""
    if reply is None:
        return None
    answer, ahead, hindrance, *waits_for = reply
    open_parents = waits_for.pop(0) if waits_for and isinstance(waits_for[0], int) else None
    ids = [one.decode() for one in waits_for] if open_parents is None else [_as_seen(queue, one) for one in waits_for]
    return Outlook(
        job_of(queue, answer, View.BASIC),
        to_time(now_ms),
        None if paused_ms is None else to_time(int(paused_ms)),
        lease_end(answer),
        None if ahead < 0 else ahead,
        _hindrance(hindrance),
        tuple(ids),
        open_parents,
    )


def _as_seen(queue: str, reference: bytes) -> str:
    """A job's id; of one of another queue with that."""
    named = ref_in(reference)
    return named.job_id if named.queue == queue else f"{named.queue}/{named.job_id}"


def errands(queue: str, reply: Sequence[Any]) -> Errands:
    """What errands.lua says."""
    ended, blocked = reply
    return Errands(
        tuple(
            EndedParent(token, ParentJob(queue, job_id.decode(), arrival, ParentEnd(how)), tuple(map(ref_in, children)))
            for token, job_id, arrival, how, children in ended
        ),
        tuple(job_id.decode() for job_id in blocked),
    )


def _hindrance(said: Sequence[Any] | None) -> HeldBack | Turn | None:
    if not said:
        return None
    if said[0] == b"TURN":
        return Turn(said[1].decode(), said[2])
    _, name, active, most, next_ms = said
    return HeldBack(name.decode(), active, most or None, to_time(next_ms) if next_ms else None)


def extended(lease: Lease, reply: Sequence[Any]) -> Extended | TocsinError:
    """What extend.lua says of one lease."""
    if reply[0] == b"LEASE_LOST":
        return LeaseLost(lease.queue, lease.job_id, lease.attempt)
    if reply[0] == b"CANCEL":
        return Extended(to_time(reply[1]), reply[3].decode(errors="replace"), timedelta(milliseconds=reply[2]))
    return Extended(to_time(reply[1]))


def finished(lease: Lease, word: int, state: int) -> Finished | TocsinError:
    """What finish.lua says of one attempt, in two bytes."""
    if word == _LOST:
        return LeaseLost(lease.queue, lease.job_id, lease.attempt)
    return Finished(_STATES[state], word == _REPEATED)


def cancelled(queue: str, job_ids: Sequence[str], reply: Sequence[Sequence[Any]]) -> list[Job | TocsinError]:
    """What cancel.lua says."""
    read = AlikeReader(queue)
    return [
        read(answer[1]) if answer[0] == b"OK" else refusal(queue, job_id, "CancelJob", answer)
        for job_id, answer in zip(job_ids, reply, strict=True)
    ]


def changed(queue: str, job_id: str, verb: str, revision: int | None, reply: Sequence[Any]) -> Job | TocsinError:
    """What update.lua says of one job."""
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


def claim(queue: str, answer: Sequence[Any], request: bytes) -> Claim:
    """What claim.lua says."""
    now, more, jobs = answer
    claimed = []
    for one in jobs:
        job = job_of(queue, one, View.FULL)
        token = job.arrival.to_bytes(6, "big") + request
        claimed.append(Claimed(job, Lease(queue, job.job_id, job.attempt, token)))
    return Claim(tuple(claimed), to_time(now), more == b"1")
