"""Cuts, answers that are lost, servers that go away."""

from __future__ import annotations

import asyncio
from typing import Any

from tocsin.v1 import error_reason_pb2
from tocsin.v1 import worker_service_pb2 as pb

from tocsin_server.conformance.checking import check, expect
from tocsin_server.conformance.stage import CONCURRENCY, LEASE, Stage

_UNAVAILABLE = 14  # the status code
_COMES_BACK = 8.0  # seconds; leases stand for 5


@check("cut", "after its connections are cut it connects again and goes on with what it runs", takes=5.5)
async def cut(stage: Stage) -> None:
    jobs = [await stage.schedule("sleep", {"ms": 5_000}) for _ in range(2)]
    for job_id in jobs:
        await stage.running(job_id)
    for door in stage.doors:
        door.cut()
    for job_id in jobs:
        job = await stage.ended(job_id, 15.0)
        expect(job.attempt == 1, f"a job that ran at the cut was begun again: attempt {job.attempt} completed")
    await stage.run("echo", {"n": 1}, within=_COMES_BACK)


@check(
    "cut_credits",
    "after a cut, what it still runs has its slots: it takes no more jobs than the others are for",
    takes=6.0,
)
async def cut_credits(stage: Stage) -> None:
    held = [await stage.schedule("sleep", {"ms": 5_000}) for _ in range(2)]
    for job_id in held:
        await stage.running(job_id)
    for door in stage.doors:
        door.cut()
    stage.journal.most_out = 0
    more = [await stage.schedule("sleep", {"ms": 300}) for _ in range(2 * CONCURRENCY)]
    for job_id in held + more:
        await stage.ended(job_id, 20.0)
    most = stage.journal.most_out
    expect(most <= CONCURRENCY, f"after the cut it had {most} jobs at the same time, and has {CONCURRENCY} slots")


@check("other_server", "where its server is gone it goes to the next of TOCSIN_SERVER, with what it runs", takes=6.0)
async def other_server(stage: Stage) -> None:
    job_id = await stage.schedule("sleep", {"ms": 5_000})
    await stage.running(job_id)
    used = [door for door in stage.doors if door.links]
    gone = used[:1] or stage.doors[:1]
    gone[0].shut()
    try:
        job = await stage.ended(job_id, 15.0)
        expect(job.attempt == 1, f"the job that it ran was begun again: attempt {job.attempt} completed")
        await stage.run("echo", {"n": 1}, within=_COMES_BACK)
    finally:
        gone[0].unshut()


@check("lost_answer", "an outcome whose answer was lost is said again", takes=3.0)
async def lost_answer(stage: Stage) -> None:
    def swallow(message: Any) -> list[Any]:
        if len(lost) > 0 or not isinstance(message, pb.StreamJobsResponse | pb.ReportOutcomesResponse):
            return [message]
        if isinstance(message, pb.StreamJobsResponse) and not message.acks:
            return [message]
        lost.append(message)
        for door in stage.doors:
            door.cut()
        return []

    lost: list[Any] = []
    job_id = await stage.schedule("sleep", {"ms": 300}, delay=0.3)
    with stage.relay.altering(down=swallow):
        lease = await stage.leased(job_id)
        await stage.journal.until(
            lambda: len(lease.outcomes) > 1, _COMES_BACK, "it did not say the outcome again whose answer was lost"
        )
    job = await stage.ended(job_id, 5.0)
    expect(job.attempt == 1, f"the job was run {job.attempt} times")
    await stage.run("echo", {"n": 1}, within=_COMES_BACK)


@check("store_away", "an outcome that could not be recorded yet is said again", takes=2.0)
async def store_away(stage: Stage) -> None:
    def refuse(message: Any) -> list[Any]:
        acks = message.acks if isinstance(message, pb.StreamJobsResponse) else getattr(message, "results", ())
        for ack in acks:
            if isinstance(ack, pb.ReportOutcomesResponse.Result) and not refused:
                refused.append(ack)
                ack.Clear()
                ack.error.code, ack.error.message = _UNAVAILABLE, "the store is away, says the kit"
                ack.error_reason = error_reason_pb2.STORE_AWAY
        return [message]

    refused: list[Any] = []
    job_id = await stage.schedule("sleep", {"ms": 300}, delay=0.3)
    with stage.relay.altering(down=refuse):
        lease = await stage.leased(job_id)
        await stage.journal.until(
            lambda: len(lease.outcomes) > 1, _COMES_BACK, "it did not say the outcome again that was not recorded"
        )
    await stage.ended(job_id, 5.0)
    await stage.run("echo", {"n": 1})


@check("server_drains", "told that its server shuts down, it goes on with another", takes=3.0)
async def server_drains(stage: Stage) -> None:
    drained: list[int] = []

    def drain(message: Any) -> list[Any]:
        if isinstance(message, pb.StreamJobsResponse) and message.leased and not drained:
            drained.append(len(stage.journal.hellos))
            message.drain.retry_after.FromMilliseconds(500)
        return [message]

    with stage.relay.altering(down=drain):
        job = await stage.run("sleep", {"ms": 2_500}, within=12.0)
    expect(job.attempt == 1, f"the job that it ran was begun again: attempt {job.attempt} completed")
    if drained:  # it has a stream
        await stage.journal.until(
            lambda: len(stage.journal.hellos) > drained[0], _COMES_BACK, "it opened no new stream after `drain`"
        )
    await stage.run("echo", {"n": 1}, within=_COMES_BACK)


@check("slow_answers", "while nothing comes from the server it goes on sending heartbeats", takes=9.5)
async def slow_answers(stage: Stage) -> None:
    job_id = await stage.schedule("sleep", {"ms": 9_000})
    lease = await stage.running(job_id)
    for door in stage.doors:
        door.hold()
    before = len(lease.heartbeats)
    try:
        await asyncio.sleep(1.2 * LEASE.total_seconds())
    finally:
        for door in stage.doors:
            door.flow()
    expect(len(lease.heartbeats) > before, "it sent no heartbeat while it heard nothing")
    job = await stage.ended(job_id, 15.0)
    expect(job.attempt == 1, f"its lease was lost meanwhile: attempt {job.attempt} completed")


CHECKS = (cut, cut_credits, other_server, lost_answer, store_away, server_drains, slow_answers)
