"""Whatever a request holds, checking and translating it gives a refusal or what the store can take, never a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from api_requests import anything, as_read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tocsin.v1 import bulk_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin_server.api import page_tokens, wire
from tocsin_server.api.convert import filters
from tocsin_server.api.convert.job import to_payload, to_request, to_when
from tocsin_server.api.convert.queue import to_change
from tocsin_server.api.unreadable import violations
from tocsin_server.api.validation import queues, scheduling, standing
from tocsin_server.api.validation.payloads.checking import check_payload
from tocsin_server.api.validation.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import SERVER_DEFAULTS, terms
from tocsin_server.domain.errors import InvalidFields, TocsinError
from tocsin_server.domain.queues import QueueSettings


def scheduled(request: pb.ScheduleJobRequest) -> None:
    asked = to_request(request)
    one = asked.draft(terms(asked.overrides, SERVER_DEFAULTS))
    assert one.spec.terms.retry.max_delay >= one.spec.terms.retry.initial_delay
    assert one.spec.type
    assert one.spec.queue


def listed(request: pb.ListJobsRequest) -> None:
    hash_ = page_tokens.filter_hash(request.queue, filters.list_filter(request), filters.list_order(request))
    if request.page_token:
        page_tokens.jobs_position(hash_, request.page_token, request.skip)


def updated(request: pb.UpdateJobRequest) -> None:
    assert standing.updated(request)
    assert to_when(request) is not None or "schedule_time" not in standing.updated(request)
    to_payload(request.job)


def refused(act: Callable[[], object]) -> TocsinError | None:
    try:
        act()
    except TocsinError as refusal:
        return refusal
    return None


RULES: dict[type, tuple[Callable[[Any], None], Callable[[Any], object]]] = {
    pb.ScheduleJobRequest: (scheduling.check_schedule_job, scheduled),
    pb.BatchScheduleJobsRequest: (scheduling.check_batch_schedule_jobs, repr),
    pb.GetJobRequest: (standing.check_get_job, repr),
    pb.ListJobsRequest: (standing.check_list_jobs, listed),
    pb.CancelJobRequest: (standing.check_cancel_job, repr),
    pb.BatchCancelJobsRequest: (standing.check_batch_cancel_jobs, filters.cancel_filter),
    bulk_pb2.BatchRetryJobsRequest: (standing.check_batch_retry_jobs, filters.retry_filter),
    bulk_pb2.BatchDeleteJobsRequest: (standing.check_batch_delete_jobs, filters.delete_filter),
    pb.RetryJobRequest: (standing.check_names_job, repr),
    pb.UpdateJobRequest: (standing.check_update_job, updated),
    pb.WatchJobsRequest: (standing.check_watch_jobs, repr),
    qpb.ListQueuesRequest: (queues.check_list_queues, repr),
    qpb.PauseQueueRequest: (queues.check_pause_queue, repr),
    qpb.UpdateQueueRequest: (queues.check_update_queue, lambda r: to_change(r).of(QueueSettings())),
    qpb.PurgeJobsRequest: (queues.check_purge_jobs, filters.purge_filter),
}


@pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_anything_is_refused_or_taken(kind: type, data: st.DataObject) -> None:
    check, take = RULES[kind]
    request = as_read(data.draw(anything(kind)))
    refusal = refused(lambda: (check(request), take(request)))
    if isinstance(refusal, InvalidFields):
        assert refusal.violations
        assert all(v.field and v.description for v in refusal.violations)
    else:
        assert refusal is None or refusal.reason in {"TOO_LARGE", "QUOTA_EXCEEDED"}


@settings(deadline=None)
@given(st.sampled_from(sorted(wire.PAYLOAD_FIELDS)), st.binary(max_size=300))
def test_any_bytes_as_a_payload_are_refused_or_taken(kind: int, body: bytes) -> None:
    wrong = Violations()
    check_payload(wrong, "job", kind, body)
    refusal = refused(wrong.done)
    found = refusal.violations if isinstance(refusal, InvalidFields) else ()
    assert all(v.field.startswith(f"job.{wire.PAYLOAD_FIELDS[kind]}") for v in found)


@settings(deadline=None)
@given(st.sampled_from(list(RULES)), st.binary(max_size=300))
def test_any_bytes_as_a_request_are_read_or_said_to_be_unreadable(kind: type, raw: bytes) -> None:
    assert violations(kind, raw)


@settings(deadline=None)
@given(st.text(max_size=250))
def test_a_job_id_is_taken_exactly_by_its_rule(job_id: str) -> None:
    try:
        standing.check_id(job_id)
        taken = True
    except InvalidFields:
        taken = False
    controls = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in job_id)
    sized = 1 <= len(job_id) <= limits.JOB_ID_CHARACTERS and len(job_id.encode()) <= limits.JOB_ID_BYTES
    assert taken == (sized and not controls)
