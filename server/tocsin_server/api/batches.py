"""Batches: each item is checked, refused and answered by itself, in the order asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from tocsin.v1 import bulk_pb2, error_reason_pb2, job_pb2, job_service_pb2

from tocsin_server.api.convert.job import fill, fill_scheduled, slim
from tocsin_server.api.errors import ITEM_STATUS_BYTES, to_status
from tocsin_server.domain import limits
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.states import State
from tocsin_server.operations.schedule_jobs import Scheduled

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_Asked = TypeVar("_Asked")


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


def answers(
    asked: Iterable[_Asked | TocsinError], of_good: Sequence[_Out | TocsinError]
) -> Iterator[_Out | TocsinError]:
    """An answer for each item: its refusal, or the next of the answers to the good ones."""
    left = iter(of_good)
    for item in asked:
        yield item if isinstance(item, TocsinError) else next(left)


def fill_batch_scheduled(target: job_service_pb2.BatchScheduleJobsResponse, items: Iterable[Scheduled]) -> None:
    """Write the answer to a batch of jobs."""
    for item in items:
        result = target.results.add()
        if isinstance(item, TocsinError):
            result.error.MergeFromString(_status(item))
            result.error_reason = error_reason_pb2.ErrorReason.Value(item.reason)
        else:
            fill_scheduled(result.response, *item)
    _fit(target, (r.response.job for r in target.results if r.WhichOneof("result") == "response"))


def fill_batch_cancelled(
    target: job_service_pb2.BatchCancelJobsResponse, job_ids: Iterable[str], items: Iterable[Job | TocsinError]
) -> None:
    """Write the answer to a batch of ids to cancel."""
    for job_id, item in zip(job_ids, items, strict=True):
        result = target.results.add()
        if isinstance(item, TocsinError):
            # An id that is refused may be any text, of any length.
            result.job_id = job_id[: limits.JOB_ID_CHARACTERS]
            result.error.MergeFromString(_status(item))
            result.error_reason = error_reason_pb2.ErrorReason.Value(item.reason)
            continue
        result.job_id = job_id
        fill(result.job, item, View.BASIC)
        if item.state is State.CANCELLED:
            target.cancelled += 1
        else:
            target.asked += 1
    _fit(target, (r.job for r in target.results if r.WhichOneof("result") == "job"))


def fill_batch_retried(
    target: bulk_pb2.BatchRetryJobsResponse, job_ids: Iterable[str], items: Iterable[Job | TocsinError]
) -> None:
    """Write the answer to a batch of ids to make due again."""
    for job_id, item in zip(job_ids, items, strict=True):
        result = target.results.add(job_id=job_id[: limits.JOB_ID_CHARACTERS])
        if isinstance(item, TocsinError):
            result.error.MergeFromString(_status(item))
            result.error_reason = error_reason_pb2.ErrorReason.Value(item.reason)
        else:
            fill(result.job, item, View.BASIC)
            target.retried += 1
    _fit(target, (r.job for r in target.results if r.WhichOneof("result") == "job"))


def fill_batch_deleted(
    target: bulk_pb2.BatchDeleteJobsResponse, job_ids: Iterable[str], items: Iterable[TocsinError | None]
) -> None:
    """Write the answer to a batch of ids to delete."""
    for job_id, item in zip(job_ids, items, strict=True):
        result = target.results.add(job_id=job_id[: limits.JOB_ID_CHARACTERS])
        if item is None:
            target.deleted += 1
        else:
            result.error.MergeFromString(_status(item))
            result.error_reason = error_reason_pb2.ErrorReason.Value(item.reason)


def _status(refusal: TocsinError) -> bytes:
    # google.rpc.Status too is another class in the shadow messages' pool.
    status: bytes = to_status(refusal, most_bytes=ITEM_STATUS_BYTES).SerializeToString()
    return status


def _fit(
    response: job_service_pb2.BatchScheduleJobsResponse
    | job_service_pb2.BatchCancelJobsResponse
    | bulk_pb2.BatchRetryJobsResponse,
    jobs: Iterable[job_pb2.Job],
) -> None:
    """A batch cannot end early. One of a thousand jobs with long errors and tags is given without those: the longest
    ids, names and refusals that are left stay below the limit."""
    if response.ByteSize() > limits.RESPONSE_BYTES:
        for job in jobs:
            slim(job)
