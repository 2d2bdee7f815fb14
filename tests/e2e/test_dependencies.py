"""Jobs that wait for others, as users ask; docs/dependencies.md runs; and servers die meanwhile."""

from __future__ import annotations

import json
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from support.eventually import until
from support.servers import Server
from support.source_tree import ROOT
from support.stores import StoreBackend, on_each_store
from tocsin import (
    AsyncClient,
    Client,
    DependsOn,
    InvalidArgument,
    Job,
    JobRef,
    JobRequest,
    NotFound,
    TocsinError,
    WrongType,
)

PAGE = (ROOT / "docs/dependencies.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
[PROGRAM] = [text for language, text in BLOCKS if language == "python"]
[LINES] = [text.splitlines() for language, text in BLOCKS if language == "sh"]
LATER = timedelta(hours=1)


@pytest.fixture
def client(shared_server: Server) -> Any:
    with Client(shared_server.address) as client:
        yield client


def typed(address: str, *words: str) -> str:
    command = [sys.executable, "-m", "tocsin.cli.main", *words, "--address", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def made(answers: list[Job | TocsinError]) -> list[Job]:
    assert [answer for answer in answers if isinstance(answer, TocsinError)] == []
    return [answer for answer in answers if isinstance(answer, Job)]


def test_the_program_of_the_page_runs(quiet_server: Server, tmp_path: Any) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("localhost:50051", quiet_server.address))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=True)
    first, *others = done.stdout.splitlines()
    assert re.fullmatch(r"BLOCKED It waits for job 'video/.*' to end\.", first)
    assert others == ["BLOCKED [None, None, None]", "BLOCKED"]


def test_the_lines_of_the_page_run(quiet_server: Server, go_tool: Callable[[str], str]) -> None:
    grpcurl, first, second, followed, shows = (
        shlex.split(line.replace("localhost:50051", quiet_server.address)) for line in LINES
    )
    done = subprocess.run([go_tool("grpcurl"), *grpcurl[1:]], capture_output=True, text=True, timeout=60, check=True)
    states = [result["response"]["job"]["state"] for result in json.loads(done.stdout)["results"]]
    assert states == ["WAITING", "WAITING", "BLOCKED"]
    assert typed(quiet_server.address, *first[1:]).startswith("scheduled cut-1")
    child = typed(quiet_server.address, *second[1:]).split()[1]
    shown = " ".join(typed(quiet_server.address, "jobs", "get", child).split())
    assert "waits for video/cut-1 (open); if one fails: cancel" in shown
    assert "'video/cut-1'" in typed(quiet_server.address, "jobs", "explain", child)
    assert typed(quiet_server.address, *followed[1:]).startswith("scheduled import-1")
    with Client(quiet_server.address) as client:
        follower = client.get("import-1").on_end
        assert follower is not None
        assert (client.get(follower).type, client.get(follower).data) == ("clean_up", {"of": "import"})
    assert f"on end default/{follower.job_id}" in " ".join(typed(quiet_server.address, *shows[1:]).split())


@on_each_store
def test_a_child_runs_after_its_parents_and_reads_their_results(client: Client, queue: str) -> None:
    first = client.schedule("echo", {"n": 1}, queue=queue, delay=LATER)
    second = client.schedule("echo", {"n": 2}, queue=f"{queue}.other", delay=LATER)
    child = client.schedule("noop", queue=queue, depends_on=DependsOn([first, second], "FAIL"))
    assert (child.state, child.depends_on) == ("BLOCKED", DependsOn((), "FAIL"))
    why = client.explain(child)
    assert (why.reason, why.job_ids, why.open) == ("BLOCKED_BY", (first.job_id, f"{queue}.other/{second.job_id}"), 2)
    client.run(first)
    client.wait(first, timeout=20)
    until(lambda: [one.end for one in client.get(child).parents] == ["COMPLETED", None], within=20)
    client.run(second)
    assert client.wait(child, timeout=20).state == "COMPLETED"
    assert [one and one.result for one in client.parents(child)] == [{"n": 1}, {"n": 2}]
    client.delete(first)
    assert [one and one.result for one in client.parents(child)] == [None, {"n": 2}]


