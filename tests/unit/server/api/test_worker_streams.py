"""StreamJobs does what its proto says, over a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest
from support.eventually import until_async
from support.spied_store import SpiedStore
from support.stubs import refusal, refusal_in, request
from support.worker_messages import completed, credit, failed, hello, progress, released, streaming
from tocsin.v1 import job_pb2
from tocsin.v1 import job_service_pb2 as jpb
from tocsin.v1 import worker_service_pb2 as pb
from unit.server.api.running_api import Api, running_api

State = job_pb2.Job.State


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    async with running_api(spied, leasing=True) as api:
        yield api


async def add(api: Api, count: int = 1, type_: str = "t", queue: str = "q", **more: object) -> list[str]:
    items = [request(queue, type_, {"n": n}, **more) for n in range(count)]
    answer = await api.jobs.BatchScheduleJobs(jpb.BatchScheduleJobsRequest(requests=items))
    return [one.response.job.job_id for one in answer.results]


async def job(api: Api, job_id: str, queue: str = "q") -> job_pb2.Job:
    return (await api.jobs.GetJob(jpb.GetJobRequest(queue=queue, job_id=job_id))).job


async def reached(api: Api, job_id: str, *states: int) -> job_pb2.Job:
    async def there() -> job_pb2.Job | None:
        now = await job(api, job_id)
        return now if now.state in states else None

    found = await until_async(there, within=15)
    assert found is not None
    return found


async def test_jobs_come_for_credits_and_outcomes_are_acknowledged_in_order(api: Api) -> None:
    await add(api, 5)
    async with streaming(api.workers, hello=hello(), credits=[credit(3)]) as stream:
        jobs = await stream.next_jobs(3)
        assert stream.welcome is not None
        assert stream.welcome.lease.ToTimedelta() == timedelta(seconds=30)
        assert stream.welcome.heartbeat_every.ToTimedelta() == timedelta(seconds=10)
        assert jobs[0].job.spec.data["n"] == 0
        outcomes = [completed(jobs[0].token, "fine"), failed(jobs[1].token), completed(b"?"), released(jobs[2].token)]
        await stream.say(outcomes=outcomes)
        await stream.until(lambda: len(stream.acks) == 4)
        assert [ack.state for ack in stream.acks] == [State.COMPLETED, State.SCHEDULED, 0, State.WAITING]
        assert refusal_in(stream.acks[2].error).fields == ["token"]
        assert not stream.leased
        await stream.say(credits=[credit(2)])
        assert {one.job.job_id for one in await stream.next_jobs(2)}
        await stream.say(goodbye=pb.StreamJobsRequest.Goodbye())
        await stream.close()
        assert await stream.code() is grpc.StatusCode.OK


async def test_many_jobs_and_acknowledgements_share_a_message(api: Api) -> None:
    await add(api, 40)
    async with streaming(api.workers, hello=hello(), credits=[credit(40)]) as stream:
        jobs = await stream.next_jobs(40)
        assert stream.messages <= 4
        before, api.store.calls["finish"] = stream.messages, 0
        await stream.say(outcomes=[completed(one.token) for one in jobs])
        await stream.until(lambda: len(stream.acks) == 40)
        assert stream.messages == before + 1
        assert api.store.calls["finish"] == 1


async def test_a_credit_of_a_type_bounds_it_beside_the_whole(api: Api) -> None:
    await add(api, 5, "t")
    await add(api, 5, "u")
    async with streaming(api.workers, hello=hello("t", "u"), credits=[credit(4), credit(1, "t")]) as stream:
        jobs = await stream.next_jobs(4)
        assert sorted(one.job.spec.type for one in jobs) == ["t", "u", "u", "u"]


async def test_a_type_with_no_credit_of_its_own_yet_waits(api: Api) -> None:
    await add(api, 2, "t")
    [other] = await add(api, 1, "u")
    async with streaming(api.workers, hello=hello("t", "u"), credits=[credit(4), credit(0, "t")]) as stream:
        [one] = await stream.next_jobs(1)
        assert one.job.job_id == other
        await stream.say(credits=[credit(1, "t")])
        [one] = await stream.next_jobs(1)
        assert one.job.spec.type == "t"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"credits": [credit(1)]}, "hello"),
        ({"hello": hello("no good")}, "hello.asks[0].types[0]"),
        ({"hello": hello(), "credits": [credit(10_001)]}, "credits[0].n"),
        ({"hello": hello(), "credits": [credit(1, "u")]}, "credits[0].type"),
        ({"hello": hello(), "credits": [credit(6_000), credit(6_000)]}, "credits[1].n"),
    ],
)
async def test_what_is_wrong_is_named(api: Api, message: dict[str, object], field: str) -> None:
    async with streaming(api.workers, **message) as stream:
        why = refusal(await stream.trailing())
        assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_hello_is_said_once(api: Api) -> None:
    async with streaming(api.workers, hello=hello()) as stream:
        await stream.say(hello=hello())
        assert refusal(await stream.trailing()).fields == ["hello"]


async def test_a_cancel_comes_without_a_heartbeat_and_once(api: Api) -> None:
    ids = await add(api, 3)
    async with streaming(api.workers, hello=hello(), credits=[credit(3)]) as stream:
        jobs = {one.job.job_id: one for one in await stream.next_jobs(3)}
        await api.jobs.CancelJob(jpb.CancelJobRequest(queue="q", job_id=ids[1], reason="moved"))
        await stream.until(lambda: stream.cancels, within=1)
        [cancel] = stream.cancels
        assert (cancel.token, cancel.wish.reason) == (jobs[ids[1]].token, "moved")
        assert (await job(api, ids[1])).cancel.HasField("deliver_time")
        await stream.say(heartbeats=[pb.Heartbeat(token=one.token) for one in jobs.values()])
        await stream.say(outcomes=[failed(cancel.token)])
        await stream.until(lambda: stream.acks)
        assert stream.acks[0].state == State.CANCELLED
        assert len(stream.cancels) == 1


async def test_a_cancel_prolongs_no_other_lease(api: Api) -> None:
    ids = await add(api, 2)
    async with streaming(api.workers, hello=hello(), credits=[credit(2)]) as stream:
        await stream.next_jobs(2)
        await api.jobs.CancelJob(jpb.CancelJobRequest(queue="q", job_id=ids[0]))
        await stream.until(lambda: stream.cancels)
        [[extensions, _]] = [args for args, _ in api.store.arguments["extend"]]
        assert [one.lease.job_id for one in extensions] == [ids[0]]


async def test_heartbeats_carry_progress_and_hear_of_lost_leases(api: Api) -> None:
    await add(api, 2)
    async with streaming(api.workers, hello=hello(), credits=[credit(2)]) as stream:
        kept, gone = await stream.next_jobs(2)
        [answer] = (await api.workers.ReportOutcomes(_report(released(gone.token)))).results
        assert answer.state == State.WAITING
        beats = [pb.Heartbeat(token=one.token, progress=progress(0.25)) for one in (kept, gone)]
        await stream.say(heartbeats=[*beats, pb.Heartbeat(token=b"?")])
        await stream.until(lambda: len(stream.lost) == 2)
        assert sorted(stream.lost) == sorted([gone.token, b"?"])
        assert (await job(api, kept.job.job_id)).progress.fraction == 0.25


def _report(*outcomes: pb.Outcome) -> pb.ReportOutcomesRequest:
    return pb.ReportOutcomesRequest(worker=pb.Worker(name="w1"), outcomes=outcomes)


async def test_progress_said_with_the_outcome_comes_before_it(api: Api) -> None:
    [job_id] = await add(api)
    async with streaming(api.workers, hello=hello(), credits=[credit(1)]) as stream:
        [one] = await stream.next_jobs(1)
        beat = pb.Heartbeat(token=one.token, progress=progress(1, "done"))
        await stream.say(outcomes=[completed(one.token)], heartbeats=[beat])
        await stream.until(lambda: stream.acks)
        assert stream.acks[0].state == State.COMPLETED
        assert stream.lost == []
        assert (await job(api, job_id)).progress.message == "done"


async def test_a_cut_stream_keeps_its_leases_for_a_short_while_and_another_server_goes_on(
    api: Api, spied: SpiedStore
) -> None:
    ids = await add(api, 2)
    async with streaming(api.workers, hello=hello(lease=600), credits=[credit(2)]) as stream:
        jobs = await stream.next_jobs(2)
        stream.cut()
        async with asyncio.timeout(10):
            await spied.until_called("extend", 1)
        [extensions, length] = spied.arguments["extend"][-1][0]
        assert ({one.lease.job_id for one in extensions}, length) == (set(ids), timedelta(seconds=10))
    async with running_api(spied, leasing=True, name="tests-2") as other:
        held = [jobs[0].token, jobs[1].token, b"?"]
        async with streaming(other.workers, hello=hello(held=held), credits=[credit(1)]) as stream:
            await stream.until(lambda: stream.lost)
            assert stream.lost == [b"?"]
            assert stream.welcome is not None
            assert stream.welcome.heartbeat_every.ToTimedelta() == timedelta(seconds=3)
            await stream.say(outcomes=[completed(one.token) for one in jobs])
            await stream.until(lambda: len(stream.acks) == 2)
            assert [ack.state for ack in stream.acks] == [State.COMPLETED] * 2
            [third] = await add(other)
            [one] = await stream.next_jobs(1)
            assert one.job.job_id == third


async def test_what_was_lost_meanwhile_is_named_to_who_comes_back(api: Api) -> None:
    await add(api)
    async with streaming(api.workers, hello=hello(), credits=[credit(1)]) as stream:
        [one] = await stream.next_jobs(1)
    await api.workers.ReportOutcomes(_report(released(one.token)))
    async with streaming(api.workers, hello=hello(held=[one.token])) as stream:
        await stream.until(lambda: stream.lost)
        assert stream.lost == [one.token]


async def test_goodbye_gives_back_what_was_not_begun_and_leaves_the_rest(api: Api) -> None:
    await add(api, 3)
    async with streaming(api.workers, hello=hello(), credits=[credit(2)]) as stream:
        begun, unbegun = await stream.next_jobs(2)
        await stream.say(credits=[credit(5)], goodbye=pb.StreamJobsRequest.Goodbye(unbegun_tokens=[unbegun.token]))
        back = await reached(api, unbegun.job.job_id, State.WAITING)
        assert (back.attempt, back.failures, back.crashes) == (1, 0, 0)
        await stream.say(outcomes=[completed(begun.token)])
        await stream.until(lambda: stream.acks)
        assert stream.acks[0].state == State.COMPLETED
        await stream.close()
        assert await stream.code() is grpc.StatusCode.OK
    shortened = [args for args, _ in api.store.arguments.get("extend", ())]
    assert shortened == []


async def test_outcomes_wait_for_a_store_that_is_away(api: Api) -> None:
    await add(api)
    async with streaming(api.workers, hello=hello(), credits=[credit(1)]) as stream:
        [one] = await stream.next_jobs(1)
        api.store.away.add("finish")
        await stream.say(outcomes=[completed(one.token)])
        await api.store.until_called("finish", 2)
        assert stream.acks == []
        api.store.away.clear()
        await stream.until(lambda: stream.acks)
        assert stream.acks[0].state == State.COMPLETED


async def test_draining_is_said_and_outcomes_are_taken_until_the_end(api: Api) -> None:
    await add(api, 2)
    async with streaming(api.workers, hello=hello(), credits=[credit(1)]) as stream:
        [one] = await stream.next_jobs(1)
        await api.server.drain()
        await stream.until(lambda: stream.drained)
        await stream.say(credits=[credit(1)], outcomes=[completed(one.token)])
        await stream.until(lambda: stream.acks)
        assert stream.acks[0].state == State.COMPLETED
        assert not stream.leased
        why = refusal(await stream.trailing())
        assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_a_drained_stream_of_one_who_holds_jobs_is_ended_with_the_server(api: Api) -> None:
    await add(api)
    async with streaming(api.workers, hello=hello(), credits=[credit(1)]) as stream:
        await stream.next_jobs(1)
        await api.server.drain()
        await stream.until(lambda: stream.drained)
        shortened = asyncio.ensure_future(api.store.until_called("extend", 1))
        ending = asyncio.ensure_future(api.working.end(timedelta(0)))
        why = refusal(await stream.trailing())
        assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        await ending
        await shortened


async def test_a_second_stream_takes_leases_over_from_the_first(api: Api) -> None:
    await add(api)
    async with streaming(api.workers, hello=hello(), credits=[credit(1)]) as first:
        [one] = await first.next_jobs(1)
        taken_over = asyncio.ensure_future(api.store.until_called("extend", 1))
        async with streaming(api.workers, hello=hello(held=[one.token])) as second:
            await second.until(lambda: second.welcome)
            await taken_over
            first.cut()
            await api.jobs.CancelJob(jpb.CancelJobRequest(queue="q", job_id=one.job.job_id))
            await second.until(lambda: second.cancels)
            lengths = {length for (_, length), _ in api.store.arguments["extend"]}
            assert lengths == {timedelta(seconds=30)}


async def test_one_that_never_reads_holds_no_more_than_its_credits(api: Api) -> None:
    blob = {"text": "x" * 300_000}
    for _ in range(2):
        items = [request("q", "t", blob) for _ in range(30)]
        await api.jobs.BatchScheduleJobs(jpb.BatchScheduleJobsRequest(requests=items))
    async with streaming(api.workers, hello=hello(), credits=[credit(40)]) as stream:

        async def as_many_as_it_may() -> bool:
            [entry] = (await api.workers.ListWorkers(pb.ListWorkersRequest())).workers
            return (entry.holds, entry.free) == (40, 0)

        await until_async(as_many_as_it_may, within=10)
        listed = await api.jobs.ListJobs(jpb.ListJobsRequest(queue="q", states=[State.WAITING]))
        assert listed.total_size == 20
        stream.cut()

        async def unsent_are_back() -> bool:
            page = await api.jobs.ListJobs(jpb.ListJobsRequest(queue="q", states=[State.WAITING]))
            return page.total_size > 20

        await until_async(unsent_are_back, within=10)


async def test_what_waits_too_long_for_a_reader_goes_to_others_and_comes_once_he_reads(api: Api) -> None:
    blob = {"text": "x" * 300_000}
    for _ in range(40):
        await api.jobs.ScheduleJob(request("q", "t", blob))
    async with streaming(api.workers, hello=hello(lease=5), credits=[credit(40)]) as stream:
        await until_async(lambda: _waiting(api, 0), within=10)
        await until_async(lambda: _waiting(api, 1), within=10)  # after a third of the lease
        listed = await api.jobs.ListJobs(jpb.ListJobsRequest(queue="q", states=[State.WAITING]))
        assert {(one.crashes, one.failures) for one in listed.jobs} == {(0, 0)}
        seen = {one.job.job_id for one in await stream.next_jobs(40, within=20)}
        assert len(seen) == 40


async def _waiting(api: Api, least: int) -> bool:
    page = await api.jobs.ListJobs(jpb.ListJobsRequest(queue="q", states=[State.WAITING]))
    return page.total_size >= least if least else page.total_size == 0


async def test_large_jobs_come_in_several_messages(api: Api) -> None:
    blob = {"text": "x" * 900_000}
    for _ in range(6):
        await api.jobs.ScheduleJob(request("q", "t", blob))
    async with streaming(api.workers, hello=hello(), credits=[credit(6)]) as stream:
        assert len(await stream.next_jobs(6)) == 6


async def test_idle_workers_cost_the_store_nothing_and_all_get_their_job(api: Api) -> None:
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Semaphore(0)

        async def stream_one(n: int) -> None:
            worker = pb.Worker(name=f"s{n}")
            async with streaming(api.workers, hello=hello(worker=worker), credits=[credit(1)]) as stream:
                await stream.until(lambda: stream.welcome)
                ready.release()
                [one] = await stream.next_jobs(1, within=30)
                await stream.say(outcomes=[completed(one.token)])
                await stream.until(lambda: stream.acks)

        for n in range(50):
            group.create_task(stream_one(n))
        for _ in range(50):
            await ready.acquire()
        await api.store.until_called("count_queues", 2)
        api.store.calls.clear()
        await api.store.until_called("count_queues", 2)
        asked = {name: count for name, count in api.store.calls.items() if count}
        assert asked.keys() <= {"ticks", "count_queues", "ping", "announce", "queues"}, asked
        assert asked.get("announce", 0) <= 1
        await add(api, 50)
