"""Calls are bounded in number and time, refused with a reason, and logged without what was in them."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import grpc
import pytest
import structlog
from support.eventually import until_async
from support.stubs import Refusal, refusal, request
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin.v1 import server_service_pb2 as spb
from tocsin_server.domain.errors import StoreAway
from unit.server.api.running_api import Api

SCHEDULE = "/tocsin.v1.JobService/ScheduleJob"


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def test_bytes_that_are_no_request_are_an_invalid_argument(api: Api) -> None:
    why = await refused(api.channel.unary_unary(SCHEDULE)(b"\xff\xff"))
    assert (why.code, why.reason, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["request"])
    why = await refused(api.channel.unary_unary("/tocsin.v1.QueueService/PauseQueue")(b"\x0a\x01\xff"))
    assert why.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_text_that_is_not_utf8_is_named(api: Api) -> None:
    raw = b"\x0a\x05\x12\x03\xff\xfet" + b"\x12\x01\xff"  # job.type, job_id
    why = await refused(api.channel.unary_unary(SCHEDULE)(raw))
    assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["job.type", "job_id"])


async def test_a_request_over_16_mib_is_too_large(api: Api) -> None:
    why = await refused(api.channel.unary_unary(SCHEDULE)(bytes(16 << 20) + b"\x00"))
    assert (why.code, why.reason, why.fields) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE", ["request"])


async def test_a_method_that_is_not_built_says_so(api: Api) -> None:
    for path in ("/tocsin.v1.JobService/ForgetJob", "/tocsin.v1.ScheduleService/ForgetSchedule"):
        why = await refused(api.channel.unary_unary(path)(b""))
        assert (why.code, why.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")


async def test_a_fault_shows_an_id_and_nothing_else(api: Api) -> None:
    api.store.break_with["get"] = ZeroDivisionError("the secret")
    with structlog.testing.capture_logs() as logs:
        why = await refused(api.jobs.GetJob(pb.GetJobRequest(job_id="a")))
    assert (why.code, why.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in why.message
    [fault] = [entry for entry in logs if entry["event"] == "fault"]
    assert fault["error_id"] == why.metadata["error_id"]
    assert fault["log_level"] == "error"


async def test_a_store_that_is_away_is_unavailable(api: Api) -> None:
    api.store.break_with["get"] = StoreAway("pulled out")
    why = await refused(api.jobs.GetJob(pb.GetJobRequest(job_id="a")))
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_AWAY")


async def test_calls_are_logged_without_what_was_in_them(api: Api) -> None:
    with structlog.testing.capture_logs() as logs:
        await api.jobs.ScheduleJob(request("q", "t", {"password": "hunter2"}, job_id="secret-id"))
        await refused(api.jobs.GetJob(pb.GetJobRequest(job_id="secret-id")))

        async def logged() -> bool:  # which may be after the caller has its refusal
            return len(logs) == 2

        await until_async(logged, within=5)
    calls = [(entry["method"], entry["code"], entry["log_level"]) for entry in logs if entry["event"] == "call"]
    assert calls == [(SCHEDULE, "OK", "debug"), ("/tocsin.v1.JobService/GetJob", "NOT_FOUND", "info")]
    assert all(entry["ms"] >= 0 and entry["peer"].startswith("ipv4:127.0.0.1:") for entry in logs)
    assert "hunter2" not in repr(logs)
    assert "secret-id" not in repr(logs)


async def test_open_watches_keep_only_further_watches_out(api: Api) -> None:
    watches = [api.jobs.WatchJobs(pb.WatchJobsRequest(queue="q")) for _ in range(2)]
    for watch in watches:
        await watch.initial_metadata()
    third = api.jobs.WatchJobs(pb.WatchJobsRequest(queue="q"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await third.read()
    why = refusal(caught.value)
    assert (why.code, why.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
    await api.info.GetServerInfo(spb.GetServerInfoRequest())
    watches[0].cancel()

    async def admitted() -> bool:  # the server has noticed that one has left
        again = api.jobs.WatchJobs(pb.WatchJobsRequest(queue="q"))
        watches.append(again)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await again.initial_metadata()
            return not again.done()
        return False

    await until_async(admitted, within=5)
    for watch in watches:
        watch.cancel()


async def test_calls_beyond_the_limit_are_refused_and_none_is_lost(api: Api) -> None:
    gate = api.store.gates["get"] = asyncio.Event()
    calls = [api.jobs.GetJob(pb.GetJobRequest(job_id="a")) for _ in range(101)]
    done, _ = await asyncio.wait([asyncio.ensure_future(_code(call)) for call in calls], return_when="FIRST_COMPLETED")
    assert [one.result() for one in done] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    gate.set()
    codes = [await call.code() for call in calls]
    assert codes.count(grpc.StatusCode.NOT_FOUND) == 100


async def _code(call: Any) -> grpc.StatusCode:
    return await call.code()


async def test_a_write_that_was_sent_when_the_deadline_passed_may_have_acted(api: Api) -> None:
    gate = api.store.gates["add"] = asyncio.Event()
    why = await refused(api.jobs.ScheduleJob(request("q", "t", job_id="a"), timeout=0.3))
    assert (why.code, why.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "OUTCOME_UNKNOWN")
    gate.set()
    await api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="a"))


async def test_a_write_still_waiting_its_turn_when_the_deadline_passed_changed_nothing(api: Api) -> None:
    gate = api.store.gates["add"] = asyncio.Event()
    first = asyncio.ensure_future(_answer(api.jobs.ScheduleJob(request("q", "t", job_id="a"))))
    await _called(api, "add")
    why = await refused(api.jobs.ScheduleJob(request("q", "t", job_id="b"), timeout=0.3))
    assert (why.code, why.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED")
    gate.set()
    await first
    await refused(api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="b")))


async def _answer(call: Any) -> Any:
    return await call


async def _called(api: Api, name: str) -> None:
    async def asked() -> bool:
        return name in api.store.arguments

    await until_async(asked, within=5)


async def test_a_read_that_is_too_slow_changed_nothing(api: Api) -> None:
    api.store.gates["get"] = asyncio.Event()
    why = await refused(api.jobs.GetJob(pb.GetJobRequest(job_id="a"), timeout=0.3))
    assert (why.code, why.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED")


async def test_a_call_without_a_deadline_gets_the_servers(api: Api) -> None:
    api.store.gates["figures"] = asyncio.Event()
    why = await refused(api.queues.GetQueueHealth(qpb.GetQueueHealthRequest()))
    assert why.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_caller_that_leaves_does_not_take_its_neighbours_jobs_along(api: Api) -> None:
    gate = api.store.gates["add"] = asyncio.Event()
    first = asyncio.ensure_future(_answer(api.jobs.ScheduleJob(request("q", "t"))))
    await _called(api, "add")
    leaving = api.jobs.ScheduleJob(request("q", "t", job_id="left"))
    staying = asyncio.ensure_future(_answer(api.jobs.ScheduleJob(request("q", "t", job_id="stays"))))
    await api.info.GetServerInfo(spb.GetServerInfoRequest())  # by now both have arrived
    leaving.cancel()
    gate.set()
    await first
    assert (await staying).job.job_id == "stays"


async def test_a_draining_server_refuses_new_calls_and_ends_watches(api: Api) -> None:
    gate = api.store.gates["get"] = asyncio.Event()
    under_way = asyncio.ensure_future(_code(api.jobs.GetJob(pb.GetJobRequest(job_id="a"))))
    await _called(api, "get")
    watch = api.jobs.WatchJobs(pb.WatchJobsRequest(queue="q"))
    await watch.initial_metadata()
    await api.server.drain()
    why = await refused(api.info.GetServerInfo(spb.GetServerInfoRequest()))
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watch.read()
    assert refusal(caught.value).reason == "DRAINING"
    stopped = asyncio.ensure_future(api.server.stop(timedelta(seconds=5)))
    gate.set()
    assert await under_way is grpc.StatusCode.NOT_FOUND
    await stopped
