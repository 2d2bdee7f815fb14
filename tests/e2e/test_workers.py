"""Workers in processes of their own: by polls and by a stream, on each store, through a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest_asyncio
from support.servers import Server
from support.stores import on_each_store
from support.stubs import State, request
from support.worker_messages import completed, credit, extend, failed, hello, poll, progress, report, streaming
from tocsin.v1 import job_pb2, job_service_pb2_grpc, worker_service_pb2_grpc
from tocsin.v1 import job_service_pb2 as jpb
from tocsin.v1 import worker_service_pb2 as pb

TYPE = "resize.elsewhere"  # no server has a handler for it


class Ends:
    """Who schedules, and who works."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.jobs: Any = job_service_pb2_grpc.JobServiceStub(channel)
        self.workers: Any = worker_service_pb2_grpc.WorkerServiceStub(channel)

    async def add(self, queue: str, count: int = 1, **more: Any) -> list[str]:
        items = [request(queue, TYPE, {"n": n}, **more) for n in range(count)]
        answer = await self.jobs.BatchScheduleJobs(jpb.BatchScheduleJobsRequest(requests=items))
        return [one.response.job.job_id for one in answer.results]

    async def job(self, queue: str, job_id: str) -> job_pb2.Job:
        return (await self.jobs.GetJob(jpb.GetJobRequest(queue=queue, job_id=job_id))).job

    async def poll(self, queue: str, **more: Any) -> list[pb.LeasedJob]:
        return list((await self.workers.LeaseJobs(poll(queue, TYPE, **more))).jobs)


@pytest_asyncio.fixture
async def ends(shared_server: Server) -> AsyncIterator[Ends]:
    async with grpc.aio.insecure_channel(shared_server.address) as channel:
        yield Ends(channel)


@on_each_store
async def test_a_poll_is_given_what_becomes_due_while_it_waits(ends: Ends, queue: str) -> None:
    waiting = asyncio.ensure_future(ends.poll(queue, wait=30))
    [job_id] = await ends.add(queue, delay=0.5)
    [leased] = await waiting
    assert (leased.job.job_id, leased.job.spec.data["n"]) == (job_id, 0)
    beat = extend(leased.token, progress=progress(0.5))
    [kept] = (await ends.workers.ExtendLeases(beat)).results
    assert kept.HasField("lease_end")
    assert (await ends.job(queue, job_id)).progress.fraction == 0.5
    [done] = (await ends.workers.ReportOutcomes(report(completed(leased.token, "small")))).results
    assert done.state == State.COMPLETED
    ended = await ends.job(queue, job_id)
    assert (ended.state, ended.result.raw.body, ended.attempt) == (State.COMPLETED, b"small", 1)
    [again] = (await ends.workers.ReportOutcomes(report(failed(leased.token)))).results
    assert again.error.code == grpc.StatusCode.ABORTED.value[0]


@on_each_store
async def test_a_named_request_is_answered_with_the_same_jobs(ends: Ends, queue: str) -> None:
    await ends.add(queue, 4)
    first = await ends.poll(queue, most=2, request_id="wish")
    again = await ends.poll(queue, most=2, request_id="wish")
    others = await ends.poll(queue, most=4)
    assert {one.token for one in first} == {one.token for one in again}
    assert len({one.token for one in (*first, *others)}) == 4


@on_each_store
async def test_a_thousand_jobs_run_over_one_stream(ends: Ends, queue: str) -> None:
    ids = set(await ends.add(queue, 1_000))
    done: set[str] = set()
    async with streaming(ends.workers, hello=hello(TYPE, queue=queue), credits=[credit(100)]) as stream:
        while len(stream.acks) < len(ids):
            await stream.read()
            jobs = [stream.leased.popleft() for _ in range(len(stream.leased))]
            done |= {one.job.job_id for one in jobs}
            if jobs:
                await stream.say(outcomes=[completed(one.token) for one in jobs], credits=[credit(len(jobs))])
    assert done == ids
    assert {ack.state for ack in stream.acks} == {State.COMPLETED}


@on_each_store
async def test_a_cancel_reaches_a_stream_at_once(ends: Ends, queue: str) -> None:
    [job_id] = await ends.add(queue)
    async with streaming(ends.workers, hello=hello(TYPE, queue=queue), credits=[credit(1)]) as stream:
        [leased] = await stream.next_jobs(1)
        asked = time.monotonic()
        await ends.jobs.CancelJob(jpb.CancelJobRequest(queue=queue, job_id=job_id, reason="moved"))
        await stream.until(lambda: stream.cancels)
        assert time.monotonic() - asked < 3  # a second and less, but for a machine that is busy
        assert stream.cancels[0].token == leased.token
        await stream.say(outcomes=[failed(leased.token, "stopped")])
        await stream.until(lambda: stream.acks)
    ended = await ends.job(queue, job_id)
    assert ended.state == State.CANCELLED
    times = [ended.cancel.ask_time, ended.cancel.deliver_time, ended.cancel.obey_time]
    assert [one.ToNanoseconds() for one in times] == sorted(one.ToNanoseconds() for one in times)


@on_each_store
async def test_a_worker_that_was_cut_off_goes_on_with_what_it_holds(ends: Ends, queue: str) -> None:
    await ends.add(queue, 2)
    async with streaming(ends.workers, hello=hello(TYPE, queue=queue), credits=[credit(2)]) as stream:
        jobs = await stream.next_jobs(2)
    held = [one.token for one in jobs]
    async with streaming(ends.workers, hello=hello(TYPE, queue=queue, held=held)) as stream:
        await stream.say(outcomes=[completed(token) for token in held])
        await stream.until(lambda: len(stream.acks) == 2)
    for one in jobs:
        ended = await ends.job(queue, one.job.job_id)
        assert (ended.state, ended.attempt) == (State.COMPLETED, 1)
