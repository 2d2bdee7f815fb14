"""How attempts end, and what follows."""

from __future__ import annotations

from datetime import timedelta

from tocsin import RetryPolicy, State

from tocsin_server.conformance.checking import check, expect
from tocsin_server.conformance.stage import Stage

_SOON = RetryPolicy(max_attempts=3, initial_delay=0.2, jitter=0.0)
_LONG = "Wörter und Sätze " * 200  # 3,800 bytes; a message is kept up to 1 KiB


@check("retry", "a failure says what went wrong, and the next attempt is run as any other")
async def retry(stage: Stage) -> None:
    failing = {"attempts": 1, "type": "Unlucky", "message": "nicht diesmal"}
    job = await stage.run("fail", failing, within=8.0, retry=_SOON)
    expect((job.attempt, job.failures) == (2, 1), f"attempt {job.attempt}, failures {job.failures}, not 2 and 1")
    [error] = job.errors
    said = (error.attempt, error.type, error.message)
    expect(said == (1, "Unlucky", "nicht diesmal"), f"the error says {said!r}")


@check("final_failure", "a failure for good ends the job, whatever attempts are left")
async def final_failure(stage: Stage) -> None:
    job_id = await stage.schedule("fail", {"type": "Hopeless", "message": "never", "final": True}, retry=_SOON)
    job = await stage.ended(job_id, 5.0, State.FAILED)
    expect(job.attempt == 1, f"it is FAILED after {job.attempt} attempts")


@check("retry_at", "a failure can say when the next attempt is due", takes=3.0)
async def retry_at(stage: Stage) -> None:
    failing = {"attempts": 1, "type": "Busy", "message": "later", "retry_in_ms": 2_500}
    job = await stage.run("fail", failing, within=10.0, retry=RetryPolicy(max_attempts=3, initial_delay=60))
    begun = job.start_time or job.errors[0].time
    waited = begun - job.errors[0].time
    fits = timedelta(seconds=2) < waited < timedelta(seconds=4.5)
    expect(fits, f"the next attempt began {waited.total_seconds():.1f} s after the failure, not 2.5 s")


@check("long_error", "an error of any length and script is taken")
async def long_error(stage: Stage) -> None:
    job_id = await stage.schedule("fail", {"type": "Verbose", "message": _LONG, "final": True})
    job = await stage.ended(job_id, 5.0, State.FAILED)
    expect(_LONG.startswith(job.errors[0].message[:200]), "the error's message is not what the job was to say")


@check("release", "a job that is given back spends no attempt, and is run again")
async def release(stage: Stage) -> None:
    job = await stage.run("release", within=8.0)
    expect(job.failures == 0, f"a job that was given back has {job.failures} failures")
    first = await stage.leased(job.job_id)
    expect(first.kind == "released", f"the first attempt was {first.kind}, not released")
    expect(job.attempt == 2, f"attempt {job.attempt} completed, not the second")


@check("timeout", "it stops an attempt that takes longer than the job's timeout, and fails it", takes=1.5)
async def timeout(stage: Stage) -> None:
    job_id = await stage.schedule("sleep", {"ms": 9_000}, timeout=1.0, retry=RetryPolicy(max_attempts=1))
    lease = await stage.leased(job_id)
    await stage.journal.until(lambda: lease.outcomes, 5.0, "it did not end an attempt whose timeout is 1 s")
    job = await stage.ended(job_id, 5.0, State.FAILED)
    expect(job.failures == 1, "the attempt does not count as failed")


CHECKS = (retry, final_failure, retry_at, long_error, release, timeout)
