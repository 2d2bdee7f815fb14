"""Calls whose caller does nothing hold no place: what is not asked, sent or read in time is ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from support.eventually import until_async
from support.spied_store import SpiedStore
from support.stubs import Refusal, refusal, request
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import transfer_pb2 as tpb
from unit.server.api.record_builder import a_job
from unit.server.api.running_api import Api, running_api

IDLE = timedelta(seconds=1)
IMPORT = "/tocsin.v1.JobService/ImportJobs"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#: Methods that are sent one request, or in reflection's case any number.
ASKED = [
    "/tocsin.v1.JobService/GetJob",
    "/tocsin.v1.JobService/WatchJobs",
    "/tocsin.v1.JobService/ExportJobs",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    REFLECTION,
]


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    async with running_api(spied, idle=IDLE) as api:
        yield api


async def never() -> AsyncIterator[bytes]:
    """No request, and no end of them either."""
    await asyncio.Event().wait()
    yield b""


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def ended(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _to_its_end(call)
    return refusal(caught.value)


async def _to_its_end(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def exported(api: Api) -> list[str]:
    answers = [answer async for answer in api.jobs.ExportJobs(tpb.ExportJobsRequest())]
    return [record.job.job.job_id for answer in answers for record in answer.records if record.HasField("job")]


async def test_imports_that_send_nothing_make_way_for_others(api: Api) -> None:
    await api.jobs.ScheduleJob(request("q", "t", job_id="a", delay=60))
    silent = [api.channel.stream_unary(IMPORT)(never()) for _ in range(16)]

    async def full() -> bool:
        try:
            await exported(api)
        except grpc.aio.AioRpcError as error:
            return refusal(error).reason == "TOO_MANY_CALLS"
        return False

    await until_async(full, within=5)
    codes = await asyncio.wait_for(asyncio.gather(*(call.code() for call in silent)), 10)
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * 16
    assert await exported(api) == ["a"]


async def test_an_import_that_stands_still_after_it_has_acted_may_have_acted(api: Api) -> None:
    async def one_record() -> AsyncIterator[bytes]:
        yield tpb.ImportJobsRequest(records=[a_job("a")]).SerializeToString()
        await asyncio.Event().wait()

    why = await refused(api.channel.stream_unary(IMPORT)(one_record(), timeout=20))
    assert why.reason == "OUTCOME_UNKNOWN"
    assert await exported(api) == ["a"]


async def test_an_export_that_nobody_reads_makes_way_for_others(api: Api) -> None:
    batch = pb.BatchScheduleJobsRequest(requests=[request("q", "t", {"x": "y" * 8_000}, delay=60)] * 1_000)
    for _ in range(3):
        await api.jobs.BatchScheduleJobs(batch, timeout=60)
    with structlog.testing.capture_logs() as logs:
        unread = [api.jobs.ExportJobs(tpb.ExportJobsRequest()) for _ in range(16)]

        async def all_ended() -> bool:
            return len([line for line in logs if "ExportJobs" in line.get("method", "")]) == len(unread)

        await until_async(all_ended, within=30)
    assert len(await exported(api)) == 3_000
    for call in unread:
        call.cancel()


@pytest.mark.parametrize("path", ASKED)
async def test_a_call_whose_request_does_not_come_is_ended(api: Api, path: str) -> None:
    why = await ended(api.channel.stream_stream(path)(never(), timeout=20))
    assert (why.code, why.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED")
    assert "no request came within 1 s" in why.message


async def test_a_deadline_that_passes_before_the_request_came_is_no_unknown_outcome(api: Api) -> None:
    why = await ended(api.channel.stream_stream("/tocsin.v1.JobService/ScheduleJob")(never(), timeout=0.5))
    assert (why.code, why.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED")


async def test_watches_that_ask_for_nothing_make_way_for_others(api: Api) -> None:
    """Two may be open here."""
    silent = [api.channel.stream_stream("/tocsin.v1.JobService/WatchJobs")(never()) for _ in range(2)]
    codes = await asyncio.wait_for(asyncio.gather(*(call.code() for call in silent)), 10)
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
    watch = api.jobs.WatchJobs(pb.WatchJobsRequest(queue="q", send_start=True))
    assert await watch.read() is not grpc.aio.EOF
    watch.cancel()


async def test_watches_that_have_asked_outlast_it(api: Api) -> None:
    """An import that is silent for as long begins after them and is ended before they are."""
    jobs = api.jobs.WatchJobs(pb.WatchJobsRequest(queue="q", send_start=True))
    await jobs.read()
    health = health_pb2_grpc.HealthStub(api.channel).Watch(health_pb2.HealthCheckRequest())
    await health.read()
    assert await api.channel.stream_unary(IMPORT)(never()).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await api.jobs.ScheduleJob(request("q", "t", job_id="a", delay=60))
    assert (await jobs.read()).job.job_id == "a"
    await api.health.set_ready(False)
    assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_reflection_that_asks_no_more_is_ended(api: Api) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString()
        await asyncio.Event().wait()

    call = api.channel.stream_stream(REFLECTION)(once(), timeout=20)
    assert await call.read()
    assert (await ended(call)).reason == "DEADLINE_PASSED"
