"""MongoDB: a server dies between writing jobs and logging the change. Nobody is told, and all find out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.eventually import until
from support.journal import Journal
from support.mongo_backend import JOBS, MongoBackend
from support.mongo_servers import MongoServer
from support.mongo_wire import asks, sets
from support.servers import Server
from support.stubs import State, Stubs, request
from support.tcp_proxy import Fate, TcpProxy
from tocsin import Client
from tocsin.v1 import job_service_pb2

#: The log is looked at twice, 5 s apart, each time by a tick; then the job is claimed.
SECONDS = 15


@pytest.fixture(params=["replica set", pytest.param("standalone", marks=pytest.mark.full)])
def mongo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MongoBackend]:
    """A database on a server that nobody else uses."""
    server = MongoServer(tmp_path / "mongo", standalone=request.param == "standalone")
    with MongoBackend(server, "own") as part:
        yield part
    server.stop()


@pytest.fixture
def proxy(mongo: MongoBackend) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", mongo.port) as proxy:
        yield proxy


def test_jobs_that_a_dead_server_wrote_and_did_not_log_are_run_by_another_and_watchers_get_a_gap(
    mongo: MongoBackend, serve: Callable[..., Server], journal: Journal, proxy: TcpProxy
) -> None:
    other = serve(mongo.url, handlers="support.jobs.everyday", **journal.env)
    doomed = serve(mongo.url_at(proxy.port), "--no-dispatch")
    with (
        Stubs(doomed.address) as dying,
        Stubs(other.address) as stubs,
        Client(other.address) as client,
        ThreadPoolExecutor(2) as threads,
    ):
        for name in ("to run", "to cancel"):
            dying.schedule("used", "half_a_second", job_id=name, delay=3600)
        watches = {name: _watch(stubs, name) for name in ("to run", "to cancel")}
        assert [next(watch).job.state for watch in watches.values()] == [State.SCHEDULED] * 2
        waits = [threads.submit(client.wait, name, queue="used", timeout=60) for name in ("to run", "to cancel")]

        begun = time.monotonic()
        until(lambda: time.monotonic() - begun > 2, within=5, what="the other one knows the queue, by a tick")

        # From now on jobs are written, and neither logged nor counted among the wakes.
        proxy.order(asks("update", f"{JOBS}.queues", about=sets("wakes", by="$inc")), Fate.HELD)
        log = proxy.order(asks("update", f"{JOBS}.events"), Fate.HELD)
        calls = [
            dying.jobs.RunJob.future(job_service_pb2.RunJobRequest(queue="used", job_id="to run")),
            dying.jobs.CancelJob.future(job_service_pb2.CancelJobRequest(queue="used", job_id="to cancel")),
            *(dying.jobs.ScheduleJob.future(request(one, "half_a_second", job_id=one)) for one in ("used", "new")),
        ]
        until(lambda: stubs.get("used", "to cancel").state == State.CANCELLED, within=5)
        until(lambda: stubs.get("used", "to run").state != State.SCHEDULED, within=5)
        for name in ("used", "new"):
            until(lambda: stubs.list(name), within=5)  # noqa: B023  # read before it changes
        assert log.done.wait(5)
        doomed.kill()
        died = time.monotonic()
        assert all(call.exception() is not None for call in calls), "it answered, so it had logged"
        before = mongo.calls()
        until(lambda: time.monotonic() - died > 3, within=5)
        used = mongo.calls() - before
        assert used.total() < 150, f"what never comes is looked for again and again: {used}"

        assert [wait.result().state for wait in waits] == ["COMPLETED", "CANCELLED"]
        for name in ("used", "new"):
            assert client.wait(name, queue=name, timeout=30).state == "COMPLETED"
        assert time.monotonic() - died < SECONDS
        seen = {name: list(watch) for name, watch in watches.items()}
        assert all(changes[0].HasField("gap") for changes in seen.values()), seen
        assert seen["to run"][-1].job.state == State.COMPLETED
        assert seen["to cancel"][-1].job.state == State.CANCELLED
    assert journal.starts() == {"to run": 1, "used": 1, "new": 1}


def _watch(stubs: Stubs, job_id: str) -> Iterator[job_service_pb2.WatchJobsResponse]:
    return stubs.jobs.WatchJobs(job_service_pb2.WatchJobsRequest(queue="used", job_id=job_id), timeout=60)
