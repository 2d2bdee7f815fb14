"""Concurrent unary calls travel to the store together, and answer each for itself."""

from __future__ import annotations

import grpc
import pytest
from support.redis_backend import RedisBackend
from support.stubs import Stubs, refusal, request


def test_64_concurrent_schedules_use_at_most_16_store_calls(
    quiet: Stubs, quiet_redis: RedisBackend, queue: str
) -> None:
    quiet.schedule(queue, "noop", delay=3600)  # the queue is known and the script loaded
    # One entry in the queue's stream for each script call that adds; servers call other scripts for themselves.
    before = quiet_redis.calls()["xadd"]
    # Where the machine is busy the calls come one by one. None is through before all are on their way.
    quiet_redis.client.execute_command("CLIENT", "PAUSE", 500, "WRITE")
    calls = [quiet.jobs.ScheduleJob.future(request(queue, "noop", job_id=str(n), delay=3600)) for n in range(64)]
    assert [call.result().job.job_id for call in calls] == [str(n) for n in range(64)]
    assert quiet_redis.calls()["xadd"] - before <= 16
    assert len(quiet.list(queue)) == 65


def test_one_invalid_among_64_fails_alone(quiet: Stubs, queue: str) -> None:
    quiet.schedule(queue, "noop", job_id="standing", delay=3600)
    asked = [request(queue, "noop", job_id=str(n), delay=3600) for n in range(64)]
    asked[20].job.type = "no good type"
    asked[40].job_id = "standing"
    calls = [quiet.jobs.ScheduleJob.future(one) for one in asked]
    reasons = {}
    for number, call in enumerate(calls):
        if (error := call.exception()) is not None:
            assert isinstance(error, grpc.RpcError)
            reasons[number] = refusal(error).reason
    assert reasons == {20: "INVALID_FIELD", 40: "JOB_EXISTS"}
    assert {job.job_id for job in quiet.list(queue)} == {"standing", *map(str, range(64))} - {"20", "40"}


def test_a_lone_schedule_does_not_wait_for_company(quiet: Stubs, queue: str) -> None:
    import time

    took = []
    for _ in range(30):
        begun = time.perf_counter()
        quiet.schedule(queue, "noop", delay=3600)
        took.append(time.perf_counter() - begun)
    assert sorted(took)[15] < 0.02
    with pytest.raises(grpc.RpcError):
        quiet.schedule(queue, "")
