"""Requests about jobs that stand: show, list, watch, cancel, retry, run, update, delete."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import bulk_pb2, following_pb2, job_pb2
from tocsin.v1 import job_service_pb2 as pb

from tocsin_server.api import page_tokens
from tocsin_server.api.requests.payloads.checking import BUILT_IN_TYPES, check_payload
from tocsin_server.api.requests.schedule_jobs import (
    check_size,
    check_terms,
    check_type,
    check_when,
    to_defaults,
    to_payload,
    to_when,
)
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span
from tocsin_server.api.wire import payload_of
from tocsin_server.domain import limits
from tocsin_server.domain.commands import CancelJob, UpdateJob
from tocsin_server.domain.defaults import TermsChange
from tocsin_server.domain.filters import JobFilter, ListQuery, Order
from tocsin_server.domain.job import View
from tocsin_server.domain.states import ENDED, PENDING, State
from tocsin_server.handlers.job_filters import FILTER_TIMES, filter_of

#: Names of states that a filter may have.
STATES = {int(number): name for name, number in job_pb2.Job.State.items() if number}
_VIEWS = {int(number): name for name, number in job_pb2.Job.View.items()}
_CANCELLABLE = PENDING | {State.ACTIVE}
_ORDERS = ("", "create_time desc", "schedule_time")
_UPDATABLE = ("schedule_time", "priority", "payload", "tags", "timeout", "retry", "retention")
_TERMS = frozenset({"tags", "timeout", "retry", "retention"})
_NO_RETRY, _NO_RETENTION = job_pb2.RetryPolicy(), job_pb2.Retention()


@dataclass(frozen=True, slots=True)
class Many:
    """Which jobs of a queue are meant: those of the ids, each of which is checked by itself; else those that match."""

    queue: str
    job_ids: Sequence[str]
    filter: JobFilter
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """What is to be watched: one job, or those that match, from a cursor on."""

    queue: str
    job_id: str
    states: frozenset[State]
    types: frozenset[str]
    cursor: str
    start: bool


@dataclass(frozen=True, slots=True)
class Update:
    """What is to change of a job. `type`: only where that is its own."""

    queue: str
    job: UpdateJob
    type: str | None
    terms: TermsChange | None


class NamesJob(Protocol):
    """A request about one job."""

    queue: str
    job_id: str


def named_job(request: NamesJob) -> tuple[str, str]:
    """Queue and job of a request that has nothing else."""
    wrong = Violations()
    _job(wrong, request)
    wrong.done()
    return queue_of(request.queue), request.job_id


def _job(wrong: Violations, request: NamesJob) -> None:
    wrong.queue("queue", request.queue)
    wrong.job_id("job_id", request.job_id)


def queue_of(asked: str) -> str:
    """The queue that is meant: empty is the default one."""
    return asked or limits.DEFAULT_QUEUE


def get_job(request: pb.GetJobRequest) -> tuple[str, str, View]:
    """Queue and job, and how much of it to show."""
    wrong = Violations()
    _job(wrong, request)
    wrong.enum("view", request.view, _VIEWS)
    wrong.done()
    return queue_of(request.queue), request.job_id, View(request.view) if request.view else View.FULL


def wait_job(request: following_pb2.WaitJobRequest) -> tuple[str, str, View, timedelta]:
    """Queue and job, how much of it to show, and how long to wait for its end."""
    wrong = Violations()
    _job(wrong, request)
    wrong.enum("view", request.view, _VIEWS)
    if request.HasField("wait"):
        wrong.span("wait", request.wait, timedelta(0), limits.MAX_WAIT, "0 to 60 s")
    wrong.done()
    wait = to_span(request.wait) if request.HasField("wait") else limits.DEFAULT_WAIT
    return queue_of(request.queue), request.job_id, View(request.view) if request.view else View.FULL, wait


def list_job_logs(request: following_pb2.ListJobLogsRequest) -> tuple[str, str, int, str]:
    """Queue and job, the attempt (0: all), and the cursor."""
    wrong = Violations()
    _job(wrong, request)
    if request.attempt < 0:
        wrong.add("attempt", f"is {request.attempt:,}; 0 means all, the first is 1")
    wrong.done()
    return queue_of(request.queue), request.job_id, request.attempt, request.cursor


def list_jobs(request: pb.ListJobsRequest) -> tuple[ListQuery, bytes]:
    """A page of a list, and the hash of the list that its page tokens bear."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    wrong.enums("states", request.states, STATES)
    wrong.names("types", request.types)
    wrong.tags("tags", request.tags)
    for name in FILTER_TIMES:
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
    queue = queue_of(request.queue)
    filter_ = filter_of(request, _states(request.states))
    order = Order.SOONEST if request.order_by == "schedule_time" else Order.NEWEST
    list_hash = page_tokens.filter_hash(queue, filter_, order)
    after = page_tokens.jobs_position(list_hash, request.page_token, request.skip) if request.page_token else None
    view = View(request.view) if request.view else View.BASIC
    return ListQuery(queue, filter_, order, page_size(request.page_size), request.skip, after, view), list_hash


def _states(states: object) -> frozenset[State]:
    return frozenset(map(State, states))  # type: ignore[call-overload]  # a repeated enum field


def check_page_size(wrong: Violations, page_size: int) -> None:
    """The size of any page; one that is too large is served as the largest."""
    if page_size < 0:
        wrong.add("page_size", f"is {page_size:,}; 0 means {limits.DEFAULT_PAGE_SIZE}, negative is refused")


