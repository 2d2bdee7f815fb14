"""Ended jobs stand for their retention, and then are gone within a tick."""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from support.eventually import until
from support.stubs import State, Stubs, refusal
from tocsin.v1 import job_pb2, queue_pb2
from tocsin.v1 import queue_service_pb2 as pb


def gone(stubs: Stubs, queue: str, job_id: str) -> bool:
    try:
        stubs.get(queue, job_id)
    except grpc.RpcError as error:
        return refusal(error).reason == "JOB_NOT_FOUND"
    return False


def test_a_job_past_its_age_is_gone_within_a_tick_and_dead_letters_keep_their_own(stubs: Stubs, queue: str) -> None:
    short = job_pb2.Retention(completed_for=Duration(seconds=1), failed_for=Duration(seconds=600))
    once = job_pb2.RetryPolicy(max_attempts=1)
    stubs.schedule(queue, "noop", job_id="done", retention=short)
    stubs.schedule(queue, "fails", job_id="failed", retention=short, retry=once)
    ended = stubs.wait_for(queue, "done")
    stubs.wait_for(queue, "failed")
    until(lambda: gone(stubs, queue, "done"), within=1 + 1 + 1, what="1 s of age, a tick, and some air")
    assert stubs.get(queue, "failed").state == State.FAILED
    again = stubs.schedule(queue, "noop", job_id="done")  # the id is free
    assert again.create_time.ToNanoseconds() - ended.end_time.ToNanoseconds() >= 1e9


def test_what_just_ended_is_spared_from_trimming_by_count(stubs: Stubs, queue: str) -> None:
    stubs.queues.UpdateQueue(pb.UpdateQueueRequest(queue=queue_pb2.Queue(queue=queue, completed_max=0)))
    short = job_pb2.Retention(completed_for=Duration(seconds=1))
    stubs.schedule(queue, "noop", job_id="kept")
    stubs.wait_for(queue, "kept")
    stubs.schedule(queue, "noop", job_id="marker", retention=short)
    stubs.wait_for(queue, "marker")
    until(lambda: gone(stubs, queue, "marker"), within=4, what="the trimmer came by")
    assert stubs.get(queue, "kept").state == State.COMPLETED