@on_each_store
def test_a_failure_is_told_at_once(client: Client, queue: str) -> None:
    parents = [client.schedule("noop", queue=queue, delay=LATER, job_id=f"p{i}") for i in range(2)]
    fails, cancels, runs = (
        client.schedule("noop", queue=queue, depends_on=DependsOn(["p0", JobRef(queue, "p1")], rule))
        for rule in ("FAIL", "CANCEL", "RUN")
    )
    client.cancel(parents[1])
    failed = client.wait(fails, timeout=20)
    assert (failed.state, failed.errors[-1].type) == ("FAILED", "PARENT_FAILED")
    cancelled = client.wait(cancels, timeout=20)
    assert cancelled.state == "CANCELLED"
    assert cancelled.cancel is not None
    assert cancelled.cancel.reason.startswith("PARENT_FAILED: job 'p1'")
    assert client.get(runs).state == "BLOCKED"
    client.cancel(parents[0])
    assert client.wait(runs, timeout=20).state == "COMPLETED"
    assert client.wait(client.retry(fails), timeout=20).state == "COMPLETED"


@on_each_store
def test_a_batch_has_a_last_job_and_what_follows_it(client: Client, queue: str) -> None:
    parts = [JobRequest("echo" if i % 2 else "fails_for_good", {"n": i}, queue=queue) for i in range(6)]
    last = JobRequest(
        "noop", queue=queue, depends_on=DependsOn(range(6), "RUN"), on_end=JobRequest("echo", {"after": True})
    )
    *jobs, last_job = made(client.schedule_many([*parts, last]))
    assert client.wait(last_job, timeout=30).state == "COMPLETED"
    assert {client.get(job).state for job in jobs} == {"COMPLETED", "FAILED"}
    assert last_job.on_end is not None
    follower = client.wait(last_job.on_end, timeout=20)
    assert (follower.queue, follower.result) == (queue, {"after": True})
    assert [one and one.job_id for one in client.parents(follower)] == [last_job.job_id]


