"""What calls do to a job, state by state, through a real server: the table of the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.stubs import State, Stubs, refusal, request
from tocsin.v1 import job_pb2, job_service_pb2

CALLS: dict[str, Callable[[Stubs, str], job_pb2.Job | None]] = {
    "Cancel": lambda s, q: s.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue=q, job_id="one")).job,
    "Run": lambda s, q: s.jobs.RunJob(job_service_pb2.RunJobRequest(queue=q, job_id="one")).job,
    "Retry": lambda s, q: s.jobs.RetryJob(job_service_pb2.RetryJobRequest(queue=q, job_id="one")).job,
    "Update": lambda s, q: (
        s.jobs.UpdateJob(job_service_pb2.UpdateJobRequest(queue=q, job_id="one", job=job_pb2.JobSpec(priority=7))).job
    ),
    "Delete": lambda s, q: s.jobs.DeleteJob(job_service_pb2.DeleteJobRequest(queue=q, job_id="one")) and None,
}

#: The state after the call, or "same" (OK, unchanged), "gone", "asked", "yes" (changed, state kept), "PRE".
TABLE = {
    "SCHEDULED": {"Cancel": "CANCELLED", "Run": "WAITING", "Retry": "PRE", "Update": "yes", "Delete": "PRE"},
    "WAITING": {"Cancel": "CANCELLED", "Run": "same", "Retry": "same", "Update": "yes", "Delete": "PRE"},
    "ACTIVE": {"Cancel": "asked", "Run": "same", "Retry": "same", "Update": "PRE", "Delete": "PRE"},
    "COMPLETED": {"Cancel": "PRE", "Run": "PRE", "Retry": "PRE", "Update": "PRE", "Delete": "gone"},
    "FAILED": {"Cancel": "PRE", "Run": "PRE", "Retry": "WAITING", "Update": "PRE", "Delete": "gone"},
    "CANCELLED": {"Cancel": "same", "Run": "PRE", "Retry": "WAITING", "Update": "PRE", "Delete": "gone"},
}


def bring_to(stubs: Stubs, queue: str, state: str) -> None:
    """A job "one" in this state, in a queue where nothing else begins meanwhile."""
    once = job_pb2.RetryPolicy(max_attempts=1)
    match state:
        case "SCHEDULED":
            stubs.schedule(queue, "noop", job_id="one", delay=3600)
        case "WAITING":
            stubs.schedule(queue, "served_by_nobody", job_id="one")
        case "ACTIVE":
            stubs.schedule(queue, "until_cancelled", job_id="one")
            stubs.wait_for(queue, "one", State.ACTIVE)
        case "COMPLETED":
            stubs.schedule(queue, "noop", job_id="one")
            assert stubs.wait_for(queue, "one").state == State.COMPLETED
        case "FAILED":
            stubs.schedule(queue, "fails", job_id="one", retry=once)
            assert stubs.wait_for(queue, "one").state == State.FAILED
        case "CANCELLED":
            stubs.schedule(queue, "noop", job_id="one", delay=3600)
            CALLS["Cancel"](stubs, queue)


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("state", TABLE)
def test_each_verb_does_what_the_contract_says(stubs: Stubs, queue: str, state: str, verb: str) -> None:
    bring_to(stubs, queue, state)
    if state in ("FAILED", "CANCELLED") and verb == "Retry":
        stubs.queues.PauseQueue(pause(queue))  # so that what is made due again is seen before it runs
    before = stubs.get(queue, "one")
    wanted = TABLE[state][verb]
    if wanted == "PRE":
        with pytest.raises(grpc.RpcError) as caught:
            CALLS[verb](stubs, queue)
        why = refusal(caught.value)
        assert why.code == grpc.StatusCode.FAILED_PRECONDITION
        assert (why.reason, why.metadata["state"]) == ("WRONG_STATE", state)
        assert stubs.get(queue, "one") == before
        return
    answer = CALLS[verb](stubs, queue)
    if wanted == "gone":
        with pytest.raises(grpc.RpcError) as caught:
            stubs.get(queue, "one")
        assert refusal(caught.value).reason == "JOB_NOT_FOUND"
        return
    assert answer is not None
    if wanted == "same":
        assert stubs.get(queue, "one") == before
    elif wanted == "asked":
        assert answer.HasField("cancel")
        assert stubs.wait_for(queue, "one").state == State.CANCELLED
    elif wanted == "yes":
        assert (State.Name(answer.state), answer.spec.priority) == (state, 7)
        assert answer.revision > before.revision
    elif not (state == "SCHEDULED" and verb == "Run"):  # that one may be running by now
        assert State.Name(answer.state) == wanted


def pause(queue: str) -> Any:
    from tocsin.v1 import queue_service_pb2

    return queue_service_pb2.PauseQueueRequest(queue=queue)


@pytest.mark.parametrize("verb", CALLS)
def test_an_unknown_id_is_not_found(stubs: Stubs, queue: str, verb: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        CALLS[verb](stubs, queue)
    why = refusal(caught.value)
    assert (why.code, why.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


def test_retry_counts_failures_anew_and_keeps_errors_and_attempt(stubs: Stubs, queue: str) -> None:
    bring_to(stubs, queue, "FAILED")
    stubs.queues.PauseQueue(pause(queue))
    before = stubs.get(queue, "one")
    after = CALLS["Retry"](stubs, queue)
    assert after is not None
    assert (before.failures, after.failures, after.attempt) == (1, 0, before.attempt)
    assert [error.message for error in after.errors] == ["this job always fails"]


def test_update_with_an_old_revision_is_aborted(stubs: Stubs, queue: str) -> None:
    job = stubs.schedule(queue, "noop", job_id="one", delay=3600)
    spec = job_pb2.JobSpec(priority=9)
    asked = job_service_pb2.UpdateJobRequest(queue=queue, job_id="one", job=spec, revision=job.revision)
    changed = stubs.jobs.UpdateJob(asked).job
    with pytest.raises(grpc.RpcError) as caught:
        stubs.jobs.UpdateJob(asked)
    assert refusal(caught.value).code == grpc.StatusCode.ABORTED
    assert stubs.get(queue, "one").revision == changed.revision


def test_update_changes_only_what_its_mask_names(stubs: Stubs, queue: str) -> None:
    stubs.schedule(queue, "noop", {"a": 1}, job_id="one", delay=3600, priority=3)
    asked = job_service_pb2.UpdateJobRequest(queue=queue, job_id="one", job=request(queue, "noop", {"b": 2}).job)
    asked.job.priority = 99
    asked.update_mask.paths.append("payload")
    stubs.jobs.UpdateJob(asked)
    now = stubs.get(queue, "one")
    assert (dict(now.spec.data), now.spec.priority, now.state) == ({"b": 2}, 3, State.SCHEDULED)


def test_update_changes_the_terms_of_a_job_and_leaves_what_is_not_named(stubs: Stubs, queue: str) -> None:
    policy = job_pb2.RetryPolicy(max_attempts=5, initial_delay=Duration(seconds=7), max_delay=Duration(seconds=70))
    stubs.schedule(queue, "noop", {"a": 1}, job_id="one", delay=3600, priority=3, tags={"k": "v"}, retry=policy)

    def update(*mask: str, **spec: Any) -> job_pb2.Job:
        asked = job_service_pb2.UpdateJobRequest(queue=queue, job_id="one", job=job_pb2.JobSpec(**spec))
        asked.update_mask.paths.extend(mask)
        stubs.jobs.UpdateJob(asked)
        return stubs.get(queue, "one")

    retention = job_pb2.Retention(failed_for=Duration(seconds=60))
    job = update(
        tags={"x": "1", "y": "2"},
        timeout=Duration(seconds=9),
        retry=job_pb2.RetryPolicy(max_attempts=2),
        retention=retention,
    )
    assert (dict(job.spec.tags), job.spec.timeout.seconds) == ({"x": "1", "y": "2"}, 9)
    assert (job.spec.retry.max_attempts, job.spec.retry.initial_delay.seconds) == (2, 7)
    assert (job.spec.retention.failed_for.seconds, job.spec.retention.completed_for.seconds) == (60, 86_400)
    assert (dict(job.spec.data), job.spec.priority, job.state) == ({"a": 1}, 3, State.SCHEDULED)
    assert [one.job_id for one in stubs.list(queue, tags={"x": "1"})] == ["one"]
    assert stubs.list(queue, tags={"k": "v"}) == []

    job = update("retry", retry=job_pb2.RetryPolicy(max_delay=Duration(seconds=3)), tags={"not": "named"})
    assert (job.spec.retry.initial_delay.seconds, job.spec.retry.max_delay.seconds) == (3, 3)
    assert (dict(job.spec.tags), job.spec.timeout.seconds) == ({"x": "1", "y": "2"}, 9)
    job = update("tags", "timeout")
    assert (dict(job.spec.tags), job.spec.HasField("timeout")) == ({}, False)
    assert stubs.list(queue, tags={"x": "1"}) == []
    for mask, field in (("retry", "job.retry"), ("retention", "job.retention")):
        with pytest.raises(grpc.RpcError) as caught:
            update(mask)
        assert refusal(caught.value).fields == [field]
    with pytest.raises(grpc.RpcError) as caught:
        update(timeout=Duration(), tags={"": "v"}, retry=job_pb2.RetryPolicy(max_attempts=0))
    assert set(refusal(caught.value).fields) >= {"job.timeout", "job.retry.max_attempts"}
    assert stubs.get(queue, "one") == job


def test_a_cancelled_job_tells_who_why_and_when(stubs: Stubs, queue: str) -> None:
    stubs.schedule(queue, "until_cancelled", job_id="one")
    stubs.wait_for(queue, "one", State.ACTIVE)
    stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue=queue, job_id="one", reason="moved"))
    job = stubs.wait_for(queue, "one")
    cancel = job.cancel
    assert (job.state, cancel.reason) == (State.CANCELLED, "moved")
    times = [cancel.ask_time, cancel.deliver_time, cancel.obey_time]
    assert times == sorted(times, key=lambda time: time.ToNanoseconds())
    assert all(time.ToNanoseconds() for time in times)


def test_many_jobs_are_cancelled_by_ids_and_by_filter(stubs: Stubs, queue: str) -> None:
    for number in range(5):
        stubs.schedule(queue, "noop", job_id=str(number), delay=3600, tags={"booking": str(number % 2)})
    by_ids = stubs.jobs.BatchCancelJobs(
        job_service_pb2.BatchCancelJobsRequest(queue=queue, job_ids=["0", "unknown", "1"])
    )
    assert [result.job_id for result in by_ids.results] == ["0", "unknown", "1"]
    assert [result.WhichOneof("result") for result in by_ids.results] == ["job", "error", "job"]
    assert by_ids.cancelled == 2
    by_filter = stubs.jobs.BatchCancelJobs(job_service_pb2.BatchCancelJobsRequest(queue=queue, tags={"booking": "0"}))
    assert by_filter.cancelled == 2  # 2 and 4; 0 was cancelled before and does not match the open states
    assert [job.job_id for job in stubs.list(queue, State.SCHEDULED)] == ["3"]
