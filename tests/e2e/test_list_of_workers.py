"""Who runs jobs, as the client and the shell list them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta

import grpc
from support.commands import typed
from support.eventually import until
from support.redis_backend import RedisBackend
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


def test_a_worker_that_called_once_was_last_heard_of_then_on_each_server(
    redis: RedisBackend, serve: Callable[..., Server]
) -> None:
    here, there = serve(redis.url), serve(redis.url)
    with Client(here.address) as one, Client(there.address) as other, grpc.insecure_channel(here.address) as channel:
        job = one.schedule("types_of_elsewhere", {})
        ask = pb.LeaseJobsRequest(worker=pb.Worker(name="went-away"))
        ask.asks.add(types=["types_of_elsewhere"], max_jobs=1)
        leased = worker_service_pb2_grpc.WorkerServiceStub(channel).LeaseJobs(ask, timeout=30)
        assert leased.jobs

        def heard(client: Client) -> list[object]:
            return [found.seen_time for found in client.workers(type="types_of_elsewhere") if found.holds]

        (first,) = heard(one)
        threading.Event().wait(0.5)  # it says nothing
        assert heard(one) == [first]
        assert one.explain(job).seen_time == first
        (told,) = until(lambda: heard(other), within=20)
        assert first is not None
        assert told is not None
        assert abs(told - first) < timedelta(milliseconds=1)
