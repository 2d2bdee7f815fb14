"""WaitJob, ExplainJob and ListJobLogs, and what GetJob and lists explain."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from contract.builders import MINUTE, a_request, completed
from google.protobuf.duration_pb2 import Duration
from support.stubs import Refusal, refusal, request
from tocsin.v1 import following_pb2 as fpb
from tocsin.v1 import job_pb2, worker_service_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.domain.lease import Claimed, Extension
from tocsin_server.domain.logs import LogLine
from tocsin_server.domain.queues import HeldJob, WorkerFigures
from unit.server.api.running_api import Api

State, Reason, Level = job_pb2.Job.State, job_pb2.Explanation.Reason, worker_service_pb2.LogLine.Level


async def refused(call: grpc.aio.UnaryUnaryCall) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def scheduled(api: Api, job_id: str = "a", **words: object) -> None:
    await api.jobs.ScheduleJob(request("q", "t", job_id=job_id, **words))


async def leased(api: Api) -> Claimed:
    claim = await api.store.as_store.claim("q", {"t": 1}, 1, lease=MINUTE, request=a_request())
    return claim.claimed[0]


def wait(job_id: str = "a", seconds: float | None = None, **words: object) -> fpb.WaitJobRequest:
    asked = fpb.WaitJobRequest(queue="q", job_id=job_id, **words)
    if seconds is not None:
        asked.wait.CopyFrom(Duration(nanos=int(seconds * 1e9)) if seconds < 1 else Duration(seconds=int(seconds)))
    return asked


# --- WaitJob ---


async def test_a_wait_is_answered_when_the_job_ends(api: Api) -> None:
    await scheduled(api)
    waiting = asyncio.ensure_future(_answer(api.jobs.WaitJob(wait())))
    await api.store.until_called("get", 2)
    await api.store.as_store.finish([completed(await leased(api), b"")])
    async with asyncio.timeout(5):
        answer = await waiting
    assert answer.job.state == State.COMPLETED
    assert answer.job.spec.type == "t"


async def test_a_wait_outlasts_neither_itself_nor_the_deadline(api: Api) -> None:
    await scheduled(api, delay=60)
    began = time.monotonic()
    assert (await api.jobs.WaitJob(wait(seconds=0.05))).job.state == State.SCHEDULED
    assert (await api.jobs.WaitJob(wait(seconds=60), timeout=0.8)).job.state == State.SCHEDULED
    assert (await api.jobs.WaitJob(wait(seconds=60), timeout=0.2)).job.state == State.SCHEDULED
    assert time.monotonic() - began < 2


async def test_a_wait_may_be_longer_than_calls_without_a_deadline_take(api: Api) -> None:
    # They end after 2 s here.
    await scheduled(api, delay=60)
    assert (await api.jobs.WaitJob(wait(seconds=3))).job.state == State.SCHEDULED


async def test_a_wait_shows_as_much_as_is_asked(api: Api) -> None:
    await api.jobs.ScheduleJob(request("q", "t", {"path": "a.png"}, job_id="a", delay=60))
    full = (await api.jobs.WaitJob(wait(seconds=0))).job
    assert full.spec.data["path"] == "a.png"
    basic = (await api.jobs.WaitJob(wait(seconds=0, view=job_pb2.Job.BASIC))).job
    assert basic.spec.WhichOneof("payload") is None


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        (fpb.WaitJobRequest(), ["job_id"]),
        (wait(seconds=61), ["wait"]),
        (fpb.WaitJobRequest(job_id="a", wait=Duration(seconds=-1)), ["wait"]),
        (fpb.WaitJobRequest(job_id="a", view=9), ["view"]),
    ],
)
async def test_a_wait_is_checked(api: Api, asked: fpb.WaitJobRequest, fields: list[str]) -> None:
    assert (await refused(api.jobs.WaitJob(asked))).fields == fields


async def test_an_unknown_job_cannot_be_followed(api: Api) -> None:
    for call in (
        api.jobs.WaitJob(wait()),
        api.jobs.ExplainJob(fpb.ExplainJobRequest(queue="q", job_id="a")),
        api.jobs.ListJobLogs(fpb.ListJobLogsRequest(queue="q", job_id="a")),
    ):
        assert (await refused(call)).reason == "JOB_NOT_FOUND"


async def test_a_drain_ends_a_wait(api: Api) -> None:
    await scheduled(api, delay=60)
    waiting = asyncio.ensure_future(refused(api.jobs.WaitJob(wait(seconds=60))))
    await api.store.until_called("get", 2)
    await api.server.drain()
    async with asyncio.timeout(5):
        why = await waiting
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_waits_do_not_use_up_the_calls(api: Api) -> None:
    # Two watches may be open here; waits are counted as they are.
    await scheduled(api, delay=60)
    waiting = [asyncio.ensure_future(_answer(api.jobs.WaitJob(wait(seconds=60)))) for _ in range(2)]
    await api.store.until_called("get", 4)
    assert (await refused(api.jobs.WaitJob(wait(seconds=60)))).reason == "TOO_MANY_CALLS"
    assert (await api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="a"))).job.job_id == "a"
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


# --- explanations ---


async def test_a_job_is_explained(api: Api) -> None:
    await scheduled(api, delay=3600)
    found = (await api.jobs.ExplainJob(fpb.ExplainJobRequest(queue="q", job_id="a"))).explanation
    job = (await api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="a"))).job
    assert found.reason == Reason.DUE_IN
    assert found.time == job.schedule_time
    assert found.sentence.startswith("It is due in ")
    assert not found.HasField("ahead")
    assert (job.explanation.reason, job.explanation.time) == (found.reason, found.time)


async def test_who_runs_a_job_is_said(api: Api) -> None:
    await scheduled(api)
    await leased(api)
    held = (HeldJob("q", "a", "t", 1),)
    worker = WorkerFigures("resizer-1", ("t",), 1, 1, 0, remote=True, held=held)
    await api.store.as_store.announce([worker], "server", MINUTE)
    found = (await api.jobs.ExplainJob(fpb.ExplainJobRequest(queue="q", job_id="a"))).explanation
    assert (found.reason, found.worker) == (Reason.LEASED_BY, "resizer-1")
    assert found.time.ToDatetime() > found.seen_time.ToDatetime()


async def test_a_place_of_0_is_said(api: Api) -> None:
    await api.store.as_store.announce([WorkerFigures("s", ("t",), 1, 1, 0)], "s", MINUTE)
    await scheduled(api)
    found = (await api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="a"))).job.explanation
    assert (found.reason, found.HasField("ahead"), found.ahead) == (Reason.BEHIND, True, 0)


async def test_lists_explain_where_they_are_asked_to(api: Api) -> None:
    for number, delay in enumerate((0, 60, 0)):
        await scheduled(api, f"{number}", delay=delay)
    plain = await api.jobs.ListJobs(pb.ListJobsRequest(queue="q"))
    assert not any(job.HasField("explanation") for job in plain.jobs)
    asked = await api.jobs.ListJobs(pb.ListJobsRequest(queue="q", explain=True))
    assert [job.explanation.reason for job in asked.jobs] == [Reason.NO_WORKER, Reason.DUE_IN, Reason.NO_WORKER]
    assert api.store.calls["explain"] == 1


async def test_a_store_that_is_away_is_a_reason_and_get_is_refused(api: Api) -> None:
    api.store.away = {"get", "explain"}
    found = (await api.jobs.ExplainJob(fpb.ExplainJobRequest(queue="q", job_id="a"))).explanation
    assert found.reason == Reason.STORE_AWAY
    why = await refused(api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="a")))
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_AWAY")


# --- lines of log ---


async def test_lines_are_listed(api: Api) -> None:
    await scheduled(api)
    one = await leased(api)
    said = tuple(LogLine(2 + number % 3, f"line {number}") for number in range(1_005))
    await api.store.as_store.extend([Extension(one.lease, log=said)], MINUTE)
    entries, cursor, more = [], "", True
    while more:
        page = await api.jobs.ListJobLogs(fpb.ListJobLogsRequest(queue="q", job_id="a", cursor=cursor))
        entries += page.lines
        cursor, more = page.next_cursor, page.more
    assert (entries[0].line.text, entries[0].line.level, entries[0].attempt) == ("line 0", Level.INFO, 1)
    assert entries[1].line.level == Level.WARNING
    [mark] = [entry for entry in entries if entry.dropped]
    assert (entries.index(mark), mark.dropped, mark.HasField("line"), mark.HasField("time")) == (200, 5, False, True)
    assert entries[-1].line.text == "line 1004"
    assert len(entries) == 1_001
    nothing = await api.jobs.ListJobLogs(fpb.ListJobLogsRequest(queue="q", job_id="a", cursor=cursor))
    assert (list(nothing.lines), nothing.next_cursor, nothing.more) == ([], cursor, False)


async def test_what_cannot_be_listed_is_refused(api: Api) -> None:
    await scheduled(api)
    wrong = fpb.ListJobLogsRequest(queue="q q", attempt=-1)
    assert (await refused(api.jobs.ListJobLogs(wrong))).fields == ["queue", "job_id", "attempt"]
    no_cursor = fpb.ListJobLogsRequest(queue="q", job_id="a", cursor="x")
    assert (await refused(api.jobs.ListJobLogs(no_cursor))).fields == ["cursor"]


async def _answer(call: grpc.aio.UnaryUnaryCall) -> fpb.WaitJobResponse:
    return await call
