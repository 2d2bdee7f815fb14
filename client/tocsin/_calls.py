"""The calls: for each RPC its request, how to read its answer, and whether it may be repeated. No I/O.

Both clients are a line a method over this module. A call may be repeated where doing it twice is as doing it once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from google.protobuf.message import Message

from tocsin._checking import listed, of_kind, put, put_priority, put_texts, word
from tocsin._fields import check_id, put_bounds, put_filter, put_name, put_states, put_when, refuse_unknown
from tocsin._refusals import from_status
from tocsin._times import Span, put_duration
from tocsin.enums import Outcome, View
from tocsin.errors import TocsinError, WrongType
from tocsin.jobs import CancelledMany, DeletedMany, Job, JobLike, RetriedMany
from tocsin.payloads import put_payload
from tocsin.requests import (
    JobChanges,
    ListOptions,
    Retention,
    RetryPolicy,
    StateName,
    ViewName,
)
from tocsin.v1 import bulk_pb2, holding_pb2, job_pb2
from tocsin.v1 import job_service_pb2 as pb

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")
ManyRequest = TypeVar(
    "ManyRequest", pb.BatchCancelJobsRequest, bulk_pb2.BatchRetryJobsRequest, bulk_pb2.BatchDeleteJobsRequest
)

JOB_SERVICE = "tocsin.v1.JobService"


@dataclass(frozen=True, slots=True)
class PreparedCall(Generic[Answer, Result]):
    """One call, ready to be sent."""

    path: str
    request: Message
    answer: type[Answer]
    read: Callable[[Answer], Result]
    repeatable: bool = False
    patience: timedelta | None = None  # the deadline where none is given; None: the client's


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list."""

    jobs: list[Job]
    next_page_token: str
    total_size: int | None


def may_schedule_twice(request: pb.ScheduleJobRequest) -> bool:
    """With an id of the caller's own and KEEP, the second time finds the first."""
    return bool(request.job_id) and request.on_conflict == pb.ScheduleJobRequest.KEEP


def scheduled(answer: pb.ScheduleJobResponse) -> Job:
    """The job that stands now, with what the call did."""
    return Job(answer.job, outcome=Outcome(pb.ScheduleJobResponse.Outcome.Name(answer.outcome)))


def schedule_one(request: pb.ScheduleJobRequest) -> PreparedCall[pb.ScheduleJobResponse, Job]:
    """ScheduleJob."""
    return job_call("ScheduleJob", request, pb.ScheduleJobResponse, scheduled, may_schedule_twice(request))


def schedule_batch(
    requests: Sequence[pb.ScheduleJobRequest],
) -> PreparedCall[pb.BatchScheduleJobsResponse, list[Job | TocsinError]]:
    """BatchScheduleJobs: a job or an error for each, in order."""

    def read(answer: pb.BatchScheduleJobsResponse) -> list[Job | TocsinError]:
        return [from_status(r.error) if r.HasField("error") else scheduled(r.response) for r in answer.results]

    batch = pb.BatchScheduleJobsRequest(requests=requests)
    return job_call(
        "BatchScheduleJobs", batch, pb.BatchScheduleJobsResponse, read, all(map(may_schedule_twice, requests))
    )


def get(job: JobLike, queue: str = "", view: ViewName = View.FULL) -> PreparedCall[pb.GetJobResponse, Job]:
    """GetJob."""
    view = word(View, view, "view")
    request = pb.GetJobRequest(view=job_pb2.Job.View.Value(view))
    put_name(request, job, queue)
    return job_call("GetJob", request, pb.GetJobResponse, lambda answer: Job(answer.job, view), True)


def list_page(options: ListOptions, page_token: str = "") -> PreparedCall[pb.ListJobsResponse, JobPage]:
    """ListJobs, one page. `skip` counts for the first page only."""
    refuse_unknown("list", options, ListOptions.__annotations__)
    view = word(View, options.get("view", View.BASIC), "view")
    request = pb.ListJobsRequest(view=job_pb2.Job.View.Value(view), page_token=page_token)
    put_filter(request, options.get("states", ()), options.get("types", ()), options.get("tags", {}))
    for name in ("queue", "order_by", "page_size", "explain"):
        value = options.get(name)
        if value is not None:
            put(request, name, value, name)
    put_bounds(request, options)
    if not page_token:
        put(request, "skip", options.get("skip", 0), "skip")

    def read(answer: pb.ListJobsResponse) -> JobPage:
        total = answer.total_size if answer.HasField("total_size") else None
        return JobPage([Job(job, view) for job in answer.jobs], answer.next_page_token, total)

    return job_call("ListJobs", request, pb.ListJobsResponse, read, True)


