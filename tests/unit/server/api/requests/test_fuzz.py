"""Whatever a request holds, checking and translating it gives a refusal or what the store can take, never a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from google.protobuf import struct_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tocsin.v1 import bulk_pb2, bulk_service_pb2, job_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin.v1 import schedule_service_pb2 as spb
from tocsin_server.api import wire
from tocsin_server.api.requests import bulk_actions, jobs, queues, schedule_jobs, schedules
from tocsin_server.api.requests.payloads.checking import check_payload
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.unreadable import violations
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import SERVER_DEFAULTS, terms
from tocsin_server.domain.errors import InvalidFields, TocsinError
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.times import EPOCH
from unit.server.api.api_requests import anything, as_read


def scheduled(request: pb.ScheduleJobRequest) -> None:
    asked = schedule_jobs.schedule_job(request)
    one = asked.draft(terms(asked.overrides, SERVER_DEFAULTS))
    assert one.spec.terms.retry.max_delay >= one.spec.terms.retry.initial_delay
    assert one.spec.type
    assert one.spec.queue


def updated(request: pb.UpdateJobRequest) -> None:
    asked = jobs.update_job(request)
    assert jobs.updated(request)
    assert asked.job.when is not None or "schedule_time" not in jobs.updated(request)


def refused(act: Callable[[], object]) -> TocsinError | None:
    try:
        act()
    except TocsinError as refusal:
        return refusal
    return None


RULES: dict[type, Callable[[Any], object]] = {
    pb.ScheduleJobRequest: scheduled,
    pb.BatchScheduleJobsRequest: schedule_jobs.batch_schedule_jobs,
    pb.GetJobRequest: jobs.get_job,
    pb.ListJobsRequest: jobs.list_jobs,
    pb.CancelJobRequest: lambda request: jobs.cancel_job(request, "me"),
    pb.BatchCancelJobsRequest: jobs.batch_cancel_jobs,
    bulk_pb2.BatchRetryJobsRequest: jobs.batch_retry_jobs,
    bulk_pb2.BatchDeleteJobsRequest: jobs.batch_delete_jobs,
    pb.RetryJobRequest: jobs.named_job,
    pb.UpdateJobRequest: updated,
    pb.WatchJobsRequest: jobs.watch_jobs,
    bulk_service_pb2.BulkActRequest: lambda request: bulk_actions.bulk_act(request, "me"),
    qpb.ListQueuesRequest: queues.list_queues,
    qpb.PauseQueueRequest: queues.pause_queue,
    qpb.UpdateQueueRequest: lambda request: queues.update_queue(request)[1].of(QueueSettings()),
    qpb.PurgeJobsRequest: queues.purge_jobs,
    spb.PreviewScheduleRequest: lambda request: list(schedules.preview(request, EPOCH, {})),
}


@pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_anything_is_refused_or_taken(kind: type, data: st.DataObject) -> None:
    request = as_read(data.draw(anything(kind)))
    refusal = refused(lambda: RULES[kind](request))
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
        jobs.job_id(job_id)
        taken = True
    except InvalidFields:
        taken = False
    controls = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in job_id)
    sized = 1 <= len(job_id) <= limits.JOB_ID_CHARACTERS and len(job_id.encode()) <= limits.JOB_ID_BYTES
    assert taken == (sized and not controls)


_NAMES = st.sampled_from(["", "q", "email", "email_notification", "raw", "no/slash", "a" * 100, "a" * 101])
_BODIES = (
    st.sampled_from([b"", b"\xff", b"\x0a\x00", b"\x0a\x0b\x0a\x01k\x12\x06\x1a\x04\x7f\x7f\x7f\x7f"])
    | st.floats().map(lambda number: struct_pb2.Struct(fields={"k": {"number_value": number}}).SerializeToString())
    | st.integers(1, 300).map(lambda n: struct_pb2.Struct(fields={"k": {"string_value": "x" * n}}).SerializeToString())
)


@st.composite
def nearly_plain(draw: st.DrawFn) -> Any:
    """A job with little to say, as most jobs are, and as the server reads it."""
    request = pb.ScheduleJobRequest(job=job_pb2.JobSpec(queue=draw(_NAMES), type=draw(_NAMES)))
    request.on_conflict = draw(st.integers(0, 4))
    request.job.priority = draw(st.integers(-5, 5))
    read = as_read(request)
    if draw(st.booleans()):
        read.job.data = draw(_BODIES)
    if draw(st.integers(0, 9)) == 0:
        read.job_id = draw(st.sampled_from(["a", "a\x00"]))
    return read


@settings(deadline=None, max_examples=400)
@given(nearly_plain() | anything(pb.ScheduleJobRequest).map(as_read))
def test_the_short_way_takes_and_refuses_what_the_long_way_does(request: Any) -> None:
    def outcome() -> object:
        try:
            return schedule_jobs.schedule_job(request)
        except InvalidFields as refusal:
            return refusal.violations

    short = outcome()
    with mock.patch.object(schedule_jobs, "is_name", return_value=False):
        assert outcome() == short
