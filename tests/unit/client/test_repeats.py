"""A call is repeated where that cannot act twice, and within its deadline; else never."""

from __future__ import annotations

import asyncio
import itertools
import time

import grpc
import pytest
from support.ports import free_port
from tocsin import AsyncClient, DeadlineExceeded, ResourceExhausted, ServerError, Unavailable
from tocsin._repeats import Waits
from unit.client.canned_server import AWAY, UNKNOWN_OUTCOME, CannedJobService, a_job, refusal, serving

TOO_MANY = refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", retry_after=0.01)
CUT_OFF = refusal(grpc.StatusCode.CANCELLED)
DRAINING = refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING")


@pytest.mark.parametrize("status", [AWAY, DRAINING, TOO_MANY], ids=["away", "draining", "too many"])
async def test_what_did_not_act_is_repeated_whatever_it_is(
    status: object, client: AsyncClient, service: CannedJobService
) -> None:
    service.failing = iter([status, status])  # type: ignore[list-item]  # parametrized
    assert (await client.schedule("x")).job_id == ""
    assert len(service.asked("ScheduleJob")) == 3


async def test_a_read_is_repeated_after_an_unknown_outcome(client: AsyncClient, service: CannedJobService) -> None:
    service.jobs["a"] = a_job()
    service.failing = iter([UNKNOWN_OUTCOME])
    assert (await client.get("a")).job_id == "a"


async def test_a_schedule_with_an_id_and_keep_is_repeated_after_an_unknown_outcome(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.failing = iter([UNKNOWN_OUTCOME, refusal(grpc.StatusCode.UNAVAILABLE)])
    await client.schedule("x", job_id="a", on_conflict="KEEP")
    assert [request.job_id for request in service.asked("ScheduleJob")] == ["a"] * 3


async def test_a_call_that_a_flooded_server_cut_off_is_repeated_where_it_cannot_act_twice(
    client: AsyncClient, service: CannedJobService
) -> None:
    """As gRPC's core does it: CANCELLED, without details, and the caller had not asked for it."""
    service.jobs["a"] = a_job()
    service.failing = iter([CUT_OFF, CUT_OFF])
    assert (await client.get("a")).job_id == "a"
    assert len(service.asked("GetJob")) == 3
    service.failing = iter([CUT_OFF])
    await client.schedule("x", job_id="a", on_conflict="KEEP")
    assert len(service.asked("ScheduleJob")) == 2
    service.failing = iter([CUT_OFF])
    with pytest.raises(ServerError, match="CANCELLED"):
        await client.schedule("x")
    assert len(service.asked("ScheduleJob")) == 3


async def test_a_call_that_its_caller_cancels_is_not_repeated(client: AsyncClient, service: CannedJobService) -> None:
    service.gate.clear()
    call = asyncio.create_task(client.schedule("x", job_id="a", on_conflict="KEEP"))
    await service.arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    service.gate.set()
    assert (await client.schedule("y")).job_id == ""
    assert [request.job.type for request in service.asked("ScheduleJob")] == ["x", "y"]


async def test_what_might_act_twice_is_not_repeated(client: AsyncClient, service: CannedJobService) -> None:
    service.failing = iter([UNKNOWN_OUTCOME] * 3)
    for call in (client.schedule("x"), client.schedule("x", job_id="a"), client.run("a")):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.outcome_unknown
    assert len(service.calls) == 3


async def test_a_refusal_for_good_is_not_repeated(client: AsyncClient, service: CannedJobService) -> None:
    service.failing = iter([refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL")])
    with pytest.raises(ResourceExhausted):
        await client.get("a")
    assert len(service.calls) == 1


async def test_repeats_end_with_the_deadline_and_the_last_error(client: AsyncClient, service: CannedJobService) -> None:
    service.failing = itertools.repeat(AWAY)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="STORE_AWAY"):
        await client.get("a", deadline=0.5)
    assert time.monotonic() - begun < 2
    assert len(service.calls) > 1


async def test_a_wait_that_the_server_asks_for_beyond_the_deadline_is_not_waited(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.failing = itertools.repeat(refusal(grpc.StatusCode.UNAVAILABLE, "STORE_AWAY", retry_after=0.9))
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        await client.get("a", deadline=0.8)
    assert time.monotonic() - begun < 0.5
    assert len(service.calls) == 1


async def test_with_retries_off_each_call_is_made_once(address: str, service: CannedJobService) -> None:
    service.failing = iter([AWAY])
    async with AsyncClient(address, retries=False) as client:
        with pytest.raises(Unavailable):
            await client.get("a")
    assert len(service.calls) == 1


async def test_an_answer_that_does_not_come_ends_with_the_deadline(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.gate.clear()
    with pytest.raises(DeadlineExceeded) as caught:
        await client.schedule("x", deadline=0.2)
    assert caught.value.outcome_unknown


async def test_a_server_that_is_not_there_is_told_as_such_and_nothing_was_sent() -> None:
    async with AsyncClient(f"127.0.0.1:{free_port()}") as client:
        with pytest.raises(Unavailable) as caught:
            await client.schedule("x", deadline=0.3)
    assert (caught.value.never_sent, caught.value.outcome_unknown) == (True, False)


async def test_a_server_that_comes_within_the_deadline_is_found() -> None:
    port = free_port()
    service = CannedJobService()
    async with AsyncClient(f"127.0.0.1:{port}", retries=False) as client:
        with pytest.raises(Unavailable):
            await client.schedule("x")
        client._connection.retries = True
        async with serving(service, f"127.0.0.1:{port}"):
            await client.schedule("x", deadline=10)
    assert len(service.asked("ScheduleJob")) == 1


def test_waits_grow_to_three_seconds_and_start_anew() -> None:
    between = Waits()
    error = Unavailable("away")
    waits = [between.next_wait(error) for _ in range(30)]
    assert 0.025 <= waits[0] <= 0.05
    assert all(1.5 <= wait <= 3 for wait in waits[10:])
    between.reset()
    assert between.next_wait(error) <= 0.05
