"""Batches: each item is checked, refused and answered by itself, in the order asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from typing import TypeAlias, TypeVar, cast

from tocsin.v1 import bulk_pb2, error_reason_pb2, job_pb2
from tocsin.v1 import job_service_pb2 as pb

from tocsin_server.api import wire
from tocsin_server.api.answers.job import AlikeWriter, fill, slim
from tocsin_server.api.answers.scheduling import fill_scheduled, new_job_result
from tocsin_server.api.errors import ITEM_STATUS_BYTES, to_status
from tocsin_server.api.sized import too_large
from tocsin_server.domain import limits
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job, New, View
from tocsin_server.domain.states import State
from tocsin_server.operations.schedule_jobs import Scheduled

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_Asked = TypeVar("_Asked")

_Result: TypeAlias = (
    pb.BatchScheduleJobsResponse.Result
    | pb.BatchCancelJobsResponse.Result
    | bulk_pb2.BatchRetryJobsResponse.Result
    | bulk_pb2.BatchDeleteJobsResponse.Result
)

_BatchScheduleJobsResponse = wire.shadow(pb.BatchScheduleJobsResponse)
_ScheduledResult = wire.shadow(pb.BatchScheduleJobsResponse.Result)
_BatchCancelJobsResponse = wire.shadow(pb.BatchCancelJobsResponse)
_BatchRetryJobsResponse = wire.shadow(bulk_pb2.BatchRetryJobsResponse)
_BatchDeleteJobsResponse = wire.shadow(bulk_pb2.BatchDeleteJobsResponse)


def tried(read: Callable[[_In], _Out]) -> Callable[[_In], _Out | TocsinError]:
    """`read`, with a refusal as its answer."""

    def answer(item: _In) -> _Out | TocsinError:
        try:
            return read(item)
        except TocsinError as refusal:
            # What it came through holds the item, and would as long as the batch.
            return refusal.with_traceback(None)

    return answer


def good(asked: Iterable[_Asked | TocsinError]) -> list[_Asked]:
    """The items that were not refused."""
    return [item for item in asked if not isinstance(item, TocsinError)]


def in_order(
    asked: Iterable[_Asked | TocsinError], of_good: Sequence[_Out | TocsinError]
) -> Iterator[_Out | TocsinError]:
    """An answer for each item: its refusal, or the next of the answers to the good ones."""
    left = iter(of_good)
    for item in asked:
        yield item if isinstance(item, TocsinError) else next(left)


def scheduled(items: Iterable[Scheduled]) -> pb.BatchScheduleJobsResponse:
    """The answer to a batch of jobs."""
    answered = list(items)
    target = _BatchScheduleJobsResponse()
    results = cast("MutableSequence[bytes]", target.results)
    results.extend(_scheduled_result(item) for item in answered)
    if too_large(target):
        del results[:]
        results.extend(_scheduled_result(item, slimmed=True) for item in answered)
    return target


def _scheduled_result(item: Scheduled, *, slimmed: bool = False) -> bytes:
    if not isinstance(item, TocsinError):
        draft, added = item
        if isinstance(added, New) and (raw := new_job_result(draft.spec, added)) is not None:
            return raw
    result = _ScheduledResult()
    if isinstance(item, TocsinError):
        _refuse(result, item)
    else:
        fill_scheduled(result.response, *item)
        if slimmed:
            slim(result.response.job)
    return result.SerializeToString()


def cancelled(job_ids: Iterable[str], items: Iterable[Job | TocsinError]) -> pb.BatchCancelJobsResponse:
    """The answer to a batch of ids to cancel."""
    target = _BatchCancelJobsResponse()
    writer = AlikeWriter()
    for job_id, item in zip(job_ids, items, strict=True):
        result = target.results.add()
        if isinstance(item, TocsinError):
            # An id that is refused may be any text, of any length.
            result.job_id = job_id[: limits.JOB_ID_CHARACTERS]
            _refuse(result, item)
            continue
        result.job_id = job_id
        writer.fill(result.job, item)
        if item.state is State.CANCELLED:
            target.cancelled += 1
        else:
            target.asked += 1
    _fit(target, (r.job for r in target.results if r.WhichOneof("result") == "job"))
    return target


def retried(job_ids: Iterable[str], items: Iterable[Job | TocsinError]) -> bulk_pb2.BatchRetryJobsResponse:
    """The answer to a batch of ids to make due again."""
    target = _BatchRetryJobsResponse()
    for job_id, item in zip(job_ids, items, strict=True):
        result = target.results.add(job_id=job_id[: limits.JOB_ID_CHARACTERS])
        if isinstance(item, TocsinError):
            _refuse(result, item)
        else:
            fill(result.job, item, View.BASIC)
            target.retried += 1
    _fit(target, (r.job for r in target.results if r.WhichOneof("result") == "job"))
    return target


def deleted(job_ids: Iterable[str], items: Iterable[TocsinError | None]) -> bulk_pb2.BatchDeleteJobsResponse:
    """The answer to a batch of ids to delete."""
    target = _BatchDeleteJobsResponse()
    for job_id, item in zip(job_ids, items, strict=True):
        result = target.results.add(job_id=job_id[: limits.JOB_ID_CHARACTERS])
        if item is None:
            target.deleted += 1
        else:
            _refuse(result, item)
    return target


def _refuse(result: _Result, refusal: TocsinError) -> None:
    # By way of its bytes: google.rpc.Status too is another class in the shadow messages' pool.
    result.error.MergeFromString(to_status(refusal, most_bytes=ITEM_STATUS_BYTES).SerializeToString())
    result.error_reason = error_reason_pb2.ErrorReason.Value(refusal.reason)


def _fit(response: pb.BatchCancelJobsResponse | bulk_pb2.BatchRetryJobsResponse, jobs: Iterable[job_pb2.Job]) -> None:
    """A batch cannot end early. One of a thousand jobs with long errors and tags is given without those: the longest
    ids, names and refusals that are left stay below the limit."""
    if too_large(response):
        for job in jobs:
            slim(job)
