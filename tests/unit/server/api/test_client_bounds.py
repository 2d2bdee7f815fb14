"""One client, known by its address, holds no more than its share of watches and transfers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from support.eventually import until_async
from support.spied_store import SpiedStore
from support.stubs import refusal
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import server_service_pb2 as spb
from unit.server.api.running_api import Api, running_api

IMPORT = "/tocsin.v1.JobService/ImportJobs"


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    async with running_api(spied, watches=10, watches_per_client=2, transfers=10, transfers_per_client=2) as api:
        yield api


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


def watch(api: Api) -> Any:
    return api.jobs.WatchJobs(pb.WatchJobsRequest(queue="q"))


def transfer(api: Api) -> Any:
    return api.channel.stream_stream(IMPORT)(never())


@pytest.mark.parametrize("begin", [watch, transfer])
async def test_a_client_has_its_share_and_gets_a_place_back_when_it_ends_one(
    api: Api, begin: Callable[[Api], Any]
) -> None:
    calls = [begin(api) for _ in range(3)]
    done, _ = await asyncio.wait(
        [asyncio.ensure_future(call.code()) for call in calls], timeout=5, return_when="FIRST_COMPLETED"
    )
    assert [one.result() for one in done] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    [refused] = [call for call in calls if call.done()]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await refused.read()
    why = refusal(caught.value)
    assert (why.reason, "2 " in why.message, "of this client are open, the limit of one" in why.message) == (
        "TOO_MANY_CALLS",
        True,
        True,
    )
    await api.info.GetServerInfo(spb.GetServerInfoRequest())
    open_ = [call for call in calls if call is not refused]
    for call in open_:
        call.cancel()

    async def admitted() -> bool:
        again = begin(api)
        open_.append(again)
        await asyncio.wait([asyncio.ensure_future(again.code())], timeout=0.3)
        return not again.done()

    await until_async(admitted, within=5)
    for call in open_:
        call.cancel()