def test_what_follows_an_end_is_said_in_a_shell_and_shown_there(
    shared_server: Server, client: Client, queue: str
) -> None:
    def shell(*words: str) -> str:
        return " ".join(typed(shared_server.address, "jobs", *words, "--queue", queue).split())

    follow = ("--on-end", "echo", "--on-end-payload", '{"of": "a"}')
    shell("schedule", "fails_for_good", "--job-id", "a", "--delay", "1h", *follow)
    child = client.get("a", queue=queue).on_end
    assert child is not None
    assert f"on end {queue}/{child.job_id}" in shell("get", "a")
    assert f"waits for {queue}/a (open)" in shell("get", child.job_id)
    client.run("a", queue=queue)
    assert client.wait(child, timeout=20).result == {"of": "a"}
    assert f"waits for {queue}/a (failed)" in shell("get", child.job_id)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--on-end-payload", "{}"), "--on-end"),
        (("--on-end", "t", "--on-end-payload", "[1]"), "--on-end-payload"),
        (("--on-end", "email_notification", "--on-end-payload", '{"two": 1}'), "--on-end-payload"),
    ],
)
def test_what_cannot_follow_is_refused_by_the_name_of_its_option(
    shared_server: Server, more: tuple[str, ...], why: str
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        typed(shared_server.address, "jobs", "schedule", "noop", *more)
    assert refused.value.returncode == 2
    assert re.search(rf"Invalid value for '?{why}\b(?!-)", refused.value.stderr)


def test_more_than_a_call_takes(client: Client, queue: str) -> None:
    """Places are those of the whole list, however many calls it takes."""
    parts = [JobRequest("noop", queue=queue) for _ in range(1_000)]
    rest = [JobRequest("noop", queue=queue, depends_on=DependsOn([999, 1_000], "FAIL"))]
    answers = client.schedule_many([*parts, JobRequest("noop", queue=queue), *rest], deadline=60)
    assert client.wait(made(answers)[-1], timeout=60).state == "COMPLETED"


def test_a_thousand_into_one(client: Client, queue: str) -> None:
    parts = [JobRequest("noop", queue=queue) for _ in range(999)]
    answers = client.schedule_many([*parts, JobRequest("noop", queue=queue, depends_on=DependsOn(range(999), "RUN"))])
    assert client.wait(made(answers)[-1], timeout=60).state == "COMPLETED"


def test_what_cannot_be_waited_for_is_refused(client: Client, queue: str) -> None:
    with pytest.raises(NotFound, match=r"job\.depends_on\.parents\[0\]"):
        client.schedule("noop", queue=queue, depends_on=DependsOn(["no such job"], "RUN"))
    with pytest.raises(InvalidArgument, match="when_parent_fails"):
        client.schedule("noop", queue=queue, depends_on=DependsOn(["a"], ""))  # type: ignore[arg-type]  # on purpose
    with pytest.raises(WrongType, match="schedule_many"):
        client.schedule("noop", queue=queue, depends_on=DependsOn([0], "RUN"))
    [first, second] = client.schedule_many(
        [JobRequest("noop", queue=queue, depends_on=DependsOn([at], "RUN")) for at in (0, 0)]
    )
    assert isinstance(first, InvalidArgument)
    assert isinstance(second, InvalidArgument)


async def test_the_async_client_does_the_same(shared_server: Server, queue: str) -> None:
    async with AsyncClient(shared_server.address) as client:
        parent = await client.schedule("echo", {"n": 1}, queue=queue)
        child = await client.schedule("noop", queue=queue, depends_on=DependsOn([parent], "FAIL"))
        await client.wait(child, timeout=20)
        assert [one and one.result for one in await client.parents(child)] == [{"n": 1}]


def test_nobody_is_forgotten_where_servers_die(store: StoreBackend, serve: Callable[..., Server]) -> None:
    """Chains through two queues, a last job of all, and what follows that; a server is killed again and again."""
    settings = {"handlers": "support.jobs.everyday", "TOCSIN_LEASE__DURATION": "2s"}
    chance = random.Random(4)
    number = 30 if store.provider == "redis" else 6
    steady = serve(store.url, **settings)
    with Client(steady.address, deadline=30) as client:
        batch: list[JobRequest] = []
        for chain in range(number):
            batch.append(JobRequest("noop", queue="a", job_id=f"{chain}.0"))
            for step in range(1, 4):
                rule = DependsOn([len(batch) - 1], "FAIL")
                batch.append(JobRequest("noop", queue="ab"[step % 2], job_id=f"{chain}.{step}", depends_on=rule))
        ends = DependsOn(range(3, len(batch), 4), "FAIL")
        doomed = serve(store.url, **settings)
        jobs = made(client.schedule_many([*batch, JobRequest("noop", depends_on=ends, on_end=JobRequest("noop"))]))
        last = jobs[-1]

        def ended() -> int:
            return sum(one.end is not None for one in client.get(last).parents)

        for _ in range(4):
            wanted = min(number, ended() + chance.randrange(1, 4))
            until(partial(lambda wanted: ended() >= wanted, wanted), within=60)
            doomed.kill()
            doomed = serve(store.url, **settings)
        assert client.wait(last, timeout=90).state == "COMPLETED"
        assert last.on_end is not None
        assert client.wait(last.on_end, timeout=60).state == "COMPLETED"
        assert {client.get(job).state for job in jobs} == {"COMPLETED"}


@on_each_store
def test_they_go_on_waiting_where_they_are_brought_in(client: Client, quiet_server: Server, queue: str) -> None:
    """The newest come first: children before their parents."""
    other = f"{queue}.other"
    with Client(quiet_server.address) as source:
        done = source.schedule("echo", {"n": 0}, queue=queue, delay=LATER)
        source.cancel(done)
        open_one = source.schedule("echo", {"n": 1}, queue=other, delay=LATER, on_end=JobRequest("noop"))
        child = source.schedule("noop", queue=queue, depends_on=DependsOn([done, open_one], "RUN", block_timeout=3600))
        until(lambda: source.get(child).parents[0].end == "CANCELLED", within=20)
        records = list(source.export_jobs([queue, other]))
        assert client.import_jobs(records).refused == 0
    there = client.get(child)
    assert (there.state, there.depends_on and there.depends_on.block_timeout) == ("BLOCKED", LATER)
    assert [(one.job_id, one.end) for one in there.parents] == [(done.job_id, "CANCELLED"), (open_one.job_id, None)]
    client.run(open_one)
    assert client.wait(child, timeout=90).state == "COMPLETED"
    assert open_one.on_end is not None
    assert client.wait(open_one.on_end, timeout=20).state == "COMPLETED"
