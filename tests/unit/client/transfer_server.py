"""A canned server that is given records and gives some, as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status
from tocsin.v1 import job_pb2
from tocsin.v1 import transfer_pb2 as pb
from unit.client.canned_server import CannedJobService, refusal

BAD = refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", violations={"job.job.state": "is wrong"})


def a_record(job_id: str = "a", queue: str = "q", payload: bytes = b"") -> pb.TransferRecord:
    """A job on its way."""
    job = job_pb2.Job(queue=queue, job_id=job_id, state=job_pb2.Job.WAITING, spec=job_pb2.JobSpec(type="t"))
    return pb.TransferRecord(job=pb.JobRecord(job=job, payload=payload))


class TransferService(CannedJobService):
    """Takes every record, but for those named "bad..."; `exports` is what each export says, a Status ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.exports: Iterator[list[pb.ExportJobsResponse | status_pb2.Status]] = iter(())

    async def ImportJobs(self, requests: Any, context: Any) -> pb.ImportJobsResponse:
        async for request in requests:
            self.calls.append(("ImportJobs", request))
            if (status := next(self.failing, None)) is not None:
                await context.abort_with_status(rpc_status.to_status(status))
            answer = pb.ImportJobsResponse()
            for i, record in enumerate(request.records):
                job = record.job.job
                if not job.job_id.startswith("bad"):
                    answer.created += 1
                    continue
                answer.refused += 1
                if len(answer.refused_items) < 1_000:
                    index = request.first_index + i
                    error = status_pb2.Status()
                    error.CopyFrom(BAD)
                    error.message = f"records[{index}].job.job.state: is wrong"
                    answer.refused_items.add(index=index, queue=job.queue, job_id=job.job_id, error=error)
            return answer
        raise AssertionError("an import without a request")

    async def ExportJobs(self, request: pb.ExportJobsRequest, context: Any) -> AsyncIterator[pb.ExportJobsResponse]:
        self.calls.append(("ExportJobs", request))
        for item in next(self.exports):
            if isinstance(item, status_pb2.Status):
                await context.abort_with_status(rpc_status.to_status(item))
            else:
                yield item
