"""schedule() calls made at the same time travel together, cancel() calls too, and harm each other in nothing."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.rpc import status_pb2
from support.eventually import until_async
from tocsin import AlreadyExists, AsyncClient, Client, DeadlineExceeded, InvalidArgument, Job, NotFound, Unavailable
from tocsin._gathering import LANES, MAX_ITEMS, Gathering
from tocsin.v1 import job_service_pb2 as pb
from unit.client.canned_server import UNKNOWN_OUTCOME, CannedJobService, a_job, refusal

EXISTS = refusal(grpc.StatusCode.ALREADY_EXISTS, "JOB_EXISTS", metadata={"state": "WAITING"})
INVALID = refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", violations={"job.type": "is odd"})


async def hold_all_lanes(client: AsyncClient, service: CannedJobService) -> list[asyncio.Task[Job]]:
    """Lone calls that the server holds back until its gate opens, as many as may be under way."""
    service.gate.clear()
    held = []
    for number in range(LANES):
        service.arrived.clear()
        held.append(asyncio.create_task(client.schedule("x", job_id=f"held-{number}")))
        await service.arrived.wait()
    return held


async def test_a_lone_call_is_a_call_of_its_own(client: AsyncClient, service: CannedJobService) -> None:
    for number in range(3):
        assert (await client.schedule("x", job_id=str(number))).job_id == str(number)
    assert [name for name, _ in service.calls] == ["ScheduleJob"] * 3


async def test_calls_made_in_one_turn_travel_in_one_batch_each_with_its_own_job(
    client: AsyncClient, service: CannedJobService
) -> None:
    jobs = await asyncio.gather(*(client.schedule("x", job_id=str(number)) for number in range(64)))
    assert [job.job_id for job in jobs] == [str(number) for number in range(64)]
    assert [name for name, _ in service.calls] == ["BatchScheduleJobs"]


async def test_calls_made_while_all_lanes_are_taken_travel_together_next(
    client: AsyncClient, service: CannedJobService
) -> None:
    held = await hold_all_lanes(client, service)
    later = []
    for number in range(50):
        later.append(asyncio.create_task(client.schedule("x", job_id=str(number))))
        await asyncio.sleep(0)  # each in a turn of its own
    service.gate.set()
    await asyncio.gather(*held, *later)
    assert [name for name, _ in service.calls] == ["ScheduleJob"] * LANES + ["BatchScheduleJobs"]
    [batch] = service.asked("BatchScheduleJobs")
    assert [request.job_id for request in batch.requests] == [str(number) for number in range(50)]


async def test_refusals_in_a_batch_reach_their_own_callers_only(client: AsyncClient, service: CannedJobService) -> None:
    def refuse(request: pb.ScheduleJobRequest) -> status_pb2.Status | None:
        return {"2": EXISTS, "3": INVALID}.get(request.job_id)

    service.refuse = refuse
    calls = (client.schedule("x", job_id=str(number)) for number in range(5))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Job, Job, AlreadyExists, InvalidArgument, Job]
    assert len(service.calls) == 1


async def test_a_batch_that_fails_fails_each_of_its_callers_with_an_error_of_its_own(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.failing = iter([UNKNOWN_OUTCOME])
    answers = await asyncio.gather(*(client.schedule("x") for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert len({id(answer) for answer in answers}) == 3
    assert len(service.calls) == 1


async def test_of_a_failed_batch_those_who_may_repeat_do_so(client: AsyncClient, service: CannedJobService) -> None:
    service.failing = iter([UNKNOWN_OUTCOME])
    kept, created = await asyncio.gather(
        client.schedule("x", job_id="kept", on_conflict="KEEP"),
        client.schedule("x", job_id="created"),
        return_exceptions=True,
    )
    assert isinstance(kept, Job)
    assert isinstance(created, Unavailable)
    assert [request.job_id for request in service.asked("ScheduleJob")] == ["kept"]


async def test_a_caller_who_leaves_before_departure_is_not_sent_and_harms_nobody(
    client: AsyncClient, service: CannedJobService
) -> None:
    held = await hold_all_lanes(client, service)
    waiting = [asyncio.create_task(client.schedule("x", job_id=str(number))) for number in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    service.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Job, asyncio.CancelledError, Job]
    [batch] = service.asked("BatchScheduleJobs")
    assert [request.job_id for request in batch.requests] == ["0", "2"]
    await asyncio.gather(*held)


async def test_a_caller_who_leaves_under_way_harms_nobody(client: AsyncClient, service: CannedJobService) -> None:
    service.gate.clear()
    calls = [asyncio.create_task(client.schedule("x", job_id=str(number))) for number in range(3)]
    await service.arrived.wait()
    calls[1].cancel()
    service.gate.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Job, asyncio.CancelledError, Job]


async def test_each_caller_has_its_own_deadline(client: AsyncClient, service: CannedJobService) -> None:
    service.gate.clear()
    hasty = asyncio.create_task(client.schedule("x", job_id="hasty", deadline=0.1))
    patient = asyncio.create_task(client.schedule("x", job_id="patient"))
    with pytest.raises(DeadlineExceeded):
        await hasty
    service.gate.set()
    assert (await patient).job_id == "patient"


async def test_one_who_was_never_sent_is_told_so_at_its_deadline(
    client: AsyncClient, service: CannedJobService
) -> None:
    held = await hold_all_lanes(client, service)
    with pytest.raises(DeadlineExceeded) as caught:
        await client.schedule("x", deadline=0.05)
    assert not caught.value.outcome_unknown
    service.gate.set()
    await asyncio.gather(*held)


async def test_a_batch_is_bounded_in_items_and_bytes() -> None:
    batches: list[list[int]] = []

    async def send_many(requests: object, seconds: float) -> list[Job]:
        assert isinstance(requests, list)
        batches.append([request.ByteSize() for request in requests])
        return [Job(a_job())] * len(requests)

    async def send_one(request: pb.ScheduleJobRequest, seconds: float) -> Job:
        batches.append([request.ByteSize()])
        return Job(a_job())

    gathering = Gathering(send_one, send_many, lambda _: None, lanes=1)
    small = [pb.ScheduleJobRequest(job_id="a") for _ in range(2500)]
    large = [pb.ScheduleJobRequest() for _ in range(20)]
    for request in large:
        request.job.raw.body = bytes(1_000_000)
    await asyncio.gather(*(gathering.send(request, 10) for request in small + large))
    assert [len(sizes) for sizes in batches] == [MAX_ITEMS, MAX_ITEMS, 508, 8, 4]
    assert max(sum(sizes) for sizes in batches) <= 8 * 1024 * 1024


async def test_cancels_of_one_queue_reason_and_grace_travel_together(
    client: AsyncClient, service: CannedJobService
) -> None:
    service.missing = {"gone"}
    calls = [client.cancel(job_id, queue="q", reason="late", grace=3) for job_id in ("a", "gone", "a")]
    others = [client.cancel("b", queue="q"), client.cancel("c"), client.cancel("d"), client.cancel("e", grace=3)]
    answers = await asyncio.gather(*calls, *others, return_exceptions=True)
    told = [answer.job_id if isinstance(answer, Job) else type(answer) for answer in answers]
    assert told == ["a", NotFound, "a", "b", "c", "d", "e"]
    assert {request.job_id for request in service.asked("CancelJob")} == {"b", "e"}
    two, one = sorted(service.asked("BatchCancelJobs"), key=lambda batch: len(batch.job_ids))
    assert (one.queue, one.reason, one.grace.seconds, list(one.job_ids)) == ("q", "late", 3, ["a", "gone", "a"])
    assert (two.queue, two.HasField("grace"), list(two.job_ids)) == ("", False, ["c", "d"])


async def test_no_kind_waits_for_all_of_another() -> None:
    order: list[tuple[str, int]] = []

    async def send_many(requests: object, seconds: float) -> list[Job]:
        assert isinstance(requests, list)
        order.append((requests[0].queue, len(requests)))
        return [Job(a_job())] * len(requests)

    async def send_one(request: pb.CancelJobRequest, seconds: float) -> Job:
        order.append((request.queue, 1))
        return Job(a_job())

    gathering = Gathering(send_one, send_many, lambda request: request.queue, lanes=1)
    many = [pb.CancelJobRequest(queue="many", job_id="a")] * 2500
    lone = pb.CancelJobRequest(queue="lone", job_id="a")
    await asyncio.gather(*(gathering.send(request, 10) for request in [*many, lone]))
    assert order == [("many", 1000), ("lone", 1), ("many", 1000), ("many", 500)]


async def test_closing_waits_for_what_is_under_way(address: str, service: CannedJobService) -> None:
    client = AsyncClient(address)
    service.gate.clear()
    calls = [asyncio.create_task(client.schedule("x", job_id=str(number))) for number in range(3)]
    await service.arrived.wait()
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    service.gate.set()
    await closing
    assert [job.job_id for job in await asyncio.gather(*calls)] == ["0", "1", "2"]


async def test_threads_that_share_a_blocking_client_travel_together(address: str, service: CannedJobService) -> None:
    service.gate.clear()
    with Client(address) as client, ThreadPoolExecutor(20) as threads:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(threads, client.schedule, "x", {"number": number}) for number in range(20)]

        async def all_asked() -> bool:
            sent = len(service.asked("ScheduleJob")) + sum(len(b.requests) for b in service.asked("BatchScheduleJobs"))
            gathered = client._connection._gathered
            return gathered is not None and sent + len(gathered.schedules._waiting.get(None, ())) == 20

        await until_async(all_asked, within=10)
        service.gate.set()
        jobs = await asyncio.gather(*calls)
    assert [job.message.spec.data["number"] for job in jobs] == list(range(20))
    assert len(service.calls) <= LANES + 1