def page_size(asked: int) -> int:
    """The size of a page."""
    return min(asked or limits.DEFAULT_PAGE_SIZE, limits.PAGE_SIZE)


def watch_jobs(request: pb.WatchJobsRequest) -> Watch:
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
    return Watch(
        queue_of(request.queue),
        request.job_id,
        _states(request.states),
        frozenset(request.types),
        request.cursor,
        request.send_start,
    )


def cancel_job(request: pb.CancelJobRequest, caller: str) -> tuple[str, CancelJob]:
    """Queue and job to cancel, as `caller` wishes it."""
    wrong = Violations()
    _job(wrong, request)
    _wish(wrong, request.reason, request.grace if request.HasField("grace") else None)
    wrong.done()
    return queue_of(request.queue), CancelJob(request.job_id, request.reason, caller, _grace(request))


def batch_cancel_jobs(request: pb.BatchCancelJobsRequest) -> tuple[Many, timedelta]:
    """Which jobs to cancel, and the grace of those that run."""
    wrong = Violations()
    many = _many(wrong, request, _CANCELLABLE, _CANCELLABLE)
    _wish(wrong, request.reason, request.grace if request.HasField("grace") else None)
    wrong.done()
    return many, _grace(request)


def _wish(wrong: Violations, reason: str, grace: Duration | None) -> None:
    wrong.text("reason", reason, limits.REASON_BYTES)
    if grace is not None:
        wrong.span("grace", grace, timedelta(0), limits.MAX_GRACE, "0 to 24 h")


def _grace(request: pb.CancelJobRequest | pb.BatchCancelJobsRequest) -> timedelta:
    return to_span(request.grace) if request.HasField("grace") else limits.DEFAULT_GRACE


def batch_retry_jobs(request: bulk_pb2.BatchRetryJobsRequest) -> Many:
    """Which jobs to make due again: the dead letters, where no state is named."""
    return _to_act_on(request, frozenset({State.FAILED, State.CANCELLED}), frozenset({State.FAILED}))


def batch_delete_jobs(request: bulk_pb2.BatchDeleteJobsRequest) -> Many:
    """Which ended jobs to delete."""
    return _to_act_on(request, ENDED, ENDED)


def _to_act_on(
    request: bulk_pb2.BatchRetryJobsRequest | bulk_pb2.BatchDeleteJobsRequest,
    allowed: frozenset[State],
    default: frozenset[State],
) -> Many:
    wrong = Violations()
    many = _many(wrong, request, allowed, default, dry_run=request.dry_run)
    if request.dry_run and request.job_ids:
        wrong.add("dry_run", "cannot stand beside job_ids: it counts what a filter matches")
    wrong.done()
    return many


def _many(
    wrong: Violations,
    request: pb.BatchCancelJobsRequest | bulk_pb2.BatchRetryJobsRequest | bulk_pb2.BatchDeleteJobsRequest,
    allowed: frozenset[State],
    default: frozenset[State],
    *,
    dry_run: bool = False,
) -> Many:
    wrong.queue("queue", request.queue)
    if request.job_ids:
        wrong.count("job_ids", request.job_ids, limits.BATCH_ITEMS)
        for name in ("states", "types", "tags"):
            if getattr(request, name):
                wrong.add(name, "cannot stand beside job_ids")
    elif not (request.states or request.types or request.tags):
        wrong.add("job_ids", "is empty, and so is the filter: one of job_ids, states, types and tags is needed")
    wrong.enums("states", request.states, {int(state): state.name for state in sorted(allowed)})
    wrong.names("types", request.types)
    wrong.tags("tags", request.tags)
    states = default if wrong else _states(request.states) or default  # a wrong one cannot be read
    filter_ = JobFilter(states=states, types=frozenset(request.types), tags=dict(request.tags))
    return Many(queue_of(request.queue), request.job_ids, filter_, dry_run)


def job_id(asked: str) -> str:
    """One id of a batch."""
    wrong = Violations()
    wrong.job_id("job_id", asked)
    wrong.done()
    return asked


def update_job(request: pb.UpdateJobRequest) -> Update:
    """What to change of a job."""
    _check_update(request)
    changed = updated(request)
    payload = to_payload(request.job)
    change = UpdateJob(
        request.job_id,
        when=to_when(request) if "schedule_time" in changed else None,
        priority=request.job.priority if "priority" in changed else None,
        payload=payload if "payload" in changed else None,
        revision=request.revision if request.HasField("revision") else None,
    )
    type_ = request.job.type or (BUILT_IN_TYPES.get(payload.kind) if payload else None) or None
    return Update(queue_of(request.queue), change, type_, _terms(request.job, changed))


def updated(request: pb.UpdateJobRequest) -> Collection[str]:
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


def _check_update(request: pb.UpdateJobRequest) -> None:
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


def _terms(spec: job_pb2.JobSpec, changed: Collection[str]) -> TermsChange | None:
    """What of a standing job's terms is to change, of the names in `changed`; None: nothing."""
    if not _TERMS.intersection(changed):
        return None
    given = to_defaults(
        spec.retry if "retry" in changed else _NO_RETRY,
        spec.timeout if "timeout" in changed and spec.HasField("timeout") else None,
        spec.retention if "retention" in changed else _NO_RETENTION,
    )
    return TermsChange(
        given,
        no_timeout="timeout" in changed and not spec.HasField("timeout"),
        tags=dict(spec.tags) if "tags" in changed else None,
    )