def count(queue: str, states: Sequence[StateName], types: Sequence[str]) -> PreparedCall[pb.ListJobsResponse, int]:
    """ListJobs, for its total alone."""
    request = pb.ListJobsRequest(page_size=1)
    put(request, "queue", queue, "queue")
    put_filter(request, states, types, {})
    return job_call("ListJobs", request, pb.ListJobsResponse, lambda answer: answer.total_size, True)


def cancel_request(job: JobLike, queue: str = "", reason: str = "", grace: Span | None = None) -> pb.CancelJobRequest:
    """The request that cancels one job. Raises InvalidArgument (or WrongType, which is one)."""
    request = pb.CancelJobRequest()
    put_name(request, job, queue)
    put(request, "reason", reason, "reason")
    if grace is not None:
        put_duration(request.grace, grace, "grace")
    return request


def cancel_one(request: pb.CancelJobRequest) -> PreparedCall[pb.CancelJobResponse, Job]:
    """CancelJob: a second time changes nothing."""
    return job_call("CancelJob", request, pb.CancelJobResponse, lambda answer: Job(answer.job), True)


def of_one_batch(request: pb.CancelJobRequest) -> Hashable:
    """The same for all that can be asked for in one BatchCancelJobs."""
    grace = (request.grace.seconds, request.grace.nanos) if request.HasField("grace") else None
    return request.queue, request.reason, grace


def cancel_batch(
    requests: Sequence[pb.CancelJobRequest],
) -> PreparedCall[pb.BatchCancelJobsResponse, CancelledMany]:
    """BatchCancelJobs of requests that can be asked for in one."""
    first = requests[0]
    batch = pb.BatchCancelJobsRequest(
        queue=first.queue, job_ids=[request.job_id for request in requests], reason=first.reason
    )
    if first.HasField("grace"):
        batch.grace.CopyFrom(first.grace)
    return _cancelled(batch, repeatable=True)


def cancel_ids(
    queue: str, job_ids: Sequence[str], reason: str = "", grace: Span | None = None
) -> PreparedCall[pb.BatchCancelJobsResponse, CancelledMany]:
    """BatchCancelJobs of up to 1,000 ids of one queue."""
    request = _with_ids(pb.BatchCancelJobsRequest(), queue, job_ids)
    return _cancel_many(request, reason, grace, repeatable=True)


def cancel_matching(
    queue: str,
    states: Sequence[StateName],
    types: Sequence[str],
    tags: Mapping[str, str],
    reason: str = "",
    grace: Span | None = None,
) -> PreparedCall[pb.BatchCancelJobsResponse, CancelledMany]:
    """BatchCancelJobs by filter; not repeated, for it would also cancel what came meanwhile."""
    request = pb.BatchCancelJobsRequest()
    put(request, "queue", queue, "queue")
    put_filter(request, states, types, tags)
    return _cancel_many(request, reason, grace, repeatable=False)


