"""Jobs run: on time, again after failures, within their timeouts, and until they are cancelled."""

from __future__ import annotations

import uuid

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.stores import on_each_store
from support.stubs import State, Stubs, refusal, request
from tocsin.v1 import job_pb2, job_service_pb2

pytestmark = on_each_store

SOON = job_pb2.RetryPolicy(max_attempts=3, initial_delay=Duration(nanos=50_000_000), jitter=0)


def test_a_job_runs_after_its_delay_and_shows_what_it_returned(stubs: Stubs, queue: str) -> None:
    scheduled = stubs.schedule(queue, "echo", {"path": "a.png"}, delay=0.3)
    assert scheduled.state == State.SCHEDULED
    job = stubs.wait_for(queue, scheduled.job_id)
    assert job.state == State.COMPLETED
    assert dict(job.result.data.struct_value) == {"path": "a.png"}
    assert (job.attempt, job.failures, job.crashes) == (1, 0, 0)
    times = [job.create_time, job.schedule_time, job.start_time, job.end_time]
    assert times == sorted(times, key=lambda time: time.ToNanoseconds())
    assert job.schedule_time.ToMilliseconds() == job.create_time.ToMilliseconds() + 300


def test_a_job_without_an_id_gets_a_time_ordered_uuid(stubs: Stubs, queue: str) -> None:
    first, second = (stubs.schedule(queue, "noop", delay=3600).job_id for _ in range(2))
    assert uuid.UUID(first).variant == uuid.RFC_4122
    assert first < second


def test_sync_handlers_run_too(stubs: Stubs, queue: str) -> None:
    assert stubs.wait_for(queue, stubs.schedule(queue, "sync_noop").job_id).state == State.COMPLETED


def test_a_failing_job_is_tried_again_and_keeps_its_errors(stubs: Stubs, queue: str) -> None:
    job = stubs.wait_for(queue, stubs.schedule(queue, "fails_at_first", {"failures": 2}, retry=SOON).job_id)
    assert (job.state, job.attempt, job.failures) == (State.COMPLETED, 3, 2)
    assert [(error.attempt, error.type, error.message) for error in job.errors] == [
        (1, "ValueError", "attempt 1 fails"),
        (2, "ValueError", "attempt 2 fails"),
    ]
    assert "fails_at_first" in job.errors[0].trace


def test_a_job_fails_when_its_attempts_are_spent(stubs: Stubs, queue: str) -> None:
    job = stubs.wait_for(queue, stubs.schedule(queue, "fails", retry=SOON).job_id)
    assert (job.state, job.attempt, job.failures, len(job.errors)) == (State.FAILED, 3, 3, 3)


def test_waits_between_attempts_double(stubs: Stubs, queue: str) -> None:
    job_id = stubs.schedule(queue, "fails", retry=SOON).job_id
    stubs.wait_for(queue, job_id)
    first, second, third = (error.time.ToMilliseconds() for error in stubs.get(queue, job_id).errors)
    assert second - first >= 50
    assert third - second >= 100


def test_a_handler_may_end_its_job_or_choose_the_wait(stubs: Stubs, queue: str) -> None:
    for_good = stubs.wait_for(queue, stubs.schedule(queue, "fails_for_good").job_id)
    assert (for_good.state, for_good.attempt) == (State.FAILED, 1)
    later = stubs.wait_for(queue, stubs.schedule(queue, "asks_for_later").job_id)
    assert (later.state, later.attempt) == (State.COMPLETED, 2)
    assert later.start_time.ToMilliseconds() - later.errors[0].time.ToMilliseconds() >= 200


def test_an_attempt_past_its_timeout_has_failed(stubs: Stubs, queue: str) -> None:
    once = job_pb2.RetryPolicy(max_attempts=1)
    job_id = stubs.schedule(queue, "until_cancelled", timeout=Duration(nanos=300_000_000), retry=once).job_id
    job = stubs.wait_for(queue, job_id)
    assert (job.state, job.errors[-1].type) == (State.FAILED, "TIMEOUT")


@pytest.mark.parametrize("type", ["until_cancelled", "sync_until_cancelled"])
def test_a_running_job_is_cancelled_on_request(stubs: Stubs, queue: str, type: str) -> None:
    job_id = stubs.schedule(queue, type).job_id
    stubs.wait_for(queue, job_id, State.ACTIVE)
    stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue=queue, job_id=job_id, reason="moved"))
    job = stubs.wait_for(queue, job_id)
    assert (job.state, job.cancel.reason, job.attempt) == (State.CANCELLED, "moved", 1)


def test_progress_of_a_running_job_is_seen(stubs: Stubs, queue: str) -> None:
    job_id = stubs.schedule(queue, "reports_progress").job_id
    watch = stubs.jobs.WatchJobs(job_service_pb2.WatchJobsRequest(queue=queue, job_id=job_id), timeout=30)
    progress = next(change.job.progress for change in watch if change.job.HasField("progress"))
    assert (progress.fraction, progress.message) == (0.5, "half way")
    watch.cancel()
    stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue=queue, job_id=job_id))
    assert stubs.wait_for(queue, job_id).state == State.CANCELLED


def test_a_type_without_a_handler_waits_and_health_says_so(stubs: Stubs, queue: str) -> None:
    stubs.schedule(queue, "served_by_nobody", job_id="one")
    stubs.schedule(queue, "noop", job_id="two")
    assert stubs.wait_for(queue, "two").state == State.COMPLETED
    assert stubs.get(queue, "one").state == State.WAITING
    health = stubs.health(queue)
    assert list(health.unserved_types) == ["served_by_nobody"]
    assert not health.healthy
    assert "served_by_nobody" in health.error


def test_watching_a_job_shows_each_change_and_ends_after_its_end(stubs: Stubs, queue: str) -> None:
    stubs.schedule(queue, "noop", job_id="one", delay=0.5)
    watch = stubs.jobs.WatchJobs(job_service_pb2.WatchJobsRequest(queue=queue, job_id="one"), timeout=20)
    states = [change.job.state for change in watch]
    assert states[0] == State.SCHEDULED
    assert states[-2:] == [State.ACTIVE, State.COMPLETED]


def test_watching_an_unknown_job_is_not_found(stubs: Stubs, queue: str) -> None:
    watch = stubs.jobs.WatchJobs(job_service_pb2.WatchJobsRequest(queue=queue, job_id="nobody"), timeout=20)
    with pytest.raises(grpc.RpcError) as caught:
        next(watch)
    assert refusal(caught.value).reason == "JOB_NOT_FOUND"


def test_higher_priority_runs_first(stubs: Stubs, queue: str) -> None:
    from tocsin.v1 import queue_service_pb2

    stubs.queues.PauseQueue(queue_service_pb2.PauseQueueRequest(queue=queue))
    for priority in (0, 5, -5, 2**31 - 1):
        stubs.jobs.ScheduleJob(request(queue, "half_a_second", job_id=str(priority), priority=priority))
    stubs.queues.ResumeQueue(queue_service_pb2.ResumeQueueRequest(queue=queue))
    jobs = [stubs.wait_for(queue, str(priority)) for priority in (2**31 - 1, 5, 0, -5)]
    starts = [job.start_time.ToNanoseconds() for job in jobs]
    assert starts == sorted(starts)
