"""Leases: kept by heartbeats, never more than there are slots, each begun once, and lost ones let go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tocsin import RetryPolicy
from tocsin.v1 import worker_service_pb2 as pb

from tocsin_server.conformance.checking import check, expect, leased_jobs
from tocsin_server.conformance.journal import SeenLease
from tocsin_server.conformance.stage import CONCURRENCY, LEASE, Stage

_LEASE = LEASE.total_seconds()
_GAP = 0.6 * _LEASE  # seconds between heartbeats: a third of the lease, and room for a busy machine
_LONG = 11.0  # seconds that an attempt takes which is to outlast a lease that is lost, and what is done about it
_SOON = RetryPolicy(max_attempts=3, initial_delay=0.1, jitter=0.0)


@check("heartbeats", "it renews the leases of long jobs in time", takes=9.0)
async def heartbeats(stage: Stage) -> None:
    jobs = [await stage.schedule("sleep", {"ms": 9_000}) for _ in range(2)]
    for job_id in jobs:
        job = await stage.ended(job_id, 25.0)
        lease = await stage.leased(job_id)
        expect(job.attempt == 1, f"a lease was lost while the job ran: attempt {job.attempt} completed")
        ended = lease.outcomes[0][0] if lease.outcomes else lease.leased
        told = [lease.leased, *(beat for beat in lease.heartbeats if beat < ended), ended]
        gap = max(later - earlier for earlier, later in pairwise(told))
        expect(gap < _GAP, f"{gap:.1f} s passed between two heartbeats, of a lease of {_LEASE:g} s")


@check("side_by_side", "it runs as many jobs at the same time as TOCSIN_CONCURRENCY says", takes=3.0)
async def side_by_side(stage: Stage) -> None:
    jobs = [await stage.schedule("sleep", {"ms": 2_000}, delay=0.3) for _ in range(CONCURRENCY)]
    for job_id in jobs:
        await stage.ended(job_id, 10.0)
    leases = [await stage.leased(job_id) for job_id in jobs]
    last, first = max(lease.leased for lease in leases), min(lease.outcomes[0][0] for lease in leases)
    expect(last < first, f"it did not run {CONCURRENCY} jobs at the same time")


@check("credits", "it never has more jobs than TOCSIN_CONCURRENCY says", takes=2.0)
async def credits_(stage: Stage) -> None:
    jobs = [await stage.schedule("sleep", {"ms": 500}, delay=0.3) for _ in range(3 * CONCURRENCY)]
    for job_id in jobs:
        await stage.ended(job_id, 15.0)
    most = stage.journal.most_out
    expect(most <= CONCURRENCY, f"it had {most} jobs at the same time, and has {CONCURRENCY} slots")


@check("credits_return", "a slot is free again after each attempt, however it ends", takes=3.0)
async def credits_return(stage: Stage) -> None:
    failing = {"attempts": 1, "type": "Unlucky", "message": "once"}
    for _ in range(CONCURRENCY + 1):
        batch = [
            await stage.schedule("echo", {"n": 1}),
            await stage.schedule("fail", failing, retry=_SOON),
            await stage.schedule("fail", {"type": "Hopeless", "message": "never", "final": True}),
            await stage.schedule("release"),
            await stage.schedule("sleep", {"ms": 5_000}, timeout=0.3, retry=RetryPolicy(max_attempts=1)),
        ]
        for job_id in batch:
            await stage.ended(job_id, 10.0, None)


@check("begun_once", "of a lease that it is told of twice, it runs one attempt")
async def begun_once(stage: Stage) -> None:
    def twice(message: Any) -> list[Any]:
        jobs = leased_jobs(message)
        jobs.extend([leased for leased in jobs if leased.job.job_id == job_id])
        return [message]

    job_id = await stage.schedule("sleep", {"ms": 600}, delay=0.3)
    with stage.relay.altering(down=twice):
        lease = await stage.leased(job_id)
        await stage.ended(job_id, 8.0)
    await stage.run("echo", {"n": 1})
    expect(len(lease.outcomes) == 1, f"it reported {len(lease.outcomes)} outcomes of one lease")


@check(
    "late_result",
    "each attempt has its own token: a late result is refused, and the next goes on",
    within=40.0,
    takes=12.0,
)
async def late_result(stage: Stage) -> None:
    def last_longer(message: Any) -> list[Any]:
        for leased in leased_jobs(message):
            if leased.job.attempt == 2:  # it ends a second after the first
                left = first.leased + _LONG + 1.0 - time.monotonic()
                leased.job.spec.data["ms"] = max(500, round(1000 * left))
        return [message]

    job_id = await stage.schedule("sleep", {"ms": 1000 * _LONG}, retry=_SOON)
    first = await stage.running(job_id)
    with stage.relay.altering(down=last_longer):
        stage.stand_still()
        try:
            # Past the lease: the job is given out again, to this very worker, which asked before it stood still.
            second = await stage.leased(job_id, 2, within=3 * _LEASE)
        finally:
            stage.go_on()
    # The first attempt still runs, and the worker is not told that it has lost it.
    with stage.relay.altering(down=_untold([first])):
        await stage.journal.until(lambda: second.outcomes, _LONG, "it reported no outcome of the second lease")
    job = await stage.ended(job_id, 5.0)
    expect(job.attempt == 2, f"attempt {job.attempt} completed, not the second")
    expect(first.recorded is None, "an outcome of the lost lease was recorded")
    await stage.run("echo", {"n": 1})


def _untold(lost: Sequence[SeenLease]) -> Any:
    """The worker is not told that these leases are lost."""
    tokens = {lease.token for lease in lost}

    def alter(message: Any) -> list[Any]:
        if isinstance(message, pb.StreamJobsResponse):
            kept = [token for token in message.lost if token not in tokens]
            del message.lost[:]
            message.lost.extend(kept)
        elif isinstance(message, pb.ExtendLeasesResponse):
            for result in message.results:
                result.lost = False
        return [message]

    return alter


@check("lost_lease", "told that a lease is lost, it lets the attempt go, and its slot is free", takes=7.0)
async def lost_lease(stage: Stage) -> None:
    job_id = await stage.schedule("sleep", {"ms": 5_000})
    lease = await stage.running(job_id)

    def lose(message: Any) -> list[Any]:
        if isinstance(message, pb.StreamJobsResponse) and lease.lost_told is None:
            message.lost.append(lease.token)
        elif isinstance(message, pb.ExtendLeasesResponse):
            for result in message.results:
                result.lost = True
        return [message]

    with stage.relay.altering(down=lose):
        await stage.run("echo", {"n": 1})  # so that there is a message to tell it with
        told = await stage.journal.until(lambda: lease.lost_told, 5.0, "it sent no heartbeat to be answered")
        await asyncio.sleep(2 * _LEASE / 3)
    late = [beat for beat in lease.heartbeats if beat > told + _LEASE / 3]
    expect(not late, "it goes on sending heartbeats for a lease that is lost")
    for again in [await stage.schedule("sleep", {"ms": 500}) for _ in range(CONCURRENCY)]:
        await stage.ended(again, 8.0)
    await stage.client.cancel(job_id, queue=stage.queue, grace=0)  # it would be run again


CHECKS = (heartbeats, side_by_side, credits_, credits_return, begun_once, late_result, lost_lease)
