"""Following a job through a real server: why it does not run, what its attempts wrote, and its end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from google.protobuf.duration_pb2 import Duration
from support import commands
from support.eventually import until
from support.servers import Server
from support.stores import on_each_store
from support.stubs import Stubs
from tocsin import Client, NotFound, RetryPolicy
from tocsin.v1 import following_pb2, job_pb2

PROGRAM = (sys.executable, "-m", "tocsin.cli.main")


@pytest.fixture
def client(shared_server: Server) -> Iterator[Client]:
    with Client(shared_server.address) as client:
        yield client


def typed(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command line, run to its end."""
    return commands.typed(*arguments, "--address", server.address)


@on_each_store
def test_the_lines_of_all_attempts_are_read(client: Client, queue: str) -> None:
    retry = RetryPolicy(max_attempts=2, initial_delay=0.01, jitter=0)
    job = client.schedule("writes_lines", {"lines": 3, "fails": True}, queue=queue, retry=retry)
    assert client.wait(job, timeout=20).state == "FAILED"
    found = [(line.attempt, line.level, line.text) for line in client.logs(job)]
    once = [("info", "line 0"), ("warning", "line 1"), ("info", "line 2")]
    assert found == [(attempt, *line) for attempt in (1, 2) for line in once]
    assert [line.text for line in client.logs(job, attempt=2)] == ["line 0", "line 1", "line 2"]
    client.delete(job)
    with pytest.raises(NotFound):
        list(client.logs(job))


@on_each_store
def test_lines_are_followed_until_the_job_has_ended(client: Client, queue: str) -> None:
    job = client.schedule("writes_lines", {"lines": 5, "waits": True}, queue=queue)
    found = []
    for line in client.logs(job, follow=True):
        found.append(line.text)
        if len(found) == 5:
            client.cancel(job)
    assert found == [f"line {number}" for number in range(5)]
    assert client.get(job).state == "CANCELLED"


@on_each_store
def test_jobs_are_explained(client: Client, queue: str) -> None:
    later = client.schedule("noop", queue=queue, delay=3600)
    found = client.explain(later)
    assert (found.reason, found.time) == ("DUE_IN", later.schedule_time)
    stays = client.schedule("nobody_runs_this", queue=queue)
    assert ((found := client.explain(stays)).reason, found.name) == ("NO_WORKER", "nobody_runs_this")
    done = client.wait(client.schedule("noop", queue=queue), timeout=20)
    assert done.explanation is not None
    assert (done.explanation.reason, done.explanation.time) == ("ENDED", done.end_time)
    listed = {job.job_id: job.explanation and job.explanation.reason for job in client.list(queue=queue, explain=True)}
    assert listed == {later.job_id: "DUE_IN", stays.job_id: "NO_WORKER", done.job_id: "ENDED"}
    assert [job.explanation for job in client.list(queue=queue)] == [None] * 3


@on_each_store
def test_who_runs_a_job_is_said(client: Client, queue: str) -> None:
    job = client.schedule("until_cancelled", queue=queue)
    until(lambda: client.get(job).state == "ACTIVE", within=20)
    until(lambda: client.explain(job).worker != "", within=20)
    found = client.explain(job)
    assert found.reason == "LEASED_BY"
    assert found.worker in {worker.worker for worker in client.queue_health(queue).workers}
    assert found.time is not None
    assert found.seen_time is not None
    assert found.time > found.seen_time
    client.cancel(job)
    client.wait(job, timeout=20)


@on_each_store
def test_a_wait_without_a_stream(shared_server: Server, queue: str) -> None:
    with Stubs(shared_server.address) as stubs:
        job = stubs.schedule(queue, "half_a_second")
        asked = following_pb2.WaitJobRequest(queue=queue, job_id=job.job_id, wait=Duration(seconds=20))
        began = time.monotonic()
        assert stubs.jobs.WaitJob(asked).job.state == job_pb2.Job.COMPLETED
        assert time.monotonic() - began < 15


def test_explain_and_logs_are_typed(shared_server: Server, client: Client, queue: str) -> None:
    job = client.schedule("writes_lines", {"lines": 10}, queue=queue)
    client.wait(job, timeout=20)
    done = typed(shared_server, "jobs", "logs", job.job_id, "--queue", queue)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 10
    assert lines[0].split(maxsplit=1)[1] == "1 INFO    line 0"
    assert lines[1].endswith(" 1 WARNING line 1")
    said = typed(shared_server, "jobs", "logs", job.job_id, "--queue", queue, "--json", "--follow").stdout.splitlines()
    assert json.loads(said[0])["line"] == {"level": "INFO", "text": "line 0"}
    later = client.schedule("noop", queue=queue, delay=3600)
    done = typed(shared_server, "jobs", "explain", later.job_id, "--queue", queue)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("DUE_IN: It is due in 1 h, at 20", "DUE_IN: It is due in 59 min "))
    answer = json.loads(typed(shared_server, "jobs", "explain", later.job_id, "--queue", queue, "--json").stdout)
    assert (answer["reason"], set(answer)) == ("DUE_IN", {"reason", "sentence", "time"})
    assert "why        It is due in" in typed(shared_server, "jobs", "get", later.job_id, "--queue", queue).stdout
    assert typed(shared_server, "jobs", "explain", "nobody", "--queue", queue).returncode == 1
