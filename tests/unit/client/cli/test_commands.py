"""Each command asks what was typed, prints for people or for programs, and exits as promised."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from asyncio.subprocess import PIPE

import grpc
import pytest
from support.ports import free_port
from tocsin.cli.texts import shown
from tocsin.v1 import job_pb2
from tocsin.v1 import job_service_pb2 as pb
from unit.client.cli.conftest import Tocsin

from ..canned_server import CannedJobService, a_job, refusal, said

S = job_pb2.Job.State


async def test_schedule_asks_for_what_was_typed(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    typed = "--delay 1m30s --queue q --job-id a --priority -3 --max-attempts 5 --timeout 2s --on-conflict keep"
    done = await tocsin(
        "jobs", "schedule", "resize", "--data", '{"n":1}', *typed.split(), "--tag", "tenant=7", "-a", address
    )
    assert (done.code, done.out, done.err) == (0, "scheduled a WAITING\n", "")
    [request] = service.asked("ScheduleJob")
    wanted = pb.ScheduleJobRequest(job_id="a", on_conflict=pb.ScheduleJobRequest.KEEP)
    wanted.delay.FromSeconds(90)
    wanted.job.queue, wanted.job.type, wanted.job.priority = "q", "resize", -3
    wanted.job.data["n"] = 1
    wanted.job.retry.max_attempts = 5
    wanted.job.timeout.FromSeconds(2)
    wanted.job.tags["tenant"] = "7"
    assert request == wanted


async def test_json_is_the_protos_json_on_one_line(tocsin: Tocsin, address: str) -> None:
    done = await tocsin("jobs", "schedule", "x", "--job-id", "a", "--json", "--address", address)
    assert done.out.count("\n") == 1
    job = json.loads(done.out)
    assert (job["jobId"], job["state"], job["createTime"]) == ("a", "WAITING", "1970-01-12T13:46:40Z")


async def test_get_shows_all_that_is_known(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    job = a_job(state=S.FAILED, attempt=3, failures=3)
    job.spec.data["path"] = "a.png"
    job.errors.add(attempt=3, type="ValueError", message="no \x1b[31mluck", trace="Traceback\n  line")
    service.jobs["a"] = job
    done = await tocsin("jobs", "get", "a", "-a", address)
    assert done.code == 0
    for part in (
        "state      FAILED",
        'payload    {"path": "a.png"}',
        "3 (3 failed)",
        "ValueError: no \\x1b[31mluck",
        "  line",
    ):
        assert part in done.out
    assert "\x1b" not in done.out
    assert json.loads((await tocsin("jobs", "get", "a", "--json", "-a", address)).out)["spec"]["data"] == {
        "path": "a.png"
    }


async def test_list_filters_and_prints_a_line_a_job(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    long_id = "i" * 200
    service.pages = iter([pb.ListJobsResponse(jobs=[a_job(long_id, S.FAILED), a_job("b", S.FAILED)])])
    filters = "--state failed --state scheduled --type email --tag tenant=7 --queue q --limit 10 --skip 5"
    done = await tocsin("jobs", "list", *filters.split(), "-a", address)
    assert done.code == 0
    assert [line.split()[:3] for line in done.out.splitlines()] == [
        ["JOB_ID", "TYPE", "STATE"],
        [long_id, "noop", "FAILED"],
        ["b", "noop", "FAILED"],
    ]
    [request] = service.asked("ListJobs")
    assert request == pb.ListJobsRequest(
        queue="q",
        states=[S.FAILED, S.SCHEDULED],
        types=["email"],
        tags={"tenant": "7"},
        page_size=10,
        skip=5,
        order_by="create_time desc",
        view=job_pb2.Job.BASIC,
    )


async def test_list_prints_json_lines(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    service.pages = iter([pb.ListJobsResponse(jobs=[a_job("a"), a_job("b")])])
    done = await tocsin("jobs", "list", "--json", "-a", address)
    assert [json.loads(line)["jobId"] for line in done.out.splitlines()] == ["a", "b"]


async def test_soonest_lists_scheduled_jobs_by_their_time(
    tocsin: Tocsin, address: str, service: CannedJobService
) -> None:
    service.pages = iter([pb.ListJobsResponse()])
    await tocsin("jobs", "list", "--soonest", "-a", address)
    [request] = service.asked("ListJobs")
    assert (list(request.states), request.order_by) == ([S.SCHEDULED], "schedule_time")


async def test_cancel_and_run_say_what_became_of_the_job(
    tocsin: Tocsin, address: str, service: CannedJobService
) -> None:
    done = await tocsin("jobs", "cancel", "a", "--reason", "moved", "--grace", "5s", "-a", address)
    assert (done.code, done.out) == (0, "cancelled a CANCELLED\n")
    [request] = service.asked("CancelJob")
    assert (request.queue, request.reason, request.grace.seconds) == ("default", "moved", 5)
    assert (await tocsin("jobs", "run", "a", "-a", address)).out == "due now a WAITING\n"


async def test_watch_prints_changes_until_the_end(tocsin: Tocsin, address: str, service: CannedJobService) -> None:
    story = [said(a_job(), "1"), said(a_job(state=S.COMPLETED, revision=2), "2")]
    service.watches = iter([story, story])
    done = await tocsin("jobs", "watch", "a", "-a", address)
    assert [line.split()[1:] for line in done.out.splitlines()] == [
        ["a", "noop", "WAITING"],
        ["a", "noop", "COMPLETED"],
    ]
    lines = (await tocsin("jobs", "watch", "a", "--json", "-a", address)).out.splitlines()
    assert [(json.loads(line)["job"]["state"], json.loads(line)["cursor"]) for line in lines] == [
        ("WAITING", "1"),
        ("COMPLETED", "2"),
    ]


async def test_a_refusal_is_one_line_on_standard_error_and_exits_1(
    tocsin: Tocsin, address: str, service: CannedJobService
) -> None:
    service.refuse = lambda request: refusal(grpc.StatusCode.ALREADY_EXISTS, "JOB_EXISTS")
    done = await tocsin("jobs", "schedule", "x", "--job-id", "a", "-a", address)
    assert (done.code, done.out, done.err) == (1, "", "tocsin: refused: JOB_EXISTS [JOB_EXISTS]\n")


async def test_a_server_that_is_not_there_is_told_at_once_with_its_address(tocsin: Tocsin) -> None:
    address = f"127.0.0.1:{free_port()}"
    done = await tocsin("jobs", "get", "a", "-a", address)
    assert done.code == 1
    assert done.err.startswith(f"tocsin: no server is reached at {address}: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "jobs list --state done",
        "jobs schedule",
        "jobs schedule x --delay soon",
        "jobs schedule x --delay 1s --at 2030-01-01T00:00:00Z",
        "jobs schedule x --data [1]",
        "jobs schedule x --on-conflict sometimes",
        "jobs watch a --state failed",
        "jobs list --bogus",
        "jobs dance",
        "dance",
    ],
)
async def test_misuse_exits_2_and_asks_no_server(line: str, tocsin: Tocsin) -> None:
    done = await tocsin(*line.split())
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


async def test_an_address_that_is_none_exits_1(tocsin: Tocsin) -> None:
    done = await tocsin("jobs", "get", "a", "-a", "http://localhost:50051")
    assert (done.code, done.err) == (1, "tocsin: the address is host:port, without http: 'localhost:50051'\n")


async def started(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin.cli.main", *arguments, stdout=PIPE, stderr=PIPE
    )


async def test_an_interrupt_ends_a_watch_without_a_word(address: str, service: CannedJobService) -> None:
    service.watches = itertools.repeat([said(a_job())])
    process = await started("jobs", "watch", "a", "-a", address)
    assert process.stdout is not None
    assert b"WAITING" in await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")


async def test_whoever_reads_only_the_first_line_causes_no_traceback(address: str, service: CannedJobService) -> None:
    service.pages = iter([pb.ListJobsResponse(jobs=[a_job(str(number)) for number in range(5000)])])
    process = await started("jobs", "list", "--json", "-n", "0", "-a", address)
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # asyncio closes it no other way
    assert await process.stderr.read() == b""
    await process.wait()


async def test_the_version_is_printed(tocsin: Tocsin) -> None:
    done = await tocsin("--version")
    assert done.code == 0
    assert done.out.startswith("tocsin ")


def test_what_could_steer_a_terminal_is_made_visible() -> None:
    assert shown("a\x1b]0;x\x07\u202eb\r\nü\t") == "a\\x1b]0;x\\x07\\u202eb\\r\nü\t"
