"""Jobs that real workers of Bull and BullMQ completed, failed, put off, lost or still have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.redis_backend import RedisBackend
from tocsin_server.domain.job import Job
from tocsin_server.domain.retry import Backoff
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.bull.jobs import ACTIVE_LEFT, COMPLETED_LEFT, LOGS
from tocsin_server.migrate.systems.bullmq.queue import DEFERRED
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

from integration.migration.bull.conftest import Play, Read
from integration.migration.bull.looking import by_name, data_of, job_of, result_of, run_order, taken

SYSTEMS = pytest.mark.parametrize("system", ["bull", "bullmq"])
HOUR = timedelta(hours=1)


def stamp(source: RedisBackend, job: Job, field: str) -> datetime:
    """A time of the job's own hash."""
    return datetime.fromtimestamp(int(source.client.hget(f"bull:states:{job.job_id}", field) or 0) / 1000, UTC)


def left(things: Sequence[Foreign]) -> dict[str, list[str]]:
    """Ids of what is left, by reason."""
    found: dict[str, list[str]] = {}
    for thing in things:
        if thing.verdict is Verdict.LEFT:
            found.setdefault(thing.why[0], []).append(thing.source_id)
    return found


@SYSTEMS
async def test_each_state_becomes_its_own(play: Play, read: Read, system: str) -> None:
    play(system, "states")
    things = await read(system, take_active=True, take_completed=True)
    found = {name: job_of(thing).state for name, thing in by_name(things).items()}
    expected = {
        "fails-twice": State.FAILED,
        "is-stuck": State.FAILED,
        "fails-once": State.SCHEDULED,
        "delayed": State.SCHEDULED,
        "works": State.COMPLETED,
        "returns-nothing": State.COMPLETED,
        "stalled-once": State.WAITING,
        "waits": State.WAITING,
        "runs": State.WAITING,
    }
    own = (
        {"is-no-error": State.FAILED}
        if system == "bull"
        else {
            "fails-for-good": State.FAILED,
            "has-a-priority": State.WAITING,
        }
    )
    assert found == expected | own
    assert len(things) == len(found)


@SYSTEMS
async def test_what_runs_or_is_done_is_left_unless_it_is_asked_for(play: Play, read: Read, system: str) -> None:
    running = play(system, "states")["running"]
    found = left(await read(system))
    assert found.pop(ACTIVE_LEFT) == [running]
    assert len(found.pop(COMPLETED_LEFT)) == 2
    assert found == {}


@SYSTEMS
async def test_a_running_job_waits_again_first_and_its_run_counts(play: Play, read: Read, system: str) -> None:
    play(system, "states")
    things = await read(system, take_active=True)
    runs = job_of(by_name(things)["runs"])
    assert run_order(taken(things))[0] == runs
    assert (runs.attempt, runs.failures, runs.crashes, runs.errors) == (1, 0, 0, ())
    assert runs.start_time is not None
    assert runs.end_time is None


@SYSTEMS
async def test_a_running_job_goes_before_all_that_have_a_priority(
    play: Play, read: Read, source: RedisBackend, system: str
) -> None:
    play(system, "order", "priorities")
    wait, active = "bull:order:wait", "bull:order:active"
    client: Any = source.client
    last = client.lmove(wait, active, "LEFT", "LEFT")
    jobs = run_order(taken(await read(system, take_active=True)))
    assert jobs[0].job_id == last.decode()
    assert len(jobs) >= 9


@SYSTEMS
async def test_a_failed_job_keeps_its_errors(play: Play, read: Read, source: RedisBackend, system: str) -> None:
    play(system, "states")
    job = job_of(by_name(await read(system))["fails-twice"])
    assert (job.attempt, job.failures, job.spec.terms.retry.max_attempts) == (2, 2, 2)
    assert [(error.type, error.message, error.attempt) for error in job.errors] == [
        ("TypeError", "no such\nfield", 1),
        ("TypeError", "no such\nfield", 2),
    ]
    assert all(error.trace.startswith("TypeError: no such\nfield\n    at ") for error in job.errors)
    assert job.end_time == stamp(source, job, "finishedOn") == job.errors[-1].time
    assert job.start_time == stamp(source, job, "processedOn")
    assert job.create_time == stamp(source, job, "timestamp") == job.errors[0].time


