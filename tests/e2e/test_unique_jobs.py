"""Jobs of one key, jobs that expire, held jobs and queues that drain, as users ask; docs/unique-jobs.md runs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.commands import typed
from support.servers import Server
from support.source_tree import ROOT
from support.stores import on_each_store
from tocsin import AsyncClient, Client, Collapse, FailedPrecondition, Job, JobRequest

PAGE = (ROOT / "docs/unique-jobs.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
[PROGRAM] = [text for language, text in BLOCKS if language == "python"]
[LINES] = [text.splitlines() for language, text in BLOCKS if language == "sh"]
LATER = timedelta(hours=1)
AGAIN = Collapse("k", "RUN_AGAIN_AFTER")


@pytest.fixture
def client(shared_server: Server) -> Any:
    with Client(shared_server.address) as client:
        yield client


def said_to(address: str, *words: str) -> str:
    return typed(*words, "--address", address, check=True).stdout


def test_the_program_of_the_page_runs(quiet_server: Server, tmp_path: Any) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("localhost:50051", quiet_server.address))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "KEPT True\nREPLACED\n"


def test_the_lines_of_the_page_run(quiet_server: Server, go_tool: Callable[[str], str]) -> None:
    grpcurl, tocsin = (shlex.split(line.replace("localhost:50051", quiet_server.address)) for line in LINES)
    done = subprocess.run([go_tool("grpcurl"), *grpcurl[1:]], capture_output=True, text=True, timeout=60, check=True)
    first = json.loads(done.stdout)
    assert first["outcome"] == "CREATED"
    assert said_to(quiet_server.address, *tocsin[1:]).startswith(f"replaced {first['job']['job_id']}")


@on_each_store
def test_what_a_call_did_and_which_job_stands(client: Client, queue: str) -> None:
    kept = Collapse("k", "KEEP")
    first = client.schedule("noop", {"n": 1}, queue=queue, delay=LATER, collapse=kept)
    assert (first.outcome, first.collapse) == ("CREATED", Collapse("k", "KEEP", None, None))
    second = client.schedule("noop", {"n": 2}, queue=queue, collapse=kept)
    assert (second.outcome, second.job_id, second.schedule_time) == ("KEPT", first.job_id, first.schedule_time)
    third = client.schedule("noop", {"n": 3}, queue=queue, collapse=Collapse("k", "REPLACE"))
    assert (third.outcome, third.job_id) == ("REPLACED", first.job_id)
    done = client.wait(first, timeout=20)
    assert (done.state, client.get(done).payload) == ("COMPLETED", {"n": 3})


@on_each_store
def test_a_batch_of_one_key_is_one_job(client: Client, queue: str) -> None:
    rule = Collapse("k", "DEBOUNCE", window=2, max_wait=5)
    jobs = client.schedule_many(JobRequest("echo", {"n": n}, queue=queue, collapse=rule) for n in range(30))
    assert [job.outcome for job in jobs if isinstance(job, Job)] == ["CREATED"] + 29 * ["REPLACED"]
    [job] = client.list(queue=queue)
    assert client.wait(job, timeout=20).result == {"n": 29}


@on_each_store
def test_a_job_that_is_too_late_ends(client: Client, queue: str) -> None:
    job = client.schedule("served_by_nobody", queue=queue, expire=0.2)
    assert job.expire_time == job.schedule_time + timedelta(seconds=0.2)
    ended = client.wait(job, timeout=20)
    assert (ended.state, ended.cancel.reason, ended.attempt, ended.expire_time) == ("CANCELLED", "EXPIRED", 0, None)
    past = datetime.now(UTC) - LATER
    assert client.wait(client.schedule("noop", queue=queue, expire=past), timeout=20).state == "CANCELLED"
    assert client.wait(client.schedule("noop", queue=queue, expire=60), timeout=20).state == "COMPLETED"


@on_each_store
def test_a_held_job_waits_until_it_is_let_go(client: Client, queue: str) -> None:
    job = client.schedule("noop", queue=queue, delay=LATER)
    assert (client.hold(job).held, client.hold(job).state) == (True, "SCHEDULED")
    assert client.explain(job).reason == "HELD"
    assert client.run(job).held
    assert client.wait(client.schedule("noop", queue=queue), timeout=20).state == "COMPLETED"
    assert client.get(job).state == "WAITING" or client.get(job).state == "SCHEDULED"
    assert not client.release(job).held
    assert client.wait(job, timeout=20).state == "COMPLETED"
    with pytest.raises(FailedPrecondition):
        client.hold(job)
    with pytest.raises(FailedPrecondition):
        client.release(job)


@on_each_store
def test_a_queue_drains_and_takes_jobs_again(client: Client, queue: str) -> None:
    job = client.schedule("noop", queue=queue, job_id="one", delay=LATER)
    assert client.drain(queue).draining
    assert client.drain(queue).draining
    with pytest.raises(FailedPrecondition) as refusal:
        client.schedule("noop", queue=queue)
    assert refusal.value.reason == "QUEUE_DRAINING"
    assert client.schedule("noop", queue=queue, job_id="one", on_conflict="KEEP").outcome == "KEPT"
    assert any("draining" in warning and "1 job left" in warning for warning in client.queue_health(queue).warnings)
    client.run(job)
    assert client.wait(job, timeout=20).state == "COMPLETED"
    assert not client.resume(queue).draining
    assert client.schedule("noop", queue=queue).outcome == "CREATED"


@on_each_store
async def test_the_async_client_does_the_same(shared_server: Server, queue: str) -> None:
    async with AsyncClient(shared_server.address) as client:
        job = await client.schedule("noop", queue=queue, delay=LATER, collapse=AGAIN, expire=60)
        assert (await client.hold(job)).held
        assert not (await client.release(job)).held
        assert (await client.drain(queue)).draining
        assert not (await client.resume(queue)).draining


def test_the_command_line_does_the_same(shared_server: Server, queue: str) -> None:
    at = shared_server.address
    words = ("jobs", "schedule", "noop", "--queue", queue, "--collapse-key", "k", "--delay", "1h")
    assert said_to(at, *words, "--job-id", "a", "--expire-after", "10m").startswith("scheduled a")
    assert said_to(at, *words).startswith("kept a")
    assert said_to(at, "jobs", "hold", "a", "--queue", queue).startswith("held a")
    shown = " ".join(said_to(at, "jobs", "get", "a", "--queue", queue).split())
    assert "collapses k: keep held yes expires " in shown
    assert said_to(at, "jobs", "release", "a", "--queue", queue).startswith("released a")
    assert said_to(at, "queues", "drain", queue).startswith(f"draining {queue}")
    assert f"{queue} draining" in " ".join(said_to(at, "queues", "list").split())
    assert said_to(at, "queues", "resume", queue).startswith(f"resumed {queue}")
