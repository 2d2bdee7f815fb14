"""Rules on requests about jobs that stand: show, list, watch, cancel, retry, run, update, delete."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import bulk_pb2, job_pb2, job_service_pb2

from tocsin_server.api.validation.payloads.checking import check_payload
from tocsin_server.api.validation.scheduling import check_size, check_terms, check_type, check_when
from tocsin_server.api.validation.violations import Violations
from tocsin_server.api.wire import payload_of
from tocsin_server.domain import limits
from tocsin_server.domain.states import ENDED, PENDING, State

#: Names of states that a filter may have.
STATES = {int(number): name for name, number in job_pb2.Job.State.items() if number}
_VIEWS = {int(number): name for name, number in job_pb2.Job.View.items()}
_CANCELLABLE = {int(state): state.name for state in sorted(PENDING | {State.ACTIVE})}
_RETRYABLE = {int(state): state.name for state in (State.FAILED, State.CANCELLED)}
_DELETABLE = {int(state): state.name for state in sorted(ENDED)}
_ORDERS = ("", "create_time desc", "schedule_time")
_TIMES = tuple(f"{time}_time_{end}" for time in ("schedule", "create", "end") for end in ("from", "to"))
_UPDATABLE = ("schedule_time", "priority", "payload", "tags", "timeout", "retry", "retention")


class NamesJob(Protocol):
    """A request about one job."""

    queue: str
    job_id: str


def check_names_job(request: NamesJob) -> None:
    """A request that has nothing but a queue and a job_id."""
    wrong = Violations()
    _job(wrong, request)
    wrong.done()


def _job(wrong: Violations, request: NamesJob) -> None:
    wrong.queue("queue", request.queue)
    wrong.job_id("job_id", request.job_id)


def check_get_job(request: job_service_pb2.GetJobRequest) -> None:
    """Which job to show, and how much of it."""
    wrong = Violations()
    _job(wrong, request)
    wrong.enum("view", request.view, _VIEWS)
    wrong.done()


def check_list_jobs(request: job_service_pb2.ListJobsRequest) -> None:
    """All of a list but its page token, which is read where the filter is known."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    wrong.enums("states", request.states, STATES)
    wrong.names("types", request.types)
    wrong.tags("tags", request.tags)
    for name in _TIMES:
        if request.HasField(name):  # type: ignore[arg-type]  # one of the names above
            wrong.time(name, getattr(request, name))
    if request.order_by not in _ORDERS:
        wrong.add("order_by", 'is neither "create_time desc" nor "schedule_time"')
    elif request.order_by == "schedule_time" and [*{*map(int, request.states)}] != [State.SCHEDULED]:
        wrong.add("order_by", '"schedule_time" needs states to be SCHEDULED alone')
    check_page_size(wrong, request.page_size)
    wrong.number("skip", request.skip, 0, limits.SKIP)
    wrong.enum("view", request.view, _VIEWS)
    wrong.done()


def check_page_size(wrong: Violations, page_size: int) -> None:
    """The size of any page; one that is too large is served as the largest."""
    if page_size < 0:
        wrong.add("page_size", f"is {page_size:,}; 0 means {limits.DEFAULT_PAGE_SIZE}, negative is refused")


