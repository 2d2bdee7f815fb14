"""Queues: paused, resumed, listed, configured, purged, and honest about their health."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.stubs import State, Stubs, refusal
from tocsin.v1 import job_pb2, queue_pb2, server_service_pb2
from tocsin.v1 import queue_service_pb2 as pb


def test_a_paused_queue_begins_nothing_until_it_is_resumed(stubs: Stubs, queue: str) -> None:
    paused = stubs.queues.PauseQueue(pb.PauseQueueRequest(queue=queue, reason="maintenance")).queue
    assert (paused.paused, paused.pause_reason) == (True, "maintenance")
    stubs.schedule(queue, "noop", job_id="one")
    stubs.schedule(f"{queue}.2", "noop", job_id="one")
    stubs.wait_for(f"{queue}.2", "one")
    assert stubs.get(queue, "one").state == State.WAITING
    assert stubs.health(queue).paused
    again = stubs.queues.PauseQueue(pb.PauseQueueRequest(queue=queue, reason="maintenance")).queue
    assert again.pause_time == paused.pause_time
    assert not stubs.queues.ResumeQueue(pb.ResumeQueueRequest(queue=queue)).queue.paused
    assert stubs.wait_for(queue, "one").state == State.COMPLETED


def test_a_queue_that_was_never_used_shows_zeros(stubs: Stubs, queue: str) -> None:
    health = stubs.health(queue)
    assert health.healthy
    assert health.counts == queue_pb2.StateCounts()
    assert not stubs.queues.GetQueue(pb.GetQueueRequest(queue=queue)).queue.paused
    assert stubs.list(queue) == []


def test_health_counts_jobs_by_state(stubs: Stubs, queue: str) -> None:
    stubs.schedule(queue, "noop", job_id="done")
    stubs.wait_for(queue, "done")
    stubs.schedule(queue, "fails", job_id="failed", retry=job_pb2.RetryPolicy(max_attempts=1))
    stubs.wait_for(queue, "failed")
    stubs.schedule(queue, "noop", delay=3600)
    counts = stubs.health(queue).counts
    assert (counts.completed, counts.failed, counts.scheduled, counts.waiting, counts.active) == (1, 1, 1, 0, 0)


def test_queues_are_listed_by_name_and_paged(stubs: Stubs, queue: str) -> None:
    names = [f"{queue}.{letter}" for letter in "cab"]
    for name in names:
        stubs.schedule(name, "noop", delay=3600)
    found, token = [], ""
    while True:
        page = stubs.queues.ListQueues(pb.ListQueuesRequest(page_size=2, page_token=token))
        assert len(page.queues) <= 2
        found += [(entry.queue.queue, entry.counts.scheduled) for entry in page.queues]
        token = page.next_page_token
        if not token:
            break
    assert [name for name, _ in found] == sorted(name for name, _ in found)
    assert {(name, 1) for name in names} <= set(found)


def test_a_queues_defaults_are_filled_in_when_a_job_is_scheduled(stubs: Stubs, queue: str) -> None:
    before = stubs.schedule(queue, "noop", delay=3600)
    defaults = queue_pb2.JobDefaults(retry=job_pb2.RetryPolicy(max_attempts=7), timeout=Duration(seconds=9))
    for_type = queue_pb2.JobDefaults(retry=job_pb2.RetryPolicy(max_attempts=1))
    stubs.queues.UpdateQueue(
        pb.UpdateQueueRequest(queue=queue_pb2.Queue(queue=queue, defaults=defaults, type_defaults={"echo": for_type}))
    )
    noop, echo = (stubs.schedule(queue, name, delay=3600).spec for name in ("noop", "echo"))
    assert (noop.retry.max_attempts, noop.timeout.seconds) == (7, 9)
    assert (echo.retry.max_attempts, echo.timeout.seconds) == (1, 9)
    assert stubs.get(queue, before.job_id).spec.retry.max_attempts == 3


def test_purge_deletes_by_state_and_a_dry_run_only_counts(stubs: Stubs, queue: str) -> None:
    for number in range(5):
        stubs.schedule(queue, "noop", job_id=str(number), delay=0 if number < 2 else 3600)
    stubs.wait_for(queue, "0")
    stubs.wait_for(queue, "1")
    asked = pb.PurgeJobsRequest(queue=queue, states=[State.COMPLETED], dry_run=True)
    assert stubs.queues.PurgeJobs(asked).purged == 2
    assert len(stubs.list(queue)) == 5
    asked.dry_run = False
    assert stubs.queues.PurgeJobs(asked).purged == 2
    assert {job.state for job in stubs.list(queue)} == {State.SCHEDULED}
    with pytest.raises(grpc.RpcError) as caught:
        stubs.get(queue, "0")
    assert refusal(caught.value).reason == "JOB_NOT_FOUND"


def test_the_server_says_what_it_is(stubs: Stubs) -> None:
    info = stubs.server.GetServerInfo(server_service_pb2.GetServerInfoRequest())
    assert info.provider == "redis"
    assert info.store_version.split()[0] in ("redis", "valkey")
    assert info.durability == server_service_pb2.GetServerInfoResponse.NONE  # this test's Redis keeps nothing
    assert not info.store_embedded
    assert (info.limits.job_spec_bytes, info.limits.page_size, info.limits.max_crashes) == (1 << 20, 1000, 3)
    assert "noop" in info.handled_types