def update(
    job: JobLike, changes: JobChanges, queue: str = "", revision: int | None = None
) -> PreparedCall[pb.UpdateJobResponse, Job]:
    """UpdateJob, of what `changes` has."""
    refuse_unknown("update", changes, JobChanges.__annotations__)
    request = pb.UpdateJobRequest()
    put_name(request, job, queue)
    if "payload" in changes:
        request.update_mask.paths.append("payload")
        put_payload(request.job, changes["payload"])
    if "priority" in changes:
        request.update_mask.paths.append("priority")
        put_priority(request.job, "priority", changes["priority"], "job.priority")
    if "at" in changes or "delay" in changes:
        request.update_mask.paths.append("schedule_time")
        put_when(request, changes.get("at"), changes.get("delay"))
    if "tags" in changes:
        request.update_mask.paths.append("tags")
        put_texts(request.job.tags, changes["tags"], "job.tags")
    if "timeout" in changes:
        request.update_mask.paths.append("timeout")
        if changes["timeout"] is not None:
            put_duration(request.job.timeout, changes["timeout"], "job.timeout")
    if "retry" in changes:
        request.update_mask.paths.append("retry")
        of_kind(RetryPolicy, changes["retry"], "retry").put(request.job.retry, "job.retry")
    if "retention" in changes:
        request.update_mask.paths.append("retention")
        of_kind(Retention, changes["retention"], "retention").put(request.job.retention, "job.retention")
    if not request.update_mask.paths:
        raise WrongType(f"update needs one of {', '.join(JobChanges.__annotations__)}", reason="INVALID_FIELD")
    if revision is not None:
        put(request, "revision", revision, "revision")
    return job_call("UpdateJob", request, pb.UpdateJobResponse, lambda answer: Job(answer.job))


def run(job: JobLike, queue: str = "") -> PreparedCall[pb.RunJobResponse, Job]:
    """RunJob; not repeated: the job may have run, failed and been rescheduled meanwhile."""
    request = pb.RunJobRequest()
    put_name(request, job, queue)
    return job_call("RunJob", request, pb.RunJobResponse, lambda answer: Job(answer.job))


def hold(job: JobLike, queue: str = "") -> PreparedCall[holding_pb2.HoldJobResponse, Job]:
    """HoldJob. Holding twice is as holding once."""
    request = holding_pb2.HoldJobRequest()
    put_name(request, job, queue)
    return job_call("HoldJob", request, holding_pb2.HoldJobResponse, lambda answer: Job(answer.job), repeatable=True)


def release(job: JobLike, queue: str = "") -> PreparedCall[holding_pb2.ReleaseJobResponse, Job]:
    """ReleaseJob; not repeated: the job may have been held again meanwhile."""
    request = holding_pb2.ReleaseJobRequest()
    put_name(request, job, queue)
    return job_call("ReleaseJob", request, holding_pb2.ReleaseJobResponse, lambda answer: Job(answer.job))


def retry(job: JobLike, queue: str = "") -> PreparedCall[pb.RetryJobResponse, Job]:
    """RetryJob; not repeated: the job may have failed again meanwhile."""
    request = pb.RetryJobRequest()
    put_name(request, job, queue)
    return job_call("RetryJob", request, pb.RetryJobResponse, lambda answer: Job(answer.job))


def delete(job: JobLike, queue: str = "") -> PreparedCall[pb.DeleteJobResponse, None]:
    """DeleteJob; not repeated: the id may have been taken again meanwhile."""
    request = pb.DeleteJobRequest()
    put_name(request, job, queue)
    return job_call("DeleteJob", request, pb.DeleteJobResponse, lambda answer: None)


def retry_ids(queue: str, job_ids: Sequence[str]) -> PreparedCall[bulk_pb2.BatchRetryJobsResponse, RetriedMany]:
    """BatchRetryJobs of up to 1,000 ids of one queue; not repeated, as a retry is not."""
    return _retry_many(_with_ids(bulk_pb2.BatchRetryJobsRequest(), queue, job_ids))


def retry_matching(
    queue: str, states: Sequence[StateName], types: Sequence[str], tags: Mapping[str, str], dry_run: bool
) -> PreparedCall[bulk_pb2.BatchRetryJobsResponse, RetriedMany]:
    """BatchRetryJobs by filter; repeated only where it counts."""
    request = bulk_pb2.BatchRetryJobsRequest(dry_run=dry_run)
    put(request, "queue", queue, "queue")
    put_filter(request, states, types, tags)
    return _retry_many(request, repeatable=dry_run)


def delete_ids(queue: str, job_ids: Sequence[str]) -> PreparedCall[bulk_pb2.BatchDeleteJobsResponse, DeletedMany]:
    """BatchDeleteJobs of up to 1,000 ids of one queue; not repeated: an id may have been taken again meanwhile."""
    return _delete_many(_with_ids(bulk_pb2.BatchDeleteJobsRequest(), queue, job_ids))