def check_watch_jobs(request: job_service_pb2.WatchJobsRequest) -> None:
    """What to watch: a job, or a filter and perhaps a cursor."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    if request.job_id:
        wrong.job_id("job_id", request.job_id)
        for name in ("states", "types", "cursor", "send_start"):
            if getattr(request, name):
                wrong.add(name, "cannot stand beside job_id")
    wrong.enums("states", request.states, STATES)
    wrong.names("types", request.types)
    wrong.done()


def check_cancel_job(request: job_service_pb2.CancelJobRequest) -> None:
    """Which job to cancel."""
    wrong = Violations()
    _job(wrong, request)
    _wish(wrong, request.reason, request.grace if request.HasField("grace") else None)
    wrong.done()


def check_batch_cancel_jobs(request: job_service_pb2.BatchCancelJobsRequest) -> None:
    """Which jobs to cancel: ids or a filter. Each id is checked by itself."""
    wrong = Violations()
    _many(wrong, request, _CANCELLABLE)
    _wish(wrong, request.reason, request.grace if request.HasField("grace") else None)
    wrong.done()


def check_batch_retry_jobs(request: bulk_pb2.BatchRetryJobsRequest) -> None:
    """Which jobs to make due again: ids or a filter. Each id is checked by itself."""
    _check_many(request, _RETRYABLE)


def check_batch_delete_jobs(request: bulk_pb2.BatchDeleteJobsRequest) -> None:
    """Which ended jobs to delete: ids or a filter. Each id is checked by itself."""
    _check_many(request, _DELETABLE)


def _check_many(
    request: bulk_pb2.BatchRetryJobsRequest | bulk_pb2.BatchDeleteJobsRequest, states: Mapping[int, str]
) -> None:
    wrong = Violations()
    _many(wrong, request, states)
    if request.dry_run and request.job_ids:
        wrong.add("dry_run", "cannot stand beside job_ids: it counts what a filter matches")
    wrong.done()


def _many(
    wrong: Violations,
    request: job_service_pb2.BatchCancelJobsRequest | bulk_pb2.BatchRetryJobsRequest | bulk_pb2.BatchDeleteJobsRequest,
    states: Mapping[int, str],
) -> None:
    wrong.queue("queue", request.queue)
    if request.job_ids:
        wrong.count("job_ids", request.job_ids, limits.BATCH_ITEMS)
        for name in ("states", "types", "tags"):
            if getattr(request, name):
                wrong.add(name, "cannot stand beside job_ids")
    elif not (request.states or request.types or request.tags):
        wrong.add("job_ids", "is empty, and so is the filter: one of job_ids, states, types and tags is needed")
    wrong.enums("states", request.states, states)
    wrong.names("types", request.types)
    wrong.tags("tags", request.tags)


def check_id(job_id: str) -> None:
    """One id of a batch."""
    wrong = Violations()
    wrong.job_id("job_id", job_id)
    wrong.done()


def _wish(wrong: Violations, reason: str, grace: Duration | None) -> None:
    wrong.text("reason", reason, limits.REASON_BYTES)
    if grace is not None:
        wrong.span("grace", grace, timedelta(0), limits.MAX_GRACE, "0 to 24 h")


def updated(request: job_service_pb2.UpdateJobRequest) -> Collection[str]:
    """What an update changes, by the names that its mask may have."""
    if request.update_mask.paths:
        return frozenset(request.update_mask.paths)
    present = {
        "schedule_time": request.WhichOneof("when") is not None,
        "priority": request.job.priority != 0,
        "payload": payload_of(request.job) is not None,
        "tags": bool(request.job.tags),
        "retry": request.job.HasField("retry"),
        "timeout": request.job.HasField("timeout"),
        "retention": request.job.HasField("retention"),
    }
    return frozenset(name for name, there in present.items() if there)


def check_update_job(request: job_service_pb2.UpdateJobRequest) -> None:
    """What to change of a job."""
    wrong = Violations()
    _job(wrong, request)
    spec = request.job
    payload = payload_of(spec)
    check_size("job", spec)
    if spec.queue and spec.queue != (request.queue or limits.DEFAULT_QUEUE):
        wrong.add("job.queue", "is not the job's own; a job cannot change its queue")
    check_type(wrong, "job", spec.type, payload, needed=False)
    if payload is not None:
        check_payload(wrong, "job", *payload)
    check_when(wrong, request)
    if not wrong.count("update_mask.paths", request.update_mask.paths, limits.MASK_PATHS):
        wrong.done()
    for i, path in enumerate(request.update_mask.paths):
        if path not in _UPDATABLE:
            wrong.add(f"update_mask.paths[{i}]", f"is none of {', '.join(_UPDATABLE)}")
    check_terms(wrong, "job", spec)
    changes = updated(request)
    if "schedule_time" in changes and request.WhichOneof("when") is None:
        wrong.add("schedule_time", "is in update_mask, but neither schedule_time nor delay is given")
    if "payload" in changes and payload is None:
        wrong.add("job", "has no payload, though update_mask has it; a payload can be replaced, not taken away")
    for name, given in (("retry", spec.HasField("retry")), ("retention", spec.HasField("retention"))):
        if name in changes and not given:
            wrong.add(f"job.{name}", "is in update_mask, but not given")
    if not changes:
        wrong.add("update_mask", f"is empty, and the request has none of {', '.join(_UPDATABLE)} to change")
    wrong.done()
