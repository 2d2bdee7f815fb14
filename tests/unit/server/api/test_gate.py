"""What a request may cost: counted before it is read, held within a budget, and gone once it is refused."""

from __future__ import annotations

import asyncio
import gc
import gzip
import resource
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.spied_store import SpiedStore
from support.stubs import Refusal, refusal, request
from tocsin.v1 import (
    bulk_service_pb2,
    clock_service_pb2,
    externalscaler_pb2,
    queue_service_pb2,
    reminder_service_pb2,
    schedule_service_pb2,
    server_service_pb2,
    shared_limit_service_pb2,
    transfer_pb2,
    worker_service_pb2,
)
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api import bounds, reading, wire
from tocsin_server.api.reading import RequestBytes
from tocsin_server.domain.errors import TooManyBytes
from unit.server.api.running_api import Api, running_api

FILES = (
    pb,
    bulk_service_pb2,
    queue_service_pb2,
    reminder_service_pb2,
    clock_service_pb2,
    schedule_service_pb2,
    server_service_pb2,
    shared_limit_service_pb2,
    worker_service_pb2,
    externalscaler_pb2,
)
JOBS = "/tocsin.v1.JobService/"
ENTRIES = 8_300_000
#: Requests that a few kilobytes of gzip become: the method, and what it is sent.
HUGE = [
    ("BatchScheduleJobs", b"\x0a\x00" * ENTRIES),
    ("BatchScheduleJobs", b"\x0a\x03\x12\x01\xff" * 2_000_000),
    ("BatchCancelJobs", b"\x12\x00" * ENTRIES),
    ("ListJobs", b"\x12\x80\x80\x80\x04" + b"\x01" * (8 << 20)),
    ("ListJobs", b"\x1a\x01\xff" * 5_000_000),
    ("UpdateJob", b"\x2a" + b"\x80\x80\x80\x04" + b"\x0a\x00" * (4 << 20)),
    ("GetJob", b"\x7a\x00" * ENTRIES),
]


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Bytes of memory that it had at most, since that was forgotten."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


def fields(of: Descriptor, seen: set[str], inside_bytes: bool) -> Iterator[tuple[FieldDescriptor, bool]]:
    if of.full_name in seen:
        return
    seen.add(of.full_name)
    for field in of.fields:
        yield field, inside_bytes
        if field.message_type is not None and not wire.opaque(field):
            yield from fields(field.message_type, seen, inside_bytes or field.full_name in bounds.BYTES)


def test_each_repeated_field_of_a_request_has_a_bound() -> None:
    seen: set[str] = set()
    asked = [
        method.input_type for file in FILES for s in file.DESCRIPTOR.services_by_name.values() for method in s.methods
    ]
    asked += [pb.ScheduleJobRequest.DESCRIPTOR, transfer_pb2.TransferRecord.DESCRIPTOR]  # read by themselves
    repeated = [
        field.full_name
        for message in asked
        for field, inside_bytes in fields(message, seen, False)
        if field.is_repeated and not inside_bytes
    ]
    assert sorted(set(repeated) - set(bounds.ENTRIES)) == []
    assert sorted(set(bounds.ENTRIES) - set(repeated)) == []


@pytest.mark.parametrize(("method", "raw"), HUGE, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_request_with_millions_of_entries_is_refused_before_it_is_read(
    api: Api, method: str, raw: bytes
) -> None:
    raw = raw[: 16 << 20]
    gc.collect()
    before, began = resident(), time.process_time()
    forget_peak()
    why = await refused(api.channel.unary_unary(JOBS + method)(raw))
    took, grown = time.process_time() - began, peak() - before
    assert (why.code, why.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert why.fields
    assert not api.store.arguments
    # What comes and goes over the wire, and its few copies; not millions of objects.
    assert (took < 0.8, grown < 8 * len(raw)) == (True, True), f"{took:.2f} s, {grown >> 20} MiB"


async def test_other_calls_go_on_while_a_payload_of_a_quarter_million_values_is_looked_at(api: Api) -> None:
    data = struct_pb2.Struct()
    data["a"] = [None] * 260_000 + [float("nan")]
    item = request("q", "t")
    item.job.data.CopyFrom(data)
    batch = pb.BatchScheduleJobsRequest(requests=[item] * 8)
    asked = asyncio.ensure_future(_answer(api.jobs.BatchScheduleJobs(batch, timeout=60)))
    started, longest, health = time.monotonic(), 0.0, health_pb2_grpc.HealthStub(api.channel)
    while not asked.done():
        began = time.monotonic()
        await health.Check(health_pb2.HealthCheckRequest())
        longest = max(longest, time.monotonic() - began)
    whole = time.monotonic() - started
    results = asked.result().results
    assert [one.error.code for one in results] == [grpc.StatusCode.INVALID_ARGUMENT.value[0]] * 8
    assert longest < whole / 3, (longest, whole)


async def _answer(call: Any) -> Any:
    return await call


async def test_a_broken_item_harms_no_other(api: Api) -> None:
    good = request("q", "t", job_id="good").SerializeToString()
    raw = b"".join(b"\x0a" + bytes([len(one)]) + one for one in (b"\x12\x01\xff", good, b"\xff"))
    answer = await api.channel.unary_unary(JOBS + "BatchScheduleJobs")(raw)
    results = pb.BatchScheduleJobsResponse.FromString(answer).results
    assert [one.WhichOneof("result") for one in results] == ["error", "response", "error"]


async def test_compressed_requests_are_read(api: Api) -> None:
    async with grpc.aio.insecure_channel(api.address, compression=grpc.Compression.Gzip) as channel:
        big = request("q", "t", {"a": "x" * 200_000}, job_id="zipped").SerializeToString()
        await channel.unary_unary(JOBS + "ScheduleJob")(big)
    assert (await api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="zipped"))).job.spec.data["a"] == "x" * 200_000


