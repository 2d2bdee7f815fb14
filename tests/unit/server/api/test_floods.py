"""Many calls at once, callers that leave, and bytes that are nothing: each is answered, and the log stays short."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any

import grpc
import pytest
import structlog
from grpc_reflection.v1alpha import reflection_pb2
from support.eventually import until_async
from support.spied_store import SpiedStore
from support.stubs import Refusal, refusal, request
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import transfer_pb2 as tpb
from unit.server.api.running_api import Api, running_api

REFLECTION = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
Logs = list[MutableMapping[str, Any]]


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def code(call: Any) -> grpc.StatusCode:
    return await call.code()


def calls(logs: Logs) -> Logs:
    return [entry for entry in logs if entry["event"] == "call"]


def faults(logs: Logs, caplog: pytest.LogCaptureFixture) -> list[Any]:
    """What was logged as a fault, by the server or by grpc."""
    ours = [entry for entry in logs if entry["log_level"] in ("error", "critical")]
    return [*ours, *(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)]


@pytest.mark.parametrize("many", [1_500, 3_000])
async def test_thousands_of_calls_at_once_over_one_channel_are_all_answered(spied: SpiedStore, many: int) -> None:
    async with running_api(spied, calls=10_000) as api:
        asked = [api.jobs.GetJob(pb.GetJobRequest(job_id="a"), timeout=60) for _ in range(many)]
        codes = Counter(await asyncio.gather(*map(code, asked)))
    assert codes == {grpc.StatusCode.NOT_FOUND: many}


def _check(api: Api) -> Any:
    return api.channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff\xff\xff")


def _health_watch(api: Api) -> Any:
    return _first(api.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\xff\xff\xff"))


def _info(service: str) -> Callable[[Api], Any]:
    def begin(api: Api) -> Any:
        return _first(api.channel.stream_stream(f"/{service}/ServerReflectionInfo")(iter([b"\xff\xff\xff"])))

    return begin


async def _first(call: Any) -> Any:
    return await call.read()


@pytest.mark.parametrize("begin", [_check, _health_watch, *map(_info, REFLECTION)])
async def test_bytes_that_are_nothing_are_an_invalid_argument_to_health_and_reflection(
    api: Api, begin: Callable[[Api], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as logs:
        why = await refused(begin(api))

        async def logged() -> bool:
            return bool(calls(logs))

        await until_async(logged, within=5)
    assert (why.code, why.reason, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["request"])
    assert [entry["code"] for entry in calls(logs)] == ["INVALID_ARGUMENT"]
    assert faults(logs, caplog) == []


async def test_reflection_answers_what_came_before_the_bytes_that_are_nothing(api: Api) -> None:
    good = reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString()
    call = api.channel.stream_stream(f"/{REFLECTION[0]}/ServerReflectionInfo")(iter([good, b"\xff\xff\xff"]))
    assert await call.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def _watches(channel: grpc.aio.Channel) -> Any:
    return channel.unary_stream("/tocsin.v1.JobService/WatchJobs")(
        pb.WatchJobsRequest(queue="q", send_start=True).SerializeToString()
    )


def _exports(channel: grpc.aio.Channel) -> Any:
    return channel.unary_stream("/tocsin.v1.JobService/ExportJobs")(tpb.ExportJobsRequest().SerializeToString())


@pytest.mark.parametrize("begin", [_watches, _exports])
async def test_a_reader_who_leaves_while_the_server_writes_is_no_fault(
    spied: SpiedStore, begin: Callable[[grpc.aio.Channel], Any], caplog: pytest.LogCaptureFixture
) -> None:
    tags = {f"tag{n}": "x" * 250 for n in range(8)}
    batch = pb.BatchScheduleJobsRequest(
        requests=[request("q", "t", {"x": "y" * 4_000}, delay=60, tags=tags) for _ in range(1_000)]
    )
    async with running_api(spied, watches=100) as api:
        with structlog.testing.capture_logs() as logs:
            readers = []
            channels = [grpc.aio.insecure_channel(api.address) for _ in range(10)]
            if begin is _exports:
                await api.jobs.BatchScheduleJobs(batch, timeout=60)
            for channel in channels:
                readers.append(begin(channel))
                await readers[-1].read()  # and no more: what follows fills the window, and a write stands
            if begin is _watches:
                await api.jobs.BatchScheduleJobs(batch, timeout=60)
                await api.jobs.BatchScheduleJobs(batch, timeout=60)
            for reader, channel in zip(readers, channels, strict=True):
                reader.cancel()
                await channel.close()

            async def told() -> bool:
                ended = [
                    entry for entry in calls(logs) if "WatchJobs" in entry["method"] or "Export" in entry["method"]
                ]
                return len(ended) == len(readers)

            await until_async(told, within=20)
    assert {entry["code"] for entry in calls(logs)} <= {"OK", "CANCELLED"}
    assert faults(logs, caplog) == []


async def test_a_long_name_of_a_method_is_cut_in_the_log_and_in_the_refusal(api: Api) -> None:
    path = "/tocsin.v1.JobService/" + "x" * 12_000
    with structlog.testing.capture_logs() as logs:
        why = await refused(api.channel.unary_unary(path)(b""))

        async def logged() -> bool:
            return bool(calls(logs))

        await until_async(logged, within=5)
    assert (why.code, why.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")
    assert len(why.message) < 400
    [line] = calls(logs)
    assert path.startswith(line["method"].removesuffix("…"))
    assert len(repr(line)) < 500


async def test_a_flood_of_refusals_leaves_some_lines_and_how_many_were_left_out(spied: SpiedStore) -> None:
    many = 2_000
    async with running_api(spied, calls=10_000) as api:
        with structlog.testing.capture_logs() as logs:
            began = time.monotonic()
            asked = [api.channel.unary_unary("/tocsin.v1.JobService/Nothing")(b"") for _ in range(many)]
            assert set(await asyncio.gather(*map(code, asked))) == {grpc.StatusCode.UNIMPLEMENTED}
            seconds = time.monotonic() - began
            of_flood = len(calls(logs))

            async def told_of() -> bool:  # once there is room for a line again
                await refused(api.channel.unary_unary("/tocsin.v1.JobService/Nothing")(b""))
                lines = calls(logs)
                return len(lines) + sum(entry.get("unlogged", 0) for entry in lines) >= many

            await until_async(told_of, within=5)
    assert of_flood <= 201 + 20 * seconds
