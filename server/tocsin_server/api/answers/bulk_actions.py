"""How far bulk actions and their dry runs are, as messages: the shadow ones of wire.py."""

from __future__ import annotations

from collections import Counter

from tocsin.v1 import bulk_service_pb2 as pb
from tocsin.v1 import error_reason_pb2, job_pb2

from tocsin_server.api import wire
from tocsin_server.api.answers.job import fill
from tocsin_server.domain.bulk_actions import MAX_COUNTS
from tocsin_server.domain.job import View
from tocsin_server.domain.states import State
from tocsin_server.operations.bulk_actions.following import Followed
from tocsin_server.operations.bulk_actions.preview import Found

_BulkActResponse = wire.shadow(pb.BulkActResponse)


def counting(found: Found) -> pb.BulkActResponse:
    """A dry run under way."""
    answer = _BulkActResponse(matched=found.matched)
    _count(answer, found.counts)
    return answer


def counted(found: Found, token: str) -> pb.BulkActResponse:
    """A dry run at its end."""
    answer = counting(found)
    for job in found.sample:
        fill(answer.sample.add(), job, View.BASIC)
    answer.token = token
    answer.finished = True
    return answer


def acting(followed: Followed) -> pb.BulkActResponse:
    """An action, under way or at its end."""
    job, state = followed.job, followed.state
    answer = _BulkActResponse(queue=job.queue, job_id=job.job_id, finished=followed.finished)
    answer.state = job_pb2.Job.State.ValueType(job.state)
    if state is not None:
        if state.matched is not None:
            answer.matched = state.matched
        _count(answer, state.done)
        answer.done, answer.changed_meanwhile, answer.refused = state.done_jobs, state.changed, state.refused
        for one in state.refusals:
            reason = error_reason_pb2.ErrorReason.Value(one.reason)
            answer.refusals.add(job_id=one.job_id, message=one.message).reason = reason
    if job.state is State.FAILED and job.errors:
        answer.error = job.errors[-1].message
    elif job.state is State.CANCELLED:
        by = f" by {job.cancel.by}" if job.cancel is not None and job.cancel.by else ""
        why = f": {job.cancel.reason}" if job.cancel is not None and job.cancel.reason else ""
        answer.error = f"the action was cancelled{by}{why}"
    return answer


def _count(answer: pb.BulkActResponse, counts: Counter[tuple[State, str]]) -> None:
    for (state, type_), jobs in counts.most_common(MAX_COUNTS):
        count = answer.counts.add(type=type_, jobs=jobs)
        count.state = job_pb2.Job.State.ValueType(state)
