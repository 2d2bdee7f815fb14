"""Lines that a worker sends on a stream, message after message, are kept in that order."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue

from support.servers import Server
from support.stubs import Stubs
from tocsin.v1 import following_pb2, worker_service_pb2_grpc
from tocsin.v1 import worker_service_pb2 as pb

MESSAGES, LINES = 30, 30  # below what a job keeps


def test_lines_are_kept_in_the_order_in_which_they_came(shared_server: Server, queue: str) -> None:
    with Stubs(shared_server.address) as stubs:
        job = stubs.schedule(queue, "remote")
        leased: Queue[pb.LeasedJob] = Queue()

        def said() -> Iterator[pb.StreamJobsRequest]:
            hello = pb.StreamJobsRequest.Hello(worker={"name": "writer"}, asks=[{"queue": queue, "types": ["remote"]}])
            yield pb.StreamJobsRequest(hello=hello, credits=[{"n": 1}])
            token = leased.get(timeout=20).token
            for message in range(MESSAGES):
                lines = [pb.LogLine(text=str(message * LINES + line)) for line in range(LINES)]
                yield pb.StreamJobsRequest(heartbeats=[pb.Heartbeat(token=token, log=lines)])
            yield pb.StreamJobsRequest(outcomes=[pb.Outcome(token=token, completed={})])

        stream = worker_service_pb2_grpc.WorkerServiceStub(stubs.channel).StreamJobs(said(), timeout=30)
        for answer in stream:
            for one in answer.leased:
                leased.put(one)
            if answer.acks:
                break
        stream.cancel()
        asked = following_pb2.ListJobLogsRequest(queue=queue, job_id=job.job_id)
        texts: list[str] = []
        while (page := stubs.jobs.ListJobLogs(asked)).lines:
            texts += [entry.line.text for entry in page.lines]
            asked.cursor = page.next_cursor
    assert texts == [str(number) for number in range(MESSAGES * LINES)]
