"""A real gRPC server whose JobService answers as a test says, for what the real one does only now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from tocsin.v1 import following_pb2 as fpb
from tocsin.v1 import job_pb2, job_service_pb2_grpc
from tocsin.v1 import job_service_pb2 as pb

State = job_pb2.Job.State


def refusal(
    code: grpc.StatusCode,
    reason: str = "",
    *,
    metadata: Mapping[str, str] | None = None,
    violations: Mapping[str, str] | None = None,
    retry_after: float | None = None,
) -> status_pb2.Status:
    """A google.rpc.Status with the details that a refusal carries."""
    details: list[Message] = []
    if reason:
        details.append(error_details_pb2.ErrorInfo(domain="tocsin", reason=reason, metadata=metadata or {}))
    if violations:
        found = error_details_pb2.BadRequest.FieldViolation
        bad = [found(field=field, description=text) for field, text in violations.items()]
        details.append(error_details_pb2.BadRequest(field_violations=bad))
    if retry_after is not None:
        delay = duration_pb2.Duration(nanos=int(retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], message=f"refused: {reason or code.name}", details=packed)


AWAY = refusal(grpc.StatusCode.UNAVAILABLE, "STORE_AWAY")
UNKNOWN_OUTCOME = refusal(grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN")
NOT_FOUND = refusal(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


def a_job(job_id: str = "a", state: int = State.WAITING, revision: int = 1, **fields: Any) -> job_pb2.Job:
    """A job as it might stand."""
    job = job_pb2.Job(queue="default", job_id=job_id, state=state, revision=revision, **fields)
    job.create_time.seconds = 1_000_000
    job.spec.type = job.spec.type or "noop"
    return job


def said(job: job_pb2.Job, cursor: str = "") -> pb.WatchJobsResponse:
    """A change in a watch."""
    return pb.WatchJobsResponse(job=job, cursor=cursor)


def _everything_is_scheduled(request: pb.ScheduleJobRequest) -> status_pb2.Status | None:
    return None


class CannedJobService(job_service_pb2_grpc.JobServiceServicer):
    """Schedules whatever comes, unless told to refuse it, and keeps what it was asked.

    `refuse` decides for each job; `failing` are refusals of whole calls, one a call; `gate`, closed, holds back the
    calls that schedule; `watches` are what each watch in turn says (a Status ends it so); `jobs` can be read; who asks
    for several at once is told of those `missing`.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.refuse: Callable[[pb.ScheduleJobRequest], status_pb2.Status | None] = _everything_is_scheduled
        self.failing: Iterator[status_pb2.Status] = iter(())
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.watches: Iterator[list[pb.WatchJobsResponse | status_pb2.Status]] = iter(())
        self.jobs: dict[str, job_pb2.Job] = {}
        self.missing: set[str] = set()
        self.pages: Iterator[pb.ListJobsResponse] = iter(())
        self.logs: Iterator[fpb.ListJobLogsResponse] = iter(())

    def asked(self, method: str) -> list[Any]:
        """The requests of one method, in order."""
        return [request for name, request in self.calls if name == method]

    async def _begin(self, method: str, request: Message, context: Any) -> None:
        self.calls.append((method, request))
        self.arrived.set()
        status = next(self.failing, None)
        if status is not None:
            await context.abort_with_status(rpc_status.to_status(status))

    async def ScheduleJob(self, request: pb.ScheduleJobRequest, context: Any) -> pb.ScheduleJobResponse:
        await self._begin("ScheduleJob", request, context)
        await self.gate.wait()
        if (status := self.refuse(request)) is not None:
            await context.abort_with_status(rpc_status.to_status(status))
        return _scheduled(request)

    async def BatchScheduleJobs(
        self, request: pb.BatchScheduleJobsRequest, context: Any
    ) -> pb.BatchScheduleJobsResponse:
        await self._begin("BatchScheduleJobs", request, context)
        await self.gate.wait()
        answer = pb.BatchScheduleJobsResponse()
        for item in request.requests:
            status = self.refuse(item)
            result = answer.results.add()
            if status is None:
                result.response.CopyFrom(_scheduled(item))
            else:
                result.error.CopyFrom(status)
        return answer

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        await self._begin("GetJob", request, context)
        job = self.jobs.get(request.job_id)
        if job is None:
            await context.abort_with_status(rpc_status.to_status(NOT_FOUND))
        return pb.GetJobResponse(job=job)

    async def RunJob(self, request: pb.RunJobRequest, context: Any) -> pb.RunJobResponse:
        await self._begin("RunJob", request, context)
        return pb.RunJobResponse(job=a_job(request.job_id))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:
        await self._begin("CancelJob", request, context)
        return pb.CancelJobResponse(job=a_job(request.job_id, State.CANCELLED))

    async def BatchCancelJobs(self, request: pb.BatchCancelJobsRequest, context: Any) -> pb.BatchCancelJobsResponse:
        await self._begin("BatchCancelJobs", request, context)
        answer = pb.BatchCancelJobsResponse(cancelled=len(request.job_ids))
        for job_id in request.job_ids:
            if job_id in self.missing:
                answer.results.add(job_id=job_id, error=NOT_FOUND)
            else:
                answer.results.add(job_id=job_id, job=a_job(job_id, State.CANCELLED))
        return answer

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        await self._begin("ListJobs", request, context)
        return next(self.pages)

    async def ExplainJob(self, request: fpb.ExplainJobRequest, context: Any) -> fpb.ExplainJobResponse:
        await self._begin("ExplainJob", request, context)
        return fpb.ExplainJobResponse(explanation=self.jobs[request.job_id].explanation)

    async def ListJobLogs(self, request: fpb.ListJobLogsRequest, context: Any) -> fpb.ListJobLogsResponse:
        await self._begin("ListJobLogs", request, context)
        return next(self.logs)

    async def WaitJob(self, request: fpb.WaitJobRequest, context: Any) -> fpb.WaitJobResponse:
        await self._begin("WaitJob", request, context)
        return fpb.WaitJobResponse(job=self.jobs[request.job_id])

    async def WatchJobs(self, request: pb.WatchJobsRequest, context: Any) -> AsyncIterator[pb.WatchJobsResponse]:
        await self._begin("WatchJobs", request, context)
        await context.send_initial_metadata(())
        for item in next(self.watches):
            if isinstance(item, status_pb2.Status):
                # The client must see that the watch stood before it is cut; gRPC may put both into one packet.
                await asyncio.sleep(0.05)
                await context.abort_with_status(rpc_status.to_status(item))
            else:
                yield item


def _scheduled(request: pb.ScheduleJobRequest) -> pb.ScheduleJobResponse:
    job = a_job(request.job_id)
    job.spec.CopyFrom(request.job)
    return pb.ScheduleJobResponse(job=job, outcome=pb.ScheduleJobResponse.CREATED)


@asynccontextmanager
async def serving(service: CannedJobService, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """The service on a port of the loopback; its address."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 * 1024 * 1024)])
    job_service_pb2_grpc.add_JobServiceServicer_to_server(service, server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        service.gate.set()
        await server.stop(0)
