"""SIGTERM."""

from __future__ import annotations

import asyncio

from tocsin import State

from tocsin_server.conformance.checking import check, expect
from tocsin_server.conformance.stage import Stage

_OUTAGE = 2.0  # seconds; leases last for some more


@check(
    "drain",
    "at SIGTERM it finishes what it runs, takes nothing new, and ends with exit code 0",
    takes=4.5,
    ends_worker=True,
)
async def drain(stage: Stage) -> None:
    running = await stage.schedule("sleep", {"ms": 4_000})
    await stage.running(running)
    stage.terminate()
    later = await stage.schedule("echo", {"n": 1}, delay=1.0)
    code = await stage.exit_code(within=10.0)
    expect(code == 0, f"its exit code is {code}")
    job = await stage.ended(running, 5.0)
    expect(job.attempt == 1, f"the job that it ran was begun again: attempt {job.attempt} completed")
    left = await stage.job(later)
    expect(left.attempt == 0, f"it took a job that was due after SIGTERM, which is {left.state}")


@check("drain_idle", "at SIGTERM, with nothing to do, it ends at once, with exit code 0", ends_worker=True)
async def drain_idle(stage: Stage) -> None:
    await stage.run("echo", {"n": 1})
    stage.terminate()
    code = await stage.exit_code(within=5.0)
    expect(code == 0, f"its exit code is {code}")


@check("drain_cut", "at SIGTERM, cut off from its server, it still reports what it ran", takes=3.5, ends_worker=True)
async def drain_cut(stage: Stage) -> None:
    running = await stage.schedule("sleep", {"ms": 3_000})
    lease = await stage.running(running)
    for door in stage.doors:
        door.shut()
    stage.terminate()
    await asyncio.sleep(_OUTAGE)
    for door in stage.doors:
        door.unshut()
    job = await stage.ended(running, 10.0, State.COMPLETED)
    expect(job.attempt == 1 and lease.recorded, f"attempt {job.attempt} completed")
    code = await stage.exit_code(within=8.0)
    expect(code == 0, f"its exit code is {code}")


CHECKS = (drain, drain_idle, drain_cut)
