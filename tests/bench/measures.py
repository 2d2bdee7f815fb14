"""What is measured of a server: each function fills in some figures of one round."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass

from support.stubs import request
from tocsin import AsyncClient
from tocsin.v1 import job_pb2, job_service_pb2

from bench.bed import BATCH, DATA, QUEUE, Bed, RedisBed, flying
from bench.figures import Sample, percentile

State = job_pb2.Job.State
Round = dict[str, Sample]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many of each."""

    unary: int = 5_000
    client: int = 20_000
    batch: int = 50_000
    run: int = 20_000
    single: int = 300
    due: int = 500
    cancels: int = 5_000
    memory: int = 20_000
    standing: int = 200_000
    warm: int = 200


QUICK = Sizes(1_000, 4_000, 10_000, 4_000, 100, 500, 1_000, 5_000, 20_000)


async def scheduling(bed: Bed, sizes: Sizes, suffix: str = "") -> Round:
    """Schedules a second: plain stubs, the gathering client, batches. The jobs are due in an hour."""
    found: Round = {}
    asked = request(QUEUE, "noop", DATA, delay=3600)

    await flying(64, [lambda: bed.jobs.ScheduleJob(asked)] * sizes.warm)
    with bed.span(sizes.unary) as span:
        await flying(64, [lambda: bed.jobs.ScheduleJob(asked)] * sizes.unary)
    found[f"unary schedules/s, plain stubs{suffix}"] = span.rate

    async with AsyncClient(bed.server.address) as client:
        with bed.span(sizes.client) as span:
            await flying(64, [lambda: client.schedule("noop", DATA, queue=QUEUE, delay=3600)] * sizes.client)
    found[f"unary schedules/s, gathering client{suffix}"] = span.rate

    with bed.span(sizes.batch) as span:
        await bed.batches([asked] * sizes.batch)
    found[f"batch schedules/s{suffix}"] = span.rate
    return found


async def cancelling(bed: Bed, sizes: Sizes) -> Round:
    """Cancels a second of jobs that are due later, one call each."""
    ids = await _to_be_cancelled(bed, "cancel", sizes)
    asked = [job_service_pb2.CancelJobRequest(queue=QUEUE, job_id=one) for one in ids]
    with bed.span(len(ids)) as span:
        await flying(64, [lambda one=one: bed.jobs.CancelJob(one) for one in asked])
    return {"cancels/s": span.rate}


async def cancelling_batches(bed: Bed, sizes: Sizes) -> Round:
    """The same, 1,000 a call."""
    ids = await _to_be_cancelled(bed, "batch", sizes)
    asked = [
        job_service_pb2.BatchCancelJobsRequest(queue=QUEUE, job_ids=ids[start : start + BATCH])
        for start in range(0, len(ids), BATCH)
    ]
    with bed.span(len(ids)) as span:
        await flying(4, [lambda batch=batch: bed.jobs.BatchCancelJobs(batch) for batch in asked])
    return {"cancels/s, batches": span.rate}


async def _to_be_cancelled(bed: Bed, name: str, sizes: Sizes) -> list[str]:
    ids = [f"{name}-{n}" for n in range(sizes.cancels)]
    await bed.batches([request(QUEUE, "noop", DATA, job_id=one, delay=3600) for one in ids])
    return ids


async def running(bed: Bed, sizes: Sizes, suffix: str = "") -> Round:
    """No-op jobs run a second, end to end: claimed, started, finished, from a queue that was filled before."""
    before = await bed.completed()
    await bed.pause(True)
    await bed.batches([request(QUEUE, "noop", DATA)] * sizes.run)
    with bed.span(sizes.run) as span:
        await bed.pause(False)
        await bed.until_completed(before + sizes.run)
    return {f"no-op jobs run/s{suffix}": span.rate}


async def starting(bed: Bed, sizes: Sizes) -> Round:
    """Schedule to start on an idle server: from before the call to the handler's first line."""
    asked: dict[str, float] = {}
    for number in range(sizes.single):
        job_id = f"start-{number}"
        asked[job_id] = time.time()
        await bed.jobs.ScheduleJob(request(QUEUE, "stamped", DATA, job_id=job_id))
        watch = bed.jobs.WatchJobs(job_service_pb2.WatchJobsRequest(queue=QUEUE, job_id=job_id))
        async for _ in watch:
            pass
    starts = {line.job_id: line.at for line in bed.journal.lines("start")}
    waits = [1000 * (starts[job_id] - at) for job_id, at in asked.items()]
    return {
        "schedule to start, idle, p50 ms": Sample(percentile(waits, 0.5)),
        "schedule to start, idle, p99 ms": Sample(percentile(waits, 0.99)),
    }


async def lateness(bed: Bed, sizes: Sizes) -> Round:
    """How late jobs start that are all due at one time, 2 s after they were scheduled."""
    done = len(bed.journal.lines("start"))
    due = time.time() + 2
    requests = [request(QUEUE, "stamped", DATA, job_id=f"due-{n}") for n in range(sizes.due)]
    for one in requests:
        one.schedule_time.FromNanoseconds(int(due * 1000) * 1_000_000)
    await bed.batches(requests)
    before = await bed.completed()
    await bed.until_completed(before + sizes.due)
    late = [1000 * (line.at - int(due * 1000) / 1000) for line in bed.journal.lines("start")[done:]]
    return {
        f"{sizes.due} jobs due at once, late p50 ms": Sample(percentile(late, 0.5)),
        f"{sizes.due} jobs due at once, late p99 ms": Sample(percentile(late, 0.99)),
        f"{sizes.due} jobs due at once, late max ms": Sample(max(late)),
        f"{sizes.due} jobs due at once, earliest ms": Sample(min(late)),
    }


#: Key kinds by what follows the queue's root; lua/lib/keys.lua says what each holds.
KINDS = {
    "j": "records",
    "h": "errors, progress, results",
    "d": "ids made by callers",
    "s": "scheduled, by time",
    "w": "waiting, by priority",
    "i": "listing index, buckets",
    "r": "listing index, rows",
    "v": "events",
}


async def memory(bed: RedisBed, sizes: Sizes) -> Round:
    """Bytes in Redis for each waiting job, in all and by key kind. Ids are made by the server."""
    client = bed.redis.client
    await bed.batches([request(QUEUE, "served_by_nobody", DATA)])  # the queue's fixed keys stand
    before = client.info("memory")["used_memory"]
    await bed.batches([request(QUEUE, "served_by_nobody", DATA)] * sizes.memory)
    grown = client.info("memory")["used_memory"] - before
    keys = list(client.scan_iter(count=5000))
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.memory_usage(key, samples=0)
    by_kind: Counter[str] = Counter()
    for key, size in zip(keys, pipe.execute(), strict=True):
        kind = re.match(rb"[^{]*\{[^}]*\}:(\w)", key)
        by_kind[KINDS.get(kind[1].decode(), "other") if kind else "other"] += size or 0
    found = {"bytes in Redis a waiting job": Sample(grown / sizes.memory)}
    for name, size in by_kind.most_common():
        if size / sizes.memory >= 0.5:
            found[f"bytes a waiting job: {name}"] = Sample(size / sizes.memory)
    return found
