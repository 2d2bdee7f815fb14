"""What attempts say while they run."""

from __future__ import annotations

from tocsin_server.conformance.checking import check, expect
from tocsin_server.conformance.journal import NotConforming
from tocsin_server.conformance.stage import CONCURRENCY, Stage


@check("identity", "it names itself, the same in each call, and asks for types and a queue")
async def identity(stage: Stage) -> None:
    await stage.run("echo", {"n": 1})
    names = {worker.name for worker in stage.journal.workers}
    expect(len(names) <= 1, f"it calls itself by several names: {', '.join(sorted(names))}")
    for worker in stage.journal.workers:
        expect(worker.name, "it has no name")
        expect(worker.language, "it does not say its language")
    for queue, types in stage.journal.asked:
        expect(queue == stage.queue, f"it asks for jobs of {queue or 'all queues'}, not of {stage.queue}")
        expect(types, "it asks for no types")


@check("progress", "progress is told with heartbeats, while the job runs", takes=3.0)
async def progress(stage: Stage) -> None:
    job_id = await stage.schedule("progress", {"steps": 5, "ms": 600})
    lease = await stage.leased(job_id)
    await stage.journal.until(lambda: lease.progress or lease.outcomes, 6.0, "it told no progress")
    expect(not lease.outcomes, "it told no progress before the job's end")
    job = await stage.ended(job_id, 8.0)
    said = job.progress
    expect(said and said.fraction == 1 and said.message == "step 5 of 5", f"in the end the job's progress is {said}")
    expect(lease.progress == sorted(lease.progress), "progress goes back")


@check("logs", "lines of log are kept, in order, also those of a job that ends at once")
async def logs(stage: Stage) -> None:
    job = await stage.run("log", {"lines": 20, "bytes": 40}, within=8.0)
    lines = await stage.lines(job.job_id)
    wanted = [f"line {n} " for n in range(1, 21)]
    fits = len(lines) == len(wanted) and all(line.startswith(start) for line, start in zip(lines, wanted, strict=True))
    expect(fits, f"{len(lines)} lines are kept of 20, the first is {lines[:1]}")


@check("log_limits", "more lines than a heartbeat takes, and longer ones than are kept, do no harm")
async def log_limits(stage: Stage) -> None:
    many = await stage.run("log", {"lines": 1_500, "bytes": 30}, within=10.0)
    await stage.run("log", {"lines": 30, "bytes": 6_000}, within=10.0)
    lines = await stage.lines(many.job_id)
    expect(lines and lines[-1].startswith("line 1500 "), f"the last line that is kept is {lines[-1:]}, not line 1500")


@check("idle", "while nothing is due it is quiet", within=15.0, takes=4.0)
async def idle(stage: Stage) -> None:
    before = stage.journal.messages
    try:
        await stage.journal.until(lambda: stage.journal.messages > before + 10 * CONCURRENCY, 4.0, "")
    except NotConforming:
        return
    raise NotConforming(f"it sent more than {10 * CONCURRENCY} messages in 4 s, with nothing to do")


CHECKS = (identity, progress, logs, log_limits, idle)
