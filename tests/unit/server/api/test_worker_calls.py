"""LeaseJobs, ReportOutcomes and ExtendLeases do what their protos say, over a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import structlog
from support.eventually import until_async
from support.spied_store import SpiedStore
from support.stubs import Refusal, refusal, refusal_in, request
from support.worker_messages import (
    ME,
    completed,
    extend,
    failed,
    poll,
    progress,
    released,
    report,
)
from tocsin.v1 import job_pb2, queue_service_pb2
from tocsin.v1 import job_service_pb2 as jpb
from tocsin.v1 import worker_service_pb2 as pb
from tocsin_server.api.lease_tokens import read_token, token_of
from tocsin_server.domain import limits
from tocsin_server.domain.lease import Lease
from unit.server.api.running_api import Api, running_api

State = job_pb2.Job.State


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    async with running_api(spied, leasing=True) as api:
        yield api


async def add(api: Api, count: int = 1, type_: str = "t", queue: str = "q", **more: object) -> list[str]:
    return [(await api.jobs.ScheduleJob(request(queue, type_, {"n": 1}, **more))).job.job_id for _ in range(count)]


async def job(api: Api, job_id: str, queue: str = "q") -> job_pb2.Job:
    return (await api.jobs.GetJob(jpb.GetJobRequest(queue=queue, job_id=job_id))).job


async def leased(api: Api, *args: object, **words: object) -> list[pb.LeasedJob]:
    return list((await api.workers.LeaseJobs(poll(*args, **words))).jobs)


async def refused(call: grpc.aio.UnaryUnaryCall) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def waits_for_jobs(api: Api, count: int = 1) -> None:
    async def so_many() -> bool:
        listed = await api.workers.ListWorkers(pb.ListWorkersRequest())
        return sum(one.free for one in listed.workers) >= count

    await until_async(so_many, within=5)


# --- leasing ---


async def test_what_is_due_is_leased_with_its_payload(api: Api) -> None:
    [job_id] = await add(api)
    [one] = await leased(api)
    assert (one.job.job_id, one.job.state, one.job.attempt) == (job_id, State.ACTIVE, 1)
    assert one.job.spec.data["n"] == 1
    assert one.lease.ToTimedelta() == timedelta(seconds=30)
    assert one.lease_end.ToDatetime() == one.job.start_time.ToDatetime() + timedelta(seconds=30)
    assert len(one.token) <= 1 << 10


async def test_a_poll_waits_for_the_first_job_and_takes_no_more_than_it_asked_for(api: Api) -> None:
    waiting = asyncio.ensure_future(leased(api, most=2))
    await waits_for_jobs(api, 2)
    await add(api)
    assert len(await waiting) == 1
    await add(api, 3)
    assert len(await leased(api, most=2)) == 2


async def test_a_poll_ends_empty_when_its_time_is_over(api: Api) -> None:
    await add(api, type_="another")
    assert await leased(api, wait=0) == []
    assert await leased(api, wait=0.05) == []


async def test_a_job_that_came_between_two_polls_is_given_to_the_next(api: Api) -> None:
    assert await leased(api, wait=0.05) == []
    [job_id] = await add(api)
    [one] = await leased(api, wait=0.5)
    assert one.job.job_id == job_id


async def test_a_job_whose_message_was_lost_is_found_within_a_tick(api: Api) -> None:
    await leased(api, wait=0.05)
    api.store.deaf = True
    waiting = asyncio.ensure_future(leased(api, wait=10))
    await waits_for_jobs(api, 10)
    began = asyncio.get_running_loop().time()
    await add(api)
    assert len(await waiting) == 1
    assert asyncio.get_running_loop().time() - began < 3


async def test_its_deadline_ends_a_poll_before_its_wait_does(api: Api) -> None:
    answer = await api.workers.LeaseJobs(poll(wait=60), timeout=0.5)
    assert list(answer.jobs) == []


@pytest.mark.parametrize("wait", [0, 10])
async def test_jobs_of_all_queues_are_leased(api: Api, wait: float) -> None:
    await add(api, queue="some-queue")
    [one] = await leased(api, "", wait=wait)
    assert one.job.queue == "some-queue"


async def test_a_poll_that_is_cancelled_gives_back_what_came_for_it(api: Api) -> None:
    gate = api.store.gates["claim"] = asyncio.Event()
    asked = asyncio.ensure_future(api.store.until_asked("claim", 1))
    [job_id] = await add(api)
    call = api.workers.LeaseJobs(poll())
    answer = asyncio.ensure_future(call.code())
    await asked

    async def left() -> bool:
        return any(line.get("method", "").endswith("/LeaseJobs") for line in lines)

    with structlog.testing.capture_logs() as lines:
        call.cancel()
        assert await answer is grpc.StatusCode.CANCELLED
        # The server hears of it a little later; a claim that has answered by then goes out.
        await until_async(left, within=5)
    gate.set()

    async def given_back() -> bool:
        now = await job(api, job_id)
        return now.state == State.WAITING and now.attempt == 1

    await until_async(given_back, within=5)
    now = await job(api, job_id)
    assert (now.failures, now.crashes, list(now.errors)) == (0, 0, [])
    [again] = await leased(api)
    assert again.job.attempt == 2


async def test_a_request_said_again_leases_the_same_jobs_and_no_others(api: Api) -> None:
    await add(api, 3)
    first = await leased(api, most=2, request_id="wish-1")
    assert len(first) == 2
    again = await leased(api, most=2, request_id="wish-1")
    assert [one.token for one in again] == [one.token for one in first]
    [other] = await leased(api, most=2, request_id="wish-2")
    assert other.token not in {one.token for one in first}


async def test_another_server_knows_a_request_too(api: Api, spied: SpiedStore) -> None:
    await add(api, 2)
    first = await leased(api, most=1, request_id="wish-1")
    async with running_api(spied, leasing=True, name="tests-2") as other:
        again = await leased(other, most=1, request_id="wish-1")
    assert [one.token for one in again] == [one.token for one in first]


async def test_a_named_request_waits_for_its_jobs(api: Api) -> None:
    waiting = asyncio.ensure_future(leased(api, request_id="wish-1"))
    await waits_for_jobs(api)
    [job_id] = await add(api)
    [one] = await waiting
    assert one.job.job_id == job_id


async def test_a_store_that_is_away_is_said_within_the_wait(api: Api) -> None:
    api.store.away |= {"claim", "count_queues", "queues", "ticks"}
    why = await refused(api.workers.LeaseJobs(poll(wait=0)))
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_AWAY")


async def test_what_is_wrong_with_a_poll_is_named(api: Api) -> None:
    ask = pb.LeaseAsk(queue="no good", types=["t"], max_jobs=1)
    twice = pb.LeaseAsk(queue="q", max_jobs=2_000, types=["x y"])
    wrong = pb.LeaseJobsRequest(asks=[ask, twice, twice], lease={"seconds": 1}, wait={"seconds": 61})
    why = await refused(api.workers.LeaseJobs(wrong))
    assert why.code is grpc.StatusCode.INVALID_ARGUMENT
    assert why.fields == [
        "worker.name",
        "asks[0].queue",
        "asks[1].types[0]",
        "asks[2]",
        "asks[2].types[0]",
        "asks[1].max_jobs",
        "asks[2].max_jobs",
        "lease",
        "wait",
    ]


async def test_draining_ends_polls(api: Api) -> None:
    waiting = api.workers.LeaseJobs(poll())
    await waits_for_jobs(api)
    await api.server.drain()
    why = await refused(waiting)
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_a_type_held_to_a_version_is_not_given_to_a_worker_below_it(api: Api) -> None:
    queue = queue_service_pb2.UpdateQueueRequest()
    queue.queue.queue = "q"
    queue.queue.type_defaults["t"].min_worker_version = "1.10"
    await api.queues.UpdateQueue(queue)
    [job_id] = await add(api)
    assert await leased(api, wait=0) == []
    waiting = asyncio.ensure_future(leased(api))
    await waits_for_jobs(api)
    health = await api.queues.GetQueueHealth(queue_service_pb2.GetQueueHealthRequest(queue="q"))
    assert list(health.unserved_types) == ["t"]
    newer = pb.Worker(name="w2", version="1.11")
    [one] = await leased(api, worker=newer)
    assert one.job.job_id == job_id
    queue.queue.type_defaults["t"].min_worker_version = "1.2"
    await api.queues.UpdateQueue(queue)
    await add(api)
    assert len(await waiting) == 1


# --- outcomes ---


async def test_outcomes_are_recorded_each_by_itself(api: Api) -> None:
    await add(api, 4)
    a, b, c, d = await leased(api)
    stranger = token_of(Lease("q", "no-such", 1, b"x" * 14), "t")
    answer = await api.workers.ReportOutcomes(
        report(
            completed(a.token, "fine"),
            failed(b.token),
            released(c.token),
            failed(d.token, final=True),
            completed(stranger),
            completed(b"?"),
            pb.Outcome(token=a.token),
        )
    )
    states = [one.state for one in answer.results]
    assert states == [State.COMPLETED, State.SCHEDULED, State.WAITING, State.FAILED, 0, 0, 0]
    reasons = [refusal_in(one.error).reason if one.HasField("error") else "" for one in answer.results]
    assert reasons == ["", "", "", "", "LEASE_LOST", "INVALID_FIELD", "INVALID_FIELD"]
    assert answer.results[4].error.code == grpc.StatusCode.ABORTED.value[0]
    assert refusal_in(answer.results[5].error).fields == ["token"]
    assert refusal_in(answer.results[6].error).fields == ["outcome"]
    done = await job(api, a.job.job_id)
    assert done.result.raw.body == b"fine"
    assert (await job(api, b.job.job_id)).errors[0].message == "planted"


async def test_the_same_outcome_again_is_ok_and_another_one_is_not(api: Api) -> None:
    await add(api, 2)
    a, b = await leased(api)
    for _ in range(2):
        answer = await api.workers.ReportOutcomes(report(completed(a.token), failed(b.token, final=True)))
        assert [one.state for one in answer.results] == [State.COMPLETED, State.FAILED]
    answer = await api.workers.ReportOutcomes(report(failed(a.token), completed(b.token)))
    assert [refusal_in(one.error).reason for one in answer.results] == ["LEASE_LOST"] * 2
    assert [one.error.code for one in answer.results] == [grpc.StatusCode.ABORTED.value[0]] * 2
    assert "another way" in answer.results[0].error.message
    assert (await job(api, b.job.job_id)).failures == 1


async def test_a_failure_says_when_to_try_again_within_what_the_policy_gives(api: Api) -> None:
    retry = job_pb2.RetryPolicy(max_attempts=2)
    [job_id] = await add(api, retry=retry)
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    [one] = await leased(api)
    outcome = failed(one.token)
    outcome.failed.retry_at.FromDatetime(later)
    await api.workers.ReportOutcomes(report(outcome))
    due = (await job(api, job_id)).schedule_time.ToDatetime(UTC)
    assert abs(due - later) < timedelta(seconds=1)
    await api.jobs.RunJob(jpb.RunJobRequest(queue="q", job_id=job_id))
    [one] = await leased(api)
    outcome.token = one.token
    [result] = (await api.workers.ReportOutcomes(report(outcome))).results
    assert result.state == State.FAILED
    outcome.failed.final = True
    [result] = (await api.workers.ReportOutcomes(report(outcome))).results
    assert refusal_in(result.error).fields == ["failed.retry_at"]


async def test_outcomes_of_many_calls_go_to_the_store_together(api: Api) -> None:
    await add(api, 20)
    jobs = await leased(api, most=20)
    api.store.gates["finish"] = asyncio.Event()
    calls = [api.workers.ReportOutcomes(report(completed(one.token))) for one in jobs]
    await asyncio.wait_for(api.store.until_asked("finish", 1), 5)
    api.store.gates["finish"].set()
    for call in calls:
        assert [one.state for one in (await call).results] == [State.COMPLETED]
    assert api.store.calls["finish"] < 20


async def test_a_store_that_is_away_refuses_outcomes_at_once(api: Api) -> None:
    await add(api)
    [one] = await leased(api)
    api.store.away.add("finish")
    why = await refused(api.workers.ReportOutcomes(report(completed(one.token))))
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_AWAY")
    api.store.away.clear()
    api.store.lose["finish"] = 1
    why = await refused(api.workers.ReportOutcomes(report(completed(one.token))))
    assert why.reason == "OUTCOME_UNKNOWN"
    [result] = (await api.workers.ReportOutcomes(report(completed(one.token)))).results
    assert result.state == State.COMPLETED


async def test_a_result_that_is_none_and_one_too_large(api: Api) -> None:
    await add(api, 2)
    a, b = await leased(api)
    broken = report(completed(a.token)).SerializeToString()
    # outcomes[0].completed.result is bytes that are no message
    token, bad = a.token, b"\x0a\x03\x0a\x01\xff"
    outcome = b"\x0a" + bytes([len(token)]) + token + b"\x12" + bytes([len(bad)]) + bad
    worker = broken[: 2 + broken[1]]
    raw = await api.channel.unary_unary("/tocsin.v1.WorkerService/ReportOutcomes")(
        worker + b"\x12" + bytes([len(outcome)]) + outcome
    )
    [result] = pb.ReportOutcomesResponse.FromString(raw).results
    assert refusal_in(result.error).fields == ["completed.result"]
    [result] = (await api.workers.ReportOutcomes(report(completed(b.token, "x" * limits.RESULT_BYTES)))).results
    assert result.state == State.FAILED
    assert (await job(api, b.job.job_id)).errors[0].type == "RESULT_TOO_LARGE"


# --- leases ---


async def test_leases_are_extended_with_progress_and_lines(api: Api) -> None:
    await add(api)
    [one] = await leased(api)
    line = pb.LogLine(level=pb.LogLine.WARNING, text="slow disk")
    [result] = (
        await api.workers.ExtendLeases(extend(one.token, lease=60, progress=progress(0.5, "half"), log=[line]))
    ).results
    assert result.lease_end.ToDatetime() - one.job.start_time.ToDatetime() >= timedelta(seconds=60)
    now = await job(api, one.job.job_id)
    assert (now.progress.fraction, now.progress.message) == (0.5, "half")
    page = await api.store.as_store.logs("q", one.job.job_id)
    assert page is not None
    assert [(said.level, said.text, said.attempt) for said in page.lines] == [(3, "slow disk", 1)]


async def test_a_cancel_is_told_and_marked_as_delivered(api: Api) -> None:
    [job_id] = await add(api)
    [one] = await leased(api)
    ask = jpb.CancelJobRequest(queue="q", job_id=job_id, reason="moved", grace={"seconds": 5})
    await api.jobs.CancelJob(ask)
    [result] = (await api.workers.ExtendLeases(extend(one.token))).results
    assert result.cancel.reason == "moved"
    assert 4 < result.cancel.grace.ToTimedelta().total_seconds() <= 5
    assert (await job(api, job_id)).cancel.HasField("deliver_time")
    [result] = (await api.workers.ReportOutcomes(report(failed(one.token)))).results
    assert result.state == State.CANCELLED


async def test_a_lost_lease_is_said_and_no_token_is_refused(api: Api) -> None:
    await add(api)
    [one] = await leased(api)
    await api.workers.ReportOutcomes(report(completed(one.token)))
    lost, none = (await api.workers.ExtendLeases(extend(one.token, b"?"))).results
    assert lost.lost
    assert refusal_in(none.error).fields == ["token"]


# --- who works ---


async def test_workers_are_listed_with_what_they_hold(api: Api) -> None:
    [job_id] = await add(api)
    [one] = await leased(api)
    listed = await api.workers.ListWorkers(pb.ListWorkersRequest(queue="q", type="t"))
    [entry] = listed.workers
    assert entry.worker == ME
    assert (list(entry.queues), list(entry.types), entry.embedded) == (["q"], ["t"], False)
    assert [(held.queue, held.job_id, held.type, held.attempt) for held in entry.held] == [("q", job_id, "t", 1)]
    assert entry.holds == 1
    await api.workers.ReportOutcomes(report(completed(one.token)))
    [entry] = (await api.workers.ListWorkers(pb.ListWorkersRequest())).workers
    assert (entry.holds, list(entry.held)) == (0, [])
    for other in (pb.ListWorkersRequest(queue="p"), pb.ListWorkersRequest(type="u")):
        assert list((await api.workers.ListWorkers(other)).workers) == []


async def test_workers_are_listed_page_by_page(api: Api) -> None:
    names = sorted(f"w-{n} ä" for n in range(5))
    for name in names:
        await leased(api, wait=0, worker=pb.Worker(name=name))
    seen, token = [], ""
    while True:
        page = await api.workers.ListWorkers(pb.ListWorkersRequest(page_size=2, page_token=token))
        seen += [one.worker.name for one in page.workers]
        token = page.next_page_token
        if not token:
            break
    assert seen == names
    why = await refused(api.workers.ListWorkers(pb.ListWorkersRequest(page_token="x")))
    assert why.fields == ["page_token"]


async def test_other_servers_hear_of_a_worker_and_health_names_it(api: Api, spied: SpiedStore) -> None:
    waiting = asyncio.ensure_future(leased(api))
    await waits_for_jobs(api)
    async with running_api(spied, name="tests-2") as other:

        async def known() -> bool:
            health = await other.queues.GetQueueHealth(queue_service_pb2.GetQueueHealthRequest(queue="q"))
            return [(one.worker, one.remote, one.language) for one in health.workers] == [("w1", True, "go")]

        await until_async(known, within=5)
    await add(api)
    await waiting


@pytest.mark.parametrize("job_id", ["a", "ä" * 200, "x" * 200])
def test_a_token_holds_its_lease(job_id: str) -> None:
    lease = Lease("q" * 100, job_id, 7, bytes(range(14)))
    read = read_token(token_of(lease, "t" * 100))
    assert read is not None
    assert (read.lease, read.type) == (lease, "t" * 100)


@pytest.mark.parametrize(
    "raw", [b"", b"\x01", b"\x02" + bytes(40), b"\x01" + bytes(7), b"\x01\x00\x00\x00\x01\xff\xff\xffabc", bytes(2000)]
)
def test_what_is_no_token_is_none(raw: bytes) -> None:
    assert read_token(raw) is None