@SYSTEMS
async def test_a_job_between_attempts_goes_on_where_it_was(
    play: Play, read: Read, source: RedisBackend, system: str
) -> None:
    play(system, "states")
    job = job_of(by_name(await read(system))["fails-once"])
    assert (job.state, job.attempt, job.failures) == (State.SCHEDULED, 1, 1)
    assert [error.message for error in job.errors] == ["the first of three"]
    score = source.client.zscore("bull:states:delayed", job.job_id)
    assert score is not None
    assert round(job.schedule_time.timestamp() * 1000) == int(score) // 4096
    retry = job.spec.terms.retry
    assert (retry.max_attempts, retry.backoff) == (3, Backoff.EXPONENTIAL)
    second = retry.delay_after(2, draw=1)
    # After the 2nd failure Bull waits 3 h, and BullMQ 2 h.
    assert second == (4 * HOUR if system == "bull" else 2 * HOUR)


@SYSTEMS
async def test_a_completed_job_keeps_its_result(play: Play, read: Read, source: RedisBackend, system: str) -> None:
    play(system, "states")
    found = by_name(await read(system, take_completed=True))
    job = job_of(found["works"])
    assert result_of(job) == {"sum": 2, "list": [1, None, "ü"]}
    assert data_of(job) == {"a": 1}
    assert (job.attempt, job.failures) == ((1, 0) if system == "bull" else (2, 1))
    assert [error.message for error in job.errors] == ([] if system == "bull" else ["not yet"])
    assert job.end_time == stamp(source, job, "finishedOn")
    assert LOGS in found["works"].why
    nothing = job_of(found["returns-nothing"])
    assert (nothing.result, nothing.attempt, nothing.failures) == (None, 1, 0)


async def test_progress_is_a_share(play: Play, read: Read) -> None:
    play("bull", "states")
    progress = job_of(by_name(await read("bull", take_completed=True))["works"]).progress
    assert progress is not None
    assert progress.fraction == 0.4


@SYSTEMS
async def test_a_stalled_job_ran_and_did_not_fail(play: Play, read: Read, system: str) -> None:
    play(system, "states")
    found = by_name(await read(system))
    once, stuck = job_of(found["stalled-once"]), job_of(found["is-stuck"])
    assert (once.state, once.attempt, once.failures, once.errors) == (State.WAITING, 1, 0, ())
    assert (stuck.state, stuck.attempt >= 2) == (State.FAILED, True)
    assert stuck.errors[-1].message.startswith("job stalled more than allowable limit")


async def test_what_was_to_fail_at_its_next_attempt_has_failed(play: Play, read: Read) -> None:
    play("bullmq", "deferred")
    [thing] = await read("bullmq")
    job = job_of(thing)
    assert (thing.verdict, thing.why) == (Verdict.CHANGED, (DEFERRED,))
    assert (job.state, job.errors[-1].message) == (State.FAILED, "job stalled more than allowable limit")
    assert job.end_time is not None


@SYSTEMS
async def test_an_ended_job_is_kept_as_if_it_ended_now(
    play: Play, read: Read, source: RedisBackend, system: str
) -> None:
    play(system, "states")
    days = 90 * 24 * 3_600_000
    client: Any = source.client
    for key in ("failed", "completed"):
        for job_id, score in client.zrange(f"bull:states:{key}", 0, -1, withscores=True):
            client.zadd(f"bull:states:{key}", {job_id: score - days})
            client.hset(b"bull:states:" + job_id, "finishedOn", int(score - days))
    now = datetime.now(UTC)
    ended = [job for job in taken(await read(system, take_completed=True)) if job.end_time is not None]
    assert len(ended) >= 4
    for job in ended:
        assert job.end_time is not None
        kept = (
            job.spec.terms.retention.failed_for if job.state is State.FAILED else job.spec.terms.retention.completed_for
        )
        least = timedelta(days=30) if job.state is State.FAILED else timedelta(days=1)
        assert job.end_time < now - timedelta(days=89)
        assert least <= job.end_time + kept - now < least + timedelta(minutes=1)
