"""An id that stands already: FAIL, KEEP and REPLACE."""

from __future__ import annotations

from datetime import UTC, datetime

import grpc
import pytest
from support.stubs import Request, State, Stubs, refusal, refusal_in, request
from tocsin.v1 import job_service_pb2

Outcome = job_service_pb2.ScheduleJobResponse.Outcome
LATER = datetime(2099, 12, 24, 18, tzinfo=UTC)


def test_fail_is_the_default_and_says_how_the_standing_job_is(stubs: Stubs, queue: str) -> None:
    stubs.schedule(queue, "noop", job_id="one", delay=3600)
    with pytest.raises(grpc.RpcError) as caught:
        stubs.schedule(queue, "noop", job_id="one")
    why = refusal(caught.value)
    assert (why.code, why.reason) == (grpc.StatusCode.ALREADY_EXISTS, "JOB_EXISTS")
    assert why.metadata["state"] == "SCHEDULED"


def test_keep_answers_with_the_standing_job_and_compares_nothing(stubs: Stubs, queue: str) -> None:
    first = stubs.schedule(queue, "noop", job_id="one", delay=3600, priority=4)
    answer = stubs.jobs.ScheduleJob(request(queue, "other", job_id="one", on_conflict=Request.KEEP, at=LATER))
    assert answer.outcome == Outcome.KEPT
    assert answer.job == first


def test_keep_of_a_new_id_creates_it(stubs: Stubs, queue: str) -> None:
    answer = stubs.jobs.ScheduleJob(request(queue, "noop", job_id="one", on_conflict=Request.KEEP, delay=3600))
    assert answer.outcome == Outcome.CREATED


def test_replace_in_place_keeps_id_and_create_time_and_takes_the_rest(stubs: Stubs, queue: str) -> None:
    first = stubs.schedule(queue, "noop", {"old": 1}, job_id="one", delay=3600, priority=4, tags={"a": "b"})
    answer = stubs.jobs.ScheduleJob(
        request(queue, "other", {"new": 2}, job_id="one", on_conflict=Request.REPLACE, at=LATER)
    )
    now = stubs.get(queue, "one")
    assert answer.outcome == Outcome.REPLACED
    assert (now.create_time, now.job_id) == (first.create_time, "one")
    assert (now.spec.type, now.spec.priority, dict(now.spec.tags), dict(now.spec.data)) == ("other", 0, {}, {"new": 2})
    assert now.schedule_time.ToDatetime(UTC) == LATER
    assert now.revision > first.revision
    assert [job.job_id for job in stubs.list(queue)] == ["one"]


def test_replace_of_an_ended_job_makes_it_anew_and_it_runs_again(stubs: Stubs, queue: str) -> None:
    stubs.schedule(queue, "noop", job_id="one")
    ended = stubs.wait_for(queue, "one")
    answer = stubs.jobs.ScheduleJob(request(queue, "noop", job_id="one", on_conflict=Request.REPLACE, delay=0.05))
    assert answer.outcome == Outcome.REPLACED
    again = stubs.wait_for(queue, "one")
    assert again.state == State.COMPLETED
    assert again.create_time.ToNanoseconds() > ended.create_time.ToNanoseconds()


def test_replace_of_a_running_job_is_refused(stubs: Stubs, queue: str) -> None:
    stubs.schedule(queue, "until_cancelled", job_id="one")
    stubs.wait_for(queue, "one", State.ACTIVE)
    with pytest.raises(grpc.RpcError) as caught:
        stubs.schedule(queue, "noop", job_id="one", on_conflict=Request.REPLACE)
    why = refusal(caught.value)
    assert (why.code, why.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_ACTIVE")
    stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue=queue, job_id="one"))
    assert stubs.wait_for(queue, "one").state == State.CANCELLED


def test_one_bad_item_of_a_batch_harms_no_other_and_same_ids_are_taken_in_order(stubs: Stubs, queue: str) -> None:
    answer = stubs.jobs.BatchScheduleJobs(
        job_service_pb2.BatchScheduleJobsRequest(
            requests=[
                request(queue, "noop", job_id="a", delay=3600),
                request(queue, "no good type", job_id="b"),
                request(queue, "noop", job_id="a", delay=7200),
                request(queue, "other", job_id="a", on_conflict=Request.REPLACE, delay=7200),
                request(f"{queue}.2", "noop", job_id="a", delay=3600),
            ]
        )
    )
    created, wrong, stands, replaced, elsewhere = answer.results
    assert created.response.outcome == elsewhere.response.outcome == Outcome.CREATED
    assert refusal_in(wrong.error).code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal_in(wrong.error).fields == ["job.type"]
    assert refusal_in(stands.error).reason == "JOB_EXISTS"
    assert replaced.response.outcome == Outcome.REPLACED
    assert stubs.get(queue, "a").spec.type == "other"


def test_the_same_id_may_stand_in_two_queues(stubs: Stubs, queue: str) -> None:
    for name in (queue, f"{queue}.2"):
        assert stubs.schedule(name, "noop", job_id="one", delay=3600).queue == name