@pytest.mark.parametrize("claims", [5, 17 << 20])
async def test_a_compressed_request_that_lies_about_its_size_is_refused(api: Api, claims: int) -> None:
    raw = gzip.compress(bytes(1000))[:-4] + claims.to_bytes(4, "little")
    why = await refused(api.channel.unary_unary(JOBS + "GetJob")(raw))
    assert why.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert why.fields == ["request"]


async def test_a_call_without_a_request_is_refused(api: Api) -> None:
    call = api.channel.stream_unary(JOBS + "GetJob")(iter(()))
    why = await refused(call)
    assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["request"])


async def test_requests_under_way_have_a_budget(spied: SpiedStore) -> None:
    async with running_api(spied, request_bytes=40 << 20) as api:
        gate = api.store.gates["get"] = asyncio.Event()
        raw = pb.GetJobRequest(job_id="a").SerializeToString()
        raw += b"\xfa\x7f" + _varint(15 << 20) + bytes(15 << 20)
        calls = [asyncio.ensure_future(_code(api.channel.unary_unary(JOBS + "GetJob")(raw))) for _ in range(3)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert [one.result() for one in done] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
        gate.set()
        codes = [await call for call in calls]
        assert sorted(code.name for code in codes) == ["NOT_FOUND", "NOT_FOUND", "RESOURCE_EXHAUSTED"]
        assert await _code(api.channel.unary_unary(JOBS + "GetJob")(raw)) is grpc.StatusCode.NOT_FOUND


async def _code(call: Any) -> grpc.StatusCode:
    return await call.code()


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def test_a_budget_is_given_back() -> None:
    budget = RequestBytes(100)
    with budget.held(60), pytest.raises(TooManyBytes) as caught, budget.held(41):
        raise AssertionError
    assert caught.value.retry_after == timedelta(seconds=1)
    with budget.held(100):
        pass


async def test_refused_requests_leave_nothing_behind(api: Api) -> None:
    many = b"\x0a\x00" * ((16 << 20) // 2)
    small = pb.GetJobRequest(job_id="none").SerializeToString()
    async with grpc.aio.insecure_channel(api.address, compression=grpc.Compression.Gzip) as channel:

        async def refusals(count: int) -> None:
            for _ in range(count):
                assert await _code(channel.unary_unary(JOBS + "BatchScheduleJobs")(many))
                assert await _code(channel.unary_unary(JOBS + "GetJob")(small))

        await refusals(10)
        gc.collect()
        gc.disable()
        try:
            before = resident()
            await refusals(30)
            grown = resident() - before
        finally:
            gc.enable()
    assert grown < 48 << 20, f"{grown >> 20} MiB"


@pytest.mark.parametrize("last", [20 << 20, 15 << 20])
async def test_memory_is_given_back_after_the_last_of_many_bytes_however_long_it_stays(
    monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    given_back: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(reading, "_GIVE_BACK_AFTER", 0.01)
    monkeypatch.setattr(reading, "_give_memory_back", lambda: loop.call_soon_threadsafe(given_back.put_nowait, None))
    many = RequestBytes(100 << 20)
    with many.held(20 << 20):
        pass
    with many.held(last):
        for _ in range(3):  # for the first one
            await asyncio.wait_for(given_back.get(), 5)
    await asyncio.wait_for(given_back.get(), 5)
