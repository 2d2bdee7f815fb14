"""Who runs jobs, as the client and the shell list them."""

from __future__ import annotations

import json

import grpc
from support.commands import typed
from support.eventually import until
from support.servers import Server
from support.stores import on_each_store
from tocsin import Client
from tocsin.v1 import worker_service_pb2 as pb
from tocsin.v1 import worker_service_pb2_grpc


def listed(server: Server, *arguments: str) -> str:
    return typed("workers", *arguments, "--address", server.address, check=True).stdout


@on_each_store
def test_workers_are_listed_by_queue_and_type_with_what_they_hold(shared_server: Server, queue: str) -> None:
    with Client(shared_server.address) as client, grpc.insecure_channel(shared_server.address) as channel:
        job = client.schedule("types_of_elsewhere", {"a": 1}, queue=queue)
        ask = pb.LeaseJobsRequest(worker=pb.Worker(name=f"of-{queue}", version="2.1", language="go"))
        ask.asks.add(queue=queue, types=["types_of_elsewhere"], max_jobs=3)
        ask.worker.labels["zone"] = "b"
        (leased,) = worker_service_pb2_grpc.WorkerServiceStub(channel).LeaseJobs(ask, timeout=30).jobs
        assert leased.job.job_id == job.job_id

        (found,) = until(
            lambda: [one for one in client.workers(queue=queue, type="types_of_elsewhere") if one.holds], within=20
        )
        assert (found.name, found.version, found.language) == (f"of-{queue}", "2.1", "go")
        assert (dict(found.labels), found.embedded, found.queues) == ({"zone": "b"}, False, (queue,))
        assert [(one.queue, one.job_id, one.attempt) for one in found.held] == [(queue, job.job_id, 1)]
        assert any(one.embedded and not one.queues for one in client.workers())
        assert list(client.workers(type="nobody_runs_this")) == []

        rows = [line.split() for line in listed(shared_server, "--queue", queue, "--type", found.types[0]).splitlines()]
        assert rows[0][:3] == ["WORKER", "HOLDS", "FREE"]
        assert [row[:2] for row in rows[1:]] == [[f"of-{queue}", "1"]]
        (line,) = listed(shared_server, "--queue", queue, "-t", found.types[0], "--json").splitlines()
        assert json.loads(line)["worker"]["name"] == f"of-{queue}"