def delete_matching(
    queue: str, states: Sequence[StateName], types: Sequence[str], tags: Mapping[str, str], dry_run: bool
) -> PreparedCall[bulk_pb2.BatchDeleteJobsResponse, DeletedMany]:
    """BatchDeleteJobs by filter; repeated only where it counts."""
    request = bulk_pb2.BatchDeleteJobsRequest(dry_run=dry_run)
    put(request, "queue", queue, "queue")
    put_filter(request, states, types, tags)
    return _delete_many(request, repeatable=dry_run)


def watch_request(
    job: JobLike | None,
    queue: str = "",
    states: Sequence[StateName] = (),
    types: Sequence[str] = (),
    cursor: str = "",
) -> pb.WatchJobsRequest:
    """The request of WatchJobs, for one job or for all of a queue that match."""
    request = pb.WatchJobsRequest()
    if job is not None:
        if states or types or cursor:
            raise WrongType.of("job", "watch takes a job, or a filter and a cursor, not both")
        put_name(request, job, queue)
        return request
    put(request, "queue", queue, "queue")
    put(request, "cursor", cursor, "cursor")
    put_states(request.states, states)
    request.types.extend(listed(types, "types"))
    return request


def _cancel_many(
    request: pb.BatchCancelJobsRequest, reason: str, grace: Span | None, *, repeatable: bool
) -> PreparedCall[pb.BatchCancelJobsResponse, CancelledMany]:
    put(request, "reason", reason, "reason")
    if grace is not None:
        put_duration(request.grace, grace, "grace")
    return _cancelled(request, repeatable=repeatable)


def _cancelled(
    request: pb.BatchCancelJobsRequest, *, repeatable: bool
) -> PreparedCall[pb.BatchCancelJobsResponse, CancelledMany]:
    def read(answer: pb.BatchCancelJobsResponse) -> CancelledMany:
        results = tuple(from_status(r.error) if r.HasField("error") else Job(r.job) for r in answer.results)
        return CancelledMany(results, answer.cancelled, answer.asked)

    return _many_call("BatchCancelJobs", request, pb.BatchCancelJobsResponse, read, repeatable)


def _retry_many(
    request: bulk_pb2.BatchRetryJobsRequest, *, repeatable: bool = False
) -> PreparedCall[bulk_pb2.BatchRetryJobsResponse, RetriedMany]:
    def read(answer: bulk_pb2.BatchRetryJobsResponse) -> RetriedMany:
        results = tuple(from_status(r.error) if r.HasField("error") else Job(r.job) for r in answer.results)
        return RetriedMany(results, answer.retried)

    return _many_call("BatchRetryJobs", request, bulk_pb2.BatchRetryJobsResponse, read, repeatable)


def _delete_many(
    request: bulk_pb2.BatchDeleteJobsRequest, *, repeatable: bool = False
) -> PreparedCall[bulk_pb2.BatchDeleteJobsResponse, DeletedMany]:
    def read(answer: bulk_pb2.BatchDeleteJobsResponse) -> DeletedMany:
        results = tuple(from_status(r.error) if r.HasField("error") else None for r in answer.results)
        return DeletedMany(results, answer.deleted)

    return _many_call("BatchDeleteJobs", request, bulk_pb2.BatchDeleteJobsResponse, read, repeatable)


def _with_ids(request: ManyRequest, queue: str, job_ids: Sequence[str]) -> ManyRequest:
    put(request, "queue", queue, "queue")
    for job_id in job_ids:
        check_id(job_id)
    request.job_ids.extend(job_ids)
    return request


def _many_call(
    method: str, request: Message, answer: type[Answer], read: Callable[[Answer], Result], repeatable: bool
) -> PreparedCall[Answer, Result]:
    # By filter it goes through the queue in bounded steps, which takes its time.
    return PreparedCall(f"/{JOB_SERVICE}/{method}", request, answer, read, repeatable, patience=timedelta(minutes=1))


def job_call(
    method: str, request: Message, answer: type[Answer], read: Callable[[Answer], Result], repeatable: bool = False
) -> PreparedCall[Answer, Result]:
    """A call of JobService."""
    return PreparedCall(f"/{JOB_SERVICE}/{method}", request, answer, read, repeatable)
