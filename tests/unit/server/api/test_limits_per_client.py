"""What one client may take up of calls, requests a second and bytes; the next client is served meanwhile, and health
anyhow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from support.eventually import until_async
from support.spied_store import SpiedStore
from support.stubs import refusal, request
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import server_service_pb2 as spb
from tocsin_server.api.interceptors.auth import Auth
from tocsin_server.security.authentication import Authentication
from tocsin_server.security.principals import ClientLimits, Principal, Principals, Scope, Token, hash_of
from unit.server.api.running_api import Api, running_api

AS_SET = ClientLimits()
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
TOKENS = {name: (("authorization", f"Bearer t-{name}"),) for name in ("shop", "bank")}


@asynccontextmanager
async def limited(spied: SpiedStore, own: ClientLimits = AS_SET, **limits: Any) -> AsyncIterator[Api]:
    """The API for two principals, from one address; `own` are limits of the bank alone."""
    known = [
        Principal(name, frozenset(Scope), tokens=(Token("abcdef", hash_of(f"t-{name}"), None),), limits=its)
        for name, its in zip(TOKENS, (ClientLimits(), own), strict=True)
    ]
    auth = Auth(Authentication(lambda: Principals.of(known)).principal)
    async with running_api(spied, auth=auth, **limits) as api:
        yield api


async def get(api: Api, who: str) -> grpc.StatusCode:
    call = api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="none"), metadata=TOKENS[who])
    return await call.code()


def wait_of(error: grpc.aio.AioRpcError) -> timedelta:
    """What RetryInfo says."""
    retry = error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    assert any(detail.Unpack(retry) for detail in status.details)
    return retry.retry_delay.ToTimedelta()


async def test_a_client_that_calls_too_often_is_told_when_there_is_room_and_others_are_served(
    spied: SpiedStore,
) -> None:
    async with limited(spied, per_second_per_client=2.0, burst_per_client=5) as api:
        codes = [await get(api, "shop") for _ in range(5)]
        assert codes == [grpc.StatusCode.NOT_FOUND] * 5
        with pytest.raises(grpc.aio.AioRpcError, match="2 calls a second") as caught:
            await asyncio.gather(*(api.jobs.ListJobs(pb.ListJobsRequest(), metadata=TOKENS["shop"]) for _ in range(50)))
        why, wait = refusal(caught.value), wait_of(caught.value)
        assert (why.code, why.reason) == (EXHAUSTED, "TOO_MANY_CALLS")
        assert "2 calls a second" in why.message
        assert timedelta(0) < wait <= timedelta(seconds=0.5)
        assert spied.calls["page"] < 10  # nothing was done for those
        assert await get(api, "bank") is grpc.StatusCode.NOT_FOUND
        health = health_pb2_grpc.HealthStub(api.channel)
        for _ in range(20):
            assert (
                await health.Check(health_pb2.HealthCheckRequest())
            ).status == health_pb2.HealthCheckResponse.SERVING

        async def again() -> bool:
            return await get(api, "shop") is grpc.StatusCode.NOT_FOUND

        await until_async(again, within=5)


async def test_a_principal_has_limits_of_its_own(spied: SpiedStore) -> None:
    found, exhausted = grpc.StatusCode.NOT_FOUND, EXHAUSTED
    # Where the settings have some, and where they have none.
    async with limited(
        spied, ClientLimits(per_second=1000, burst=4), per_second_per_client=0.001, burst_per_client=2
    ) as api:
        assert [await get(api, "bank") for _ in range(4)] == [found] * 4
        assert [await get(api, "shop") for _ in range(3)] == [found, found, exhausted]
    async with limited(spied, ClientLimits(per_second=1, burst=2)) as api:
        assert [await get(api, "bank") for _ in range(3)] == [found, found, exhausted]
        assert [await get(api, "shop") for _ in range(9)] == [found] * 9
    async with limited(spied, ClientLimits(open=1, request_bytes=1_000)) as api:
        spied.gates["get"] = asyncio.Event()
        begun = asyncio.create_task(spied.until_asked("get", 3))
        open_ = {who: [asyncio.create_task(get(api, who)) for _ in range(2)] for who in TOKENS}
        await asyncio.wait_for(begun, 10)
        spied.gates["get"].set()
        codes = {who: sorted([(await task).name for task in tasks]) for who, tasks in open_.items()}
        assert codes == {"shop": ["NOT_FOUND"] * 2, "bank": ["NOT_FOUND", "RESOURCE_EXHAUSTED"]}
        large = request("q", "t", {"x": "y" * 2_000}, delay=60)
        assert await api.jobs.ScheduleJob(large, metadata=TOKENS["shop"]).code() is grpc.StatusCode.OK
        assert await api.jobs.ScheduleJob(large, metadata=TOKENS["bank"]).code() is EXHAUSTED


@pytest.mark.parametrize(("own", "open_"), [(ClientLimits(), 2), (ClientLimits(watches=1), 1)])
async def test_a_principal_has_so_many_watches(spied: SpiedStore, own: ClientLimits, open_: int) -> None:
    async with limited(spied, own, watches=10, watches_per_client=2) as api:
        watches = []
        for _ in range(3):
            watches.append(api.jobs.WatchJobs(pb.WatchJobsRequest(queue="q"), metadata=TOKENS["bank"]))
            await watches[-1].initial_metadata()
        assert [await watch.code() for watch in watches[open_:]] == [EXHAUSTED] * (3 - open_)
        for watch in watches:
            watch.cancel()


async def test_who_is_exempt_calls_as_often_as_it_likes(spied: SpiedStore) -> None:
    limits = {"per_second_per_client": 0.001, "burst_per_client": 1, "calls_per_client": 1}
    async with limited(spied, **limits, exempt=frozenset({"bank"})) as api:
        assert [await get(api, "bank") for _ in range(10)] == [grpc.StatusCode.NOT_FOUND] * 10
        assert [await get(api, "shop") for _ in range(3)] == [grpc.StatusCode.NOT_FOUND, EXHAUSTED, EXHAUSTED]


async def test_who_has_no_name_is_known_by_the_address(spied: SpiedStore) -> None:
    limits = {"per_second_per_client": 0.001, "burst_per_client": 1}
    for exempt, last in ((frozenset[str](), EXHAUSTED), (frozenset({"127.0.0.1"}), grpc.StatusCode.NOT_FOUND)):
        async with running_api(spied, **limits, exempt=exempt) as api:
            codes = [await api.jobs.GetJob(pb.GetJobRequest(job_id="none")).code() for _ in range(2)]
            assert codes == [grpc.StatusCode.NOT_FOUND, last]


async def test_a_client_has_so_many_calls_open(spied: SpiedStore) -> None:
    async with limited(spied, calls_per_client=3) as api:
        spied.gates["get"] = asyncio.Event()
        open_ = [asyncio.create_task(get(api, "shop")) for _ in range(5)]
        done, _ = await asyncio.wait(open_, timeout=2, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in done} == {EXHAUSTED}
        other = asyncio.create_task(get(api, "bank"))
        await until_async(lambda: _true(len([task for task in open_ if task.done()]) == 2), within=2)
        spied.gates["get"].set()
        assert await other is grpc.StatusCode.NOT_FOUND
        codes = await asyncio.gather(*open_)
        assert sorted(code.name for code in codes) == ["NOT_FOUND"] * 3 + ["RESOURCE_EXHAUSTED"] * 2
        assert await get(api, "shop") is grpc.StatusCode.NOT_FOUND


async def _true(value: bool) -> bool:
    return value


async def test_a_client_has_so_many_bytes_under_way(spied: SpiedStore) -> None:
    async with limited(spied, request_bytes_per_client=3_000) as api:
        spied.gates["add"] = asyncio.Event()
        large = request("q", "t", {"x": "y" * 2_000}, job_id="a", delay=60)
        sent = asyncio.create_task(spied.until_asked("add", 1))
        first = asyncio.ensure_future(api.jobs.ScheduleJob(large, metadata=TOKENS["shop"], timeout=20).code())
        await asyncio.wait_for(sent, 10)
        large.job_id = "b"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.jobs.ScheduleJob(large, metadata=TOKENS["shop"])
        assert refusal(caught.value).code is EXHAUSTED
        assert "3,000 bytes that one client may have" in refusal(caught.value).message
        assert wait_of(caught.value) > timedelta(0)
        second = asyncio.ensure_future(api.jobs.ScheduleJob(large, metadata=TOKENS["bank"], timeout=20).code())
        spied.gates["add"].set()
        assert await first is await second is grpc.StatusCode.OK


async def test_the_limits_in_force_are_told(spied: SpiedStore) -> None:
    async with running_api(spied) as api:
        told = (await api.info.GetServerInfo(spb.GetServerInfoRequest())).limits
    assert (told.client_calls_per_second, told.client_open_calls, told.client_request_bytes) == (0, 0, 0)
    assert (told.client_burst, told.client_watches, told.client_workers, told.client_transfers) == (100, 500, 0, 8)
