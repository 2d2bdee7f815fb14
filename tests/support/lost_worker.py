"""A worker that is given a job and dies with it: its stream is cut, its lease ends ten seconds later."""

from __future__ import annotations

from queue import SimpleQueue

import grpc
from tocsin.v1 import worker_service_pb2_grpc
from tocsin.v1.worker_service_pb2 import StreamJobsRequest

from support.worker_messages import credit, hello


def lose_worker(address: str, queue: str, type: str) -> str:
    """Take a job of the type; its id."""
    requests = SimpleQueue[StreamJobsRequest]()
    requests.put(StreamJobsRequest(hello=hello(type, queue=queue, lease=60), credits=[credit(1)]))
    with grpc.insecure_channel(address) as channel:
        call = worker_service_pb2_grpc.WorkerServiceStub(channel).StreamJobs(iter(requests.get, None))
        [leased] = next(answer.leased for answer in call if answer.leased)
        call.cancel()
    return leased.job.job_id
