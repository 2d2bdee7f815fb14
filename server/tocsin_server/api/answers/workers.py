"""What workers are given and told. The messages are the shadow ones of wire.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from datetime import timedelta
from typing import cast

from tocsin.v1 import error_reason_pb2, job_pb2
from tocsin.v1 import worker_service_pb2 as pb

from tocsin_server.api import page_tokens, wire
from tocsin_server.api.answers.leased_jobs import leased_job
from tocsin_server.api.errors import ITEM_STATUS_BYTES, to_status
from tocsin_server.api.lease_tokens import token_of
from tocsin_server.api.sized import AnswerRoom
from tocsin_server.api.times import set_span, set_time
from tocsin_server.domain import limits
from tocsin_server.domain.errors import Draining, TocsinError
from tocsin_server.domain.job import Job
from tocsin_server.domain.job_errors import LeaseLost
from tocsin_server.domain.lease import Claimed, Extended, Finished
from tocsin_server.domain.queues import WorkerFigures
from tocsin_server.domain.states import State
from tocsin_server.operations.working.conversation import Sending

_LeaseJobsResponse = wire.shadow(pb.LeaseJobsResponse)
_ReportOutcomesResponse = wire.shadow(pb.ReportOutcomesResponse)
_ExtendLeasesResponse = wire.shadow(pb.ExtendLeasesResponse)
_StreamJobsResponse = wire.shadow(pb.StreamJobsResponse)
_ListWorkersResponse = wire.shadow(pb.ListWorkersResponse)

_Result = wire.shadow(pb.ReportOutcomesResponse.Result)
_RECORDED = {
    state: pb.ReportOutcomesResponse.Result(state=job_pb2.Job.State.ValueType(state)).SerializeToString()
    for state in State
}

#: Bytes that a job takes at most beside its payload and its errors: names, times, tags, progress, its cancel and its
#: token. Of any other entry, and of one that has no text.
_JOB_BYTES, _ENTRY_BYTES, _SMALL_BYTES = 12_000, 4_096, 300
_AROUND_BYTES = 6  # a tag and a length

_HELD_SHOWN = 100  # attempts of a worker


def leased(claimed: Sequence[Claimed], lease: timedelta) -> tuple[pb.LeaseJobsResponse, Sequence[Claimed]]:
    """The answer to a poll, and the jobs that have no room in it."""
    answer, room = _LeaseJobsResponse(), limits.RESPONSE_BYTES
    jobs = cast(MutableSequence[bytes], answer.jobs)
    for at, one in enumerate(claimed):
        room -= _most_bytes(one.job)
        if room < 0 and at:
            return answer, claimed[at:]
        jobs.append(leased_job(one, lease))
    return answer, ()


def reported(items: Iterable[Finished | TocsinError]) -> pb.ReportOutcomesResponse:
    """What became of outcomes."""
    answer = _ReportOutcomesResponse()
    cast(MutableSequence[bytes], answer.results).extend(map(_report, items))
    return answer


def extended(items: Iterable[Extended | TocsinError]) -> pb.ExtendLeasesResponse:
    """What became of leases."""
    answer = _ExtendLeasesResponse()
    for item in items:
        result = answer.results.add()
        if isinstance(item, Extended):
            set_time(result.lease_end, item.lease_end)
            if item.cancel_reason is not None:
                _fill_wish(result.cancel, item)
        elif isinstance(item, LeaseLost):
            result.lost = True
        else:
            _fill_error(result, item)
    return answer


def messages(sending: Sending, server: str) -> Iterator[pb.StreamJobsResponse]:
    """What is to be sent on a stream, in messages none of which is over the limit of an answer."""
    answer, room = _StreamJobsResponse(), limits.RESPONSE_BYTES
    if sending.beat is not None:
        set_span(answer.welcome.lease, sending.lease)
        set_span(answer.welcome.heartbeat_every, sending.beat)
        answer.welcome.server = server
    if sending.drain:
        set_span(answer.drain.retry_after, Draining.retry_after)

    for raw in map(_report, sending.acks):
        cast(MutableSequence[bytes], answer.acks).append(raw)
        room -= len(raw) + _AROUND_BYTES
        if room < _ENTRY_BYTES:
            yield answer
            answer, room = _StreamJobsResponse(), limits.RESPONSE_BYTES
    for lease, type_, wish in sending.cancels:
        cancel = answer.cancels.add(token=token_of(lease, type_))
        _fill_wish(cancel.wish, wish)
        room -= _ENTRY_BYTES
        if room < _ENTRY_BYTES:
            yield answer
            answer, room = _StreamJobsResponse(), limits.RESPONSE_BYTES
    for lost in sending.lost:
        token = lost if isinstance(lost, bytes) else token_of(*lost)
        answer.lost.append(token)
        room -= len(token) + _SMALL_BYTES
        if room < _ENTRY_BYTES:
            yield answer
            answer, room = _StreamJobsResponse(), limits.RESPONSE_BYTES
    for one in sending.leased:
        size = _most_bytes(one.job)
        if size > room:
            yield answer
            answer, room = _StreamJobsResponse(), limits.RESPONSE_BYTES
        cast(MutableSequence[bytes], answer.leased).append(leased_job(one, sending.lease))
        room -= size
    if room < limits.RESPONSE_BYTES or sending.beat or sending.drain:
        yield answer


def listed(workers: Sequence[WorkerFigures], size: int, after: str) -> pb.ListWorkersResponse:
    """A page of workers, which are in order: those after `after`."""
    answer, room = _ListWorkersResponse(), AnswerRoom()
    for one in workers:
        if one.worker <= after:
            continue
        if len(answer.workers) == size:
            break
        entry = answer.workers.add()
        _fill_worker(entry, one)
        if not room.takes(entry):
            del answer.workers[-1]
            break
    else:
        return answer
    answer.next_page_token = page_tokens.workers_token(answer.workers[-1].worker.name)
    return answer


def _fill_worker(target: pb.ListWorkersResponse.Entry, worker: WorkerFigures) -> None:
    who = target.worker
    who.name, who.version, who.language = worker.worker, worker.version, worker.language
    who.labels.update(worker.labels)
    target.embedded = not worker.remote
    target.queues.extend(worker.queues)
    target.types.extend(worker.types)
    if worker.since is not None:
        set_time(target.since, worker.since)
    if worker.seen_time is not None:
        set_time(target.seen_time, worker.seen_time)
    target.holds, target.free = worker.busy, worker.free
    for one in worker.held[:_HELD_SHOWN]:
        target.held.add(queue=one.queue, job_id=one.job_id, type=one.type, attempt=one.attempt)


def _most_bytes(job: Job) -> int:
    """No fewer than a leased job has as a message: to count them would cost as much as to write them."""
    body = 0 if job.spec.payload is None else len(job.spec.payload.body)
    traces = len(job.errors) * (limits.ERROR_TRACE_BYTES + limits.ERROR_MESSAGE_BYTES + _SMALL_BYTES)
    return body + traces + _JOB_BYTES


def _report(item: Finished | TocsinError) -> bytes:
    """A tocsin.v1.ReportOutcomesResponse.Result."""
    if isinstance(item, Finished):
        return _RECORDED[item.state]
    result = _Result(error_reason=error_reason_pb2.ErrorReason.Value(item.reason))
    _fill_error(result, item)
    return result.SerializeToString()


def _fill_error(target: pb.ReportOutcomesResponse.Result | pb.ExtendLeasesResponse.Result, error: TocsinError) -> None:
    # By way of its bytes: google.rpc.Status is another class in the shadow messages' pool.
    target.error.MergeFromString(to_status(error, most_bytes=ITEM_STATUS_BYTES).SerializeToString())


def _fill_wish(target: pb.StopWish, wish: Extended) -> None:
    target.reason = wish.cancel_reason or ""
    if wish.cancel_grace is not None:
        set_span(target.grace, wish.cancel_grace)
