"""Plain generated stubs on one channel, and readers for what calls answer and why they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import grpc
from google.protobuf import struct_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from tocsin.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc, queue_service_pb2, queue_service_pb2_grpc
from tocsin.v1 import server_service_pb2_grpc as server_grpc

State = job_pb2.Job.State
ENDED = {State.COMPLETED, State.FAILED, State.CANCELLED}
Request = job_service_pb2.ScheduleJobRequest


class Stubs:
    """The three services of one server. A context manager."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.queues = queue_service_pb2_grpc.QueueServiceStub(self.channel)
        self.server = server_grpc.ServerServiceStub(self.channel)

    def __enter__(self) -> Stubs:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def schedule(self, queue: str, type: str, data: dict[str, Any] | None = None, **more: Any) -> job_pb2.Job:
        """Schedule one job; `more` as in `request`."""
        return self.jobs.ScheduleJob(request(queue, type, data, **more)).job

    def get(self, queue: str, job_id: str) -> job_pb2.Job:
        return self.jobs.GetJob(job_service_pb2.GetJobRequest(queue=queue, job_id=job_id)).job

    def list(self, queue: str, *states: int, **more: Any) -> list[job_pb2.Job]:
        """All jobs of a queue in these states, page by page."""
        found: list[job_pb2.Job] = []
        asked = job_service_pb2.ListJobsRequest(queue=queue, states=states, page_size=1000, **more)
        while True:
            page = self.jobs.ListJobs(asked)
            found += page.jobs
            if not page.next_page_token:
                return found
            asked.page_token = page.next_page_token

    def health(self, queue: str) -> queue_service_pb2.GetQueueHealthResponse:
        return self.queues.GetQueueHealth(queue_service_pb2.GetQueueHealthRequest(queue=queue))

    def wait_for(self, queue: str, job_id: str, *states: int, within: float = 20) -> job_pb2.Job:
        """Watch a job until it is in one of these states (none given: until it ends); then as GetJob shows it."""
        wanted = set(states) or ENDED
        watch = self.jobs.WatchJobs(
            job_service_pb2.WatchJobsRequest(queue=queue, job_id=job_id), timeout=within, wait_for_ready=True
        )
        for change in watch:
            if change.job.state in wanted:
                watch.cancel()
                return self.get(queue, job_id)
        raise AssertionError(f"{job_id} ended and was never {[State.Name(state) for state in wanted]}")


def request(
    queue: str,
    type: str,
    data: dict[str, Any] | None = None,
    *,
    job_id: str = "",
    delay: float | None = None,
    at: datetime | None = None,
    on_conflict: int = Request.ON_CONFLICT_UNSPECIFIED,
    **spec: Any,
) -> Request:
    """A ScheduleJobRequest; `spec` are further fields of JobSpec."""
    built = Request(job=job_pb2.JobSpec(queue=queue, type=type, **spec), job_id=job_id, on_conflict=on_conflict)
    if data is not None:
        built.job.data.CopyFrom(struct_pb2.Struct())
        built.job.data.update(data)
    if delay is not None:
        built.delay.FromTimedelta(timedelta(seconds=delay))
    if at is not None:
        built.schedule_time.FromDatetime(at)
    return built


@dataclass(frozen=True)
class Refusal:
    """Why a call was refused."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    fields: list[str]  # paths in BadRequest


def refusal(error: grpc.RpcError) -> Refusal:
    """What a refused call carries. AssertionError if it has no ErrorInfo of ours: every refusal must."""
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()} {error.details()!r} without details"
    return _read(error.code(), status)


def refusal_in(status: status_pb2.Status) -> Refusal:
    """The same of one item of a batch."""
    return _read(grpc.StatusCode[code_pb2.Code.Name(status.code)], status)


def _read(code: grpc.StatusCode, status: status_pb2.Status) -> Refusal:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    assert info.domain == "tocsin", f"{code} {status.message!r} without ErrorInfo"
    fields = [violation.field for violation in bad.field_violations]
    return Refusal(code, status.message, info.reason, dict(info.metadata), fields)
