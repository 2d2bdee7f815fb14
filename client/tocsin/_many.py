"""Many jobs at once: splits what the caller gives into calls the server takes, and joins the answers in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, TypeAlias, TypeVar

from tocsin import _calls
from tocsin._checking import listed, of_kind
from tocsin._connection import Connection
from tocsin._fields import name_of
from tocsin._gathering import MAX_BYTES, MAX_ITEMS
from tocsin._job_requests import schedule_request
from tocsin._times import Span
from tocsin.errors import DeadlineExceeded, InvalidArgument, TocsinError, WrongType
from tocsin.jobs import CancelledMany, DeletedMany, Job, JobLike, RetriedMany
from tocsin.requests import JobRequest, StateName
from tocsin.v1 import job_service_pb2 as pb

Many = TypeVar("Many", CancelledMany, RetriedMany, DeletedMany)

#: What `schedule_many` gives: a job or an error for each request, in order.
Scheduled: TypeAlias = list[Job | TocsinError]


def schedule_requests(wanted: Iterable[JobRequest]) -> list[pb.ScheduleJobRequest | InvalidArgument]:
    """A request for each, or why it cannot be sent."""
    built: list[pb.ScheduleJobRequest | InvalidArgument] = []
    for i, item in enumerate(listed(wanted, "requests")):
        try:
            built.append(schedule_request(of_kind(JobRequest, item, f"requests[{i}]")))
        except InvalidArgument as error:
            built.append(error)
    return built


async def schedule_many(
    connection: Connection, built: Sequence[pb.ScheduleJobRequest | InvalidArgument], deadline: Span | None
) -> Scheduled:
    """A job or an error for each, in order. A call that fails as a whole is the error of all its jobs."""
    clock = connection.clock(deadline)
    results: Scheduled = [_late() if isinstance(item, pb.ScheduleJobRequest) else item for item in built]
    for indices in _chunks(built):
        if clock.left <= 0:
            break
        chunk: dict[int, pb.ScheduleJobRequest] = {}
        for i in indices:
            item = built[i]
            if isinstance(item, pb.ScheduleJobRequest) and item.job.HasField("depends_on"):
                item = _with_parents(item, {index: place for place, index in enumerate(chunk)}, results)
            if isinstance(item, pb.ScheduleJobRequest):
                chunk[i] = item
            else:
                results[i] = item
        if not chunk:
            continue
        try:
            answers = await connection.invoke(_calls.schedule_batch(list(chunk.values())), clock.left)
        except TocsinError as error:
            answers = [copy(error) for _ in chunk]
        for index, answer in zip(chunk, answers, strict=True):
            results[index] = answer
    return results


def _with_parents(
    request: pb.ScheduleJobRequest, chunk: Mapping[int, int], results: Scheduled
) -> pb.ScheduleJobRequest | InvalidArgument:
    """The request, in which the places of others in the whole list are their places in its call, or their names."""
    asked = pb.ScheduleJobRequest()
    asked.CopyFrom(request)
    for i, parent in enumerate(asked.job.depends_on.parents):
        if not parent.HasField("batch_item"):
            continue
        item = parent.batch_item
        made = results[item] if 0 <= item < len(results) else None
        if item in chunk:
            parent.batch_item = chunk[item]
        elif isinstance(made, Job):
            parent.queue, parent.job_id = made.queue, made.job_id
        else:
            why = f"is {item}, and no earlier item of the list was made at that place"
            return InvalidArgument.of(f"job.depends_on.parents[{i}]", why)
    return asked


async def cancel_many(
    connection: Connection,
    jobs: Iterable[JobLike] | None,
    queue: str,
    states: Sequence[StateName],
    types: Sequence[str],
    tags: Mapping[str, str],
    reason: str,
    grace: Span | None,
    deadline: Span | None,
) -> CancelledMany:
    """Cancel by ids where `jobs` is given (none at all where it is empty), else by filter."""
    if jobs is None:
        return await connection.invoke(_calls.cancel_matching(queue, states, types, tags, reason, grace), deadline)
    _refuse_both("cancel_many", states or types or tags)
    results, said = await _by_ids(
        connection, jobs, queue, deadline, lambda of, ids: _calls.cancel_ids(of, ids, reason, grace)
    )
    return CancelledMany(results, sum(one.cancelled for one in said), sum(one.asked for one in said))


async def retry_many(
    connection: Connection,
    jobs: Iterable[JobLike] | None,
    queue: str,
    states: Sequence[StateName],
    types: Sequence[str],
    tags: Mapping[str, str],
    dry_run: bool,
    deadline: Span | None,
) -> RetriedMany:
    """Retry by ids where `jobs` is given, else by filter."""
    if jobs is None:
        return await connection.invoke(_calls.retry_matching(queue, states, types, tags, dry_run), deadline)
    _refuse_both("retry_many", states or types or tags or dry_run)
    results, said = await _by_ids(connection, jobs, queue, deadline, _calls.retry_ids)
    return RetriedMany(results, sum(one.retried for one in said))


async def delete_many(
    connection: Connection,
    jobs: Iterable[JobLike] | None,
    queue: str,
    states: Sequence[StateName],
    types: Sequence[str],
    tags: Mapping[str, str],
    dry_run: bool,
    deadline: Span | None,
) -> DeletedMany:
    """Delete by ids where `jobs` is given, else by filter."""
    if jobs is None:
        return await connection.invoke(_calls.delete_matching(queue, states, types, tags, dry_run), deadline)
    _refuse_both("delete_many", states or types or tags or dry_run)
    results, said = await _by_ids(connection, jobs, queue, deadline, _calls.delete_ids)
    return DeletedMany(results, sum(one.deleted for one in said))


def _refuse_both(what: str, filtered: object) -> None:
    if filtered:
        raise WrongType.of("jobs", f"{what} takes jobs, or a filter, not both")


async def _by_ids(
    connection: Connection,
    jobs: Iterable[JobLike],
    queue: str,
    deadline: Span | None,
    ask: Callable[[str, Sequence[str]], _calls.PreparedCall[Any, Many]],
) -> tuple[tuple[Any, ...], list[Many]]:
    """Ask for jobs of any queues: an answer or an error for each, in order, and what each call said."""
    clock = connection.clock(deadline)
    names = [name_of(job, queue) for job in listed(jobs, "jobs")]
    by_queue: dict[str, list[int]] = {}
    for index, (found_queue, _) in enumerate(names):
        by_queue.setdefault(found_queue, []).append(index)
    results: list[Any] = [_late() for _ in names]
    said: list[Many] = []
    for found_queue, indices in by_queue.items():
        for start in range(0, len(indices), MAX_ITEMS):
            chunk = indices[start : start + MAX_ITEMS]
            if clock.left <= 0:
                break
            try:
                answer = await connection.invoke(ask(found_queue, [names[i][1] for i in chunk]), clock.left)
            except TocsinError as error:
                answers: Sequence[Any] = [copy(error) for _ in chunk]
            else:
                said.append(answer)
                answers = answer.results
            for index, result in zip(chunk, answers, strict=True):
                results[index] = result
    return tuple(results), said


def _chunks(built: Sequence[pb.ScheduleJobRequest | InvalidArgument]) -> Iterable[list[int]]:
    chunk: list[int] = []
    size = 0
    for index, item in enumerate(built):
        if isinstance(item, InvalidArgument):
            continue
        if chunk and (len(chunk) == MAX_ITEMS or size + item.ByteSize() > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(index)
        size += item.ByteSize()
    if chunk:
        yield chunk


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed before this one was sent", reason="DEADLINE_PASSED")
