"""Every RPC does what its proto says, over a real store."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf import field_mask_pb2, timestamp_pb2
from support.stubs import Refusal, refusal, refusal_in, request
from tocsin.v1 import bulk_pb2, job_pb2, payloads_pb2, queue_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin.v1 import server_service_pb2 as spb
from unit.server.api.running_api import Api

State = job_pb2.Job.State


async def refused(call: grpc.aio.UnaryUnaryCall) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def scheduled(api: Api, *args, **words) -> job_pb2.Job:
    return (await api.jobs.ScheduleJob(request(*args, **words))).job


async def test_a_scheduled_job_is_shown_with_defaults_filled_in(api: Api) -> None:
    answer = await api.jobs.ScheduleJob(request("", "resize_image", {"path": "a.png"}, delay=3))
    assert answer.outcome == pb.ScheduleJobResponse.CREATED
    assert answer.job.spec.WhichOneof("payload") is None
    assert answer.job.state == State.SCHEDULED
    uuid.UUID(answer.job.job_id)

    job = (await api.jobs.GetJob(pb.GetJobRequest(job_id=answer.job.job_id))).job

    assert (job.queue, job.spec.queue, job.spec.type) == ("default", "default", "resize_image")
    assert job.spec.data["path"] == "a.png"
    assert job.spec.retry.max_attempts == 3
    assert job.spec.retry.backoff == job_pb2.RetryPolicy.EXPONENTIAL
    assert job.spec.retry.initial_delay.ToTimedelta() == timedelta(seconds=2)
    assert job.spec.retention.failed_for.ToTimedelta() == timedelta(days=30)
    assert job.schedule_time.ToDatetime() - job.create_time.ToDatetime() == timedelta(seconds=3)
    basic = await api.jobs.GetJob(pb.GetJobRequest(job_id=job.job_id, view=job_pb2.Job.BASIC))
    assert basic.job.spec.WhichOneof("payload") is None


async def test_an_id_that_stands_is_refused_kept_or_replaced_as_asked(api: Api) -> None:
    await scheduled(api, "q", "t", job_id="a", delay=60)
    why = await refused(api.jobs.ScheduleJob(request("q", "t", job_id="a")))
    assert (why.code, why.reason, why.metadata["state"]) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "JOB_EXISTS",
        "SCHEDULED",
    )
    kept = await api.jobs.ScheduleJob(request("q", "u", job_id="a", on_conflict=pb.ScheduleJobRequest.KEEP))
    assert (kept.outcome, kept.job.spec.type) == (pb.ScheduleJobResponse.KEPT, "t")
    new = await api.jobs.ScheduleJob(request("q", "u", job_id="a", on_conflict=pb.ScheduleJobRequest.REPLACE))
    assert (new.outcome, new.job.spec.type) == (pb.ScheduleJobResponse.REPLACED, "u")


async def test_one_bad_item_of_a_batch_harms_no_other(api: Api) -> None:
    items = [request("q", "t", job_id="a"), request("q", "no good"), request("q", "t", job_id="a"), request("p", "t")]
    results = (await api.jobs.BatchScheduleJobs(pb.BatchScheduleJobsRequest(requests=items))).results
    assert [one.WhichOneof("result") for one in results] == ["response", "error", "error", "response"]
    assert refusal_in(results[1].error).fields == ["job.type"]
    assert refusal_in(results[2].error).reason == "JOB_EXISTS"


async def test_an_empty_batch_and_one_of_bad_items_only_are_answered(api: Api) -> None:
    why = await refused(api.jobs.BatchScheduleJobs(pb.BatchScheduleJobsRequest()))
    assert why.fields == ["requests"]
    answer = await api.jobs.BatchScheduleJobs(pb.BatchScheduleJobsRequest(requests=[pb.ScheduleJobRequest()]))
    assert refusal_in(answer.results[0].error).fields == ["job"]


async def test_payload_bytes_come_back_as_they_came(api: Api) -> None:
    struct = b"".join(
        b"\n" + bytes([len(entry)]) + entry
        for entry in (b"\n\x01" + key + b"\x12\x02 \x01" for key in (b"z", b"a", b"m"))
    )
    typed = payloads_pb2.EmailNotification(to=["ada@example.com"], text="Hi").SerializeToString() + b"\xfa\x3f\x03new"
    spec = {"a": b"\x12\x01t\x52" + bytes([len(struct)]) + struct, "b": b"\x62" + bytes([len(typed)]) + typed}
    for job_id, raw in spec.items():
        message = b"\x0a" + bytes([len(raw)]) + raw + pb.ScheduleJobRequest(job_id=job_id).SerializeToString()
        await api.channel.unary_unary("/tocsin.v1.JobService/ScheduleJob")(message)
    get = api.channel.unary_unary("/tocsin.v1.JobService/GetJob")
    assert struct in await get(pb.GetJobRequest(job_id="a").SerializeToString())
    assert typed in await get(pb.GetJobRequest(job_id="b").SerializeToString())


async def test_lists_page_newest_first_with_a_total(api: Api) -> None:
    ids = [(await scheduled(api, "q", "t", delay=60)).job_id for _ in range(7)]
    asked = pb.ListJobsRequest(queue="q", page_size=3)
    seen = []
    for _ in range(3):
        page = await api.jobs.ListJobs(asked)
        assert page.total_size == 7
        seen += [job.job_id for job in page.jobs]
        asked.page_token = page.next_page_token
    assert seen == ids[::-1]
    assert asked.page_token == ""
    skipped = await api.jobs.ListJobs(pb.ListJobsRequest(queue="q", page_size=2, skip=5))
    assert [job.job_id for job in skipped.jobs] == ids[1::-1]


async def test_a_token_of_another_filter_is_refused(api: Api) -> None:
    for _ in range(3):
        await scheduled(api, "q", "t")
    page = await api.jobs.ListJobs(pb.ListJobsRequest(queue="q", page_size=1))
    again = pb.ListJobsRequest(queue="q", page_size=1, types=["t"], page_token=page.next_page_token)
    assert (await refused(api.jobs.ListJobs(again))).fields == ["page_token"]


async def test_the_soonest_come_first_where_asked(api: Api) -> None:
    for seconds in (30, 10, 20):
        await scheduled(api, "q", "t", job_id=str(seconds), delay=seconds)
    asked = pb.ListJobsRequest(queue="q", states=[State.SCHEDULED], order_by="schedule_time", page_size=2)
    first = await api.jobs.ListJobs(asked)
    asked.page_token = first.next_page_token
    second = await api.jobs.ListJobs(asked)
    assert [job.job_id for job in (*first.jobs, *second.jobs)] == ["10", "20", "30"]


async def test_a_page_of_large_jobs_ends_early_and_goes_on(api: Api) -> None:
    body = bytes(900_000)
    items = [request("q", "t", raw=payloads_pb2.RawPayload(body=body), job_id=str(i)) for i in range(9)]
    await api.jobs.BatchScheduleJobs(pb.BatchScheduleJobsRequest(requests=items))
    asked = pb.ListJobsRequest(queue="q", view=job_pb2.Job.FULL)
    seen = []
    while True:
        page = await api.jobs.ListJobs(asked)
        assert page.ByteSize() <= 3_670_016
        seen += [job.job_id for job in page.jobs]
        if not page.next_page_token:
            break
        asked.page_token = page.next_page_token
    assert seen == [str(i) for i in range(8, -1, -1)]


async def test_cancel_run_retry_update_and_delete(api: Api) -> None:
    await scheduled(api, "q", "t", {"n": 1}, job_id="a", delay=60)
    ran = (await api.jobs.RunJob(pb.RunJobRequest(queue="q", job_id="a"))).job
    assert ran.state == State.WAITING
    cancelled = (await api.jobs.CancelJob(pb.CancelJobRequest(queue="q", job_id="a", reason="moved"))).job
    assert (cancelled.state, cancelled.cancel.reason) == (State.CANCELLED, "moved")
    retried = (await api.jobs.RetryJob(pb.RetryJobRequest(queue="q", job_id="a"))).job
    assert retried.state == State.WAITING
    change = pb.UpdateJobRequest(queue="q", job_id="a", job=request("q", "t", {"n": 2}, priority=7).job)
    change.delay.FromSeconds(90)
    updated = (await api.jobs.UpdateJob(change)).job
    assert (updated.state, updated.spec.priority) == (State.SCHEDULED, 7)
    full = (await api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="a"))).job
    assert full.spec.data["n"] == 2
    why = await refused(api.jobs.DeleteJob(pb.DeleteJobRequest(queue="q", job_id="a")))
    assert (why.code, why.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    await api.jobs.CancelJob(pb.CancelJobRequest(queue="q", job_id="a"))
    await api.jobs.DeleteJob(pb.DeleteJobRequest(queue="q", job_id="a"))
    gone = await refused(api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="a")))
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


async def test_an_update_changes_what_its_mask_names_and_checks_the_revision(api: Api) -> None:
    job = await scheduled(api, "q", "t", {"n": 1}, job_id="a", delay=60, priority=5)
    mask = field_mask_pb2.FieldMask(paths=["priority"])
    zero = pb.UpdateJobRequest(queue="q", job_id="a", job=request("q", "", {"n": 2}).job, update_mask=mask)
    changed = (await api.jobs.UpdateJob(zero)).job
    full = (await api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id="a"))).job
    assert (changed.spec.priority, full.spec.data["n"]) == (0, 1)
    zero.revision = job.revision
    assert (await refused(api.jobs.UpdateJob(zero))).code is grpc.StatusCode.ABORTED


async def test_an_update_cannot_change_the_type(api: Api) -> None:
    await scheduled(api, "q", "t", job_id="a", delay=60)
    mail = payloads_pb2.EmailNotification(to=["ada@example.com"], text="Hi")
    for spec in (job_pb2.JobSpec(type="u", priority=1), job_pb2.JobSpec(email_notification=mail)):
        why = await refused(api.jobs.UpdateJob(pb.UpdateJobRequest(queue="q", job_id="a", job=spec)))
        assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["job.type"])
    gone = pb.UpdateJobRequest(queue="q", job_id="b", job=job_pb2.JobSpec(type="u", priority=1))
    assert (await refused(api.jobs.UpdateJob(gone))).code is grpc.StatusCode.NOT_FOUND


async def test_many_are_cancelled_by_ids_or_by_filter(api: Api) -> None:
    for i in range(5):
        await scheduled(api, "q", "t" if i < 3 else "u", job_id=str(i), delay=60)
    by_ids = await api.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(queue="q", job_ids=["0", "9", "bad\x00"]))
    assert [one.WhichOneof("result") for one in by_ids.results] == ["job", "error", "error"]
    assert [refusal_in(one.error).reason for one in by_ids.results[1:]] == ["JOB_NOT_FOUND", "INVALID_FIELD"]
    assert (by_ids.cancelled, by_ids.asked) == (1, 0)
    by_type = await api.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(queue="q", types=["t"]))
    assert (by_type.cancelled, by_type.asked) == (2, 0)
    left = await api.jobs.ListJobs(pb.ListJobsRequest(queue="q", states=[State.SCHEDULED]))
    assert sorted(job.job_id for job in left.jobs) == ["3", "4"]


async def test_many_are_made_due_again_by_ids_or_by_filter_and_deleted_so(api: Api) -> None:
    for i in range(5):
        await scheduled(api, "q", "t" if i < 3 else "u", job_id=str(i), delay=60)
    await api.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(queue="q", states=[State.SCHEDULED]))
    ids = ["0", "9", "bad\x00"]
    by_ids = await api.jobs.BatchRetryJobs(bulk_pb2.BatchRetryJobsRequest(queue="q", job_ids=ids))
    assert [one.WhichOneof("result") for one in by_ids.results] == ["job", "error", "error"]
    assert [refusal_in(one.error).reason for one in by_ids.results[1:]] == ["JOB_NOT_FOUND", "INVALID_FIELD"]
    assert (by_ids.results[0].job.state, by_ids.retried) == (State.WAITING, 1)
    failed = await api.jobs.BatchRetryJobs(bulk_pb2.BatchRetryJobsRequest(queue="q", types=["t"]))
    assert failed.retried == 0  # where no state is named dead letters are meant, and these were cancelled
    asked = bulk_pb2.BatchRetryJobsRequest(queue="q", types=["t"], states=[State.CANCELLED], dry_run=True)
    assert (await api.jobs.BatchRetryJobs(asked)).retried == 2
    asked.dry_run = False
    assert (await api.jobs.BatchRetryJobs(asked)).retried == 2
    gone = await api.jobs.BatchDeleteJobs(bulk_pb2.BatchDeleteJobsRequest(queue="q", job_ids=["3", "0", "9"]))
    assert [one.job_id for one in gone.results] == ["3", "0", "9"]
    assert [one.HasField("error") for one in gone.results] == [False, True, True]
    assert [refusal_in(one.error).reason for one in gone.results[1:]] == ["WRONG_STATE", "JOB_NOT_FOUND"]
    assert gone.deleted == 1
    dry = bulk_pb2.BatchDeleteJobsRequest(queue="q", types=["u"], dry_run=True)
    assert (await api.jobs.BatchDeleteJobs(dry)).deleted == 1
    dry.dry_run = False
    assert (await api.jobs.BatchDeleteJobs(dry)).deleted == 1
    left = await api.jobs.ListJobs(pb.ListJobsRequest(queue="q"))
    assert sorted(job.job_id for job in left.jobs) == ["0", "1", "2"]


async def test_a_queue_is_configured_paused_and_resumed(api: Api) -> None:
    queue = queue_pb2.Queue(queue="q", completed_max=50, failed_max=25)
    queue.defaults.retry.max_attempts = 7
    queue.type_defaults["mail"].timeout.FromSeconds(9)
    queue.type_defaults["mail"].concurrency = 3
    queue.defaults.concurrency = 10_000
    set_ = (await api.queues.UpdateQueue(qpb.UpdateQueueRequest(queue=queue))).queue
    assert set_ == queue
    assert (await api.queues.GetQueue(qpb.GetQueueRequest(queue="q"))).queue == queue
    job = await scheduled(api, "q", "mail")
    assert (job.spec.retry.max_attempts, job.spec.timeout.seconds) == (7, 9)
    mask = field_mask_pb2.FieldMask(paths=["completed_max", "type_defaults.mail"])
    cleared = qpb.UpdateQueueRequest(queue=queue_pb2.Queue(queue="q"), update_mask=mask)
    after = (await api.queues.UpdateQueue(cleared)).queue
    assert not after.HasField("completed_max")
    assert not after.type_defaults
    assert (after.failed_max, after.defaults.retry.max_attempts, after.defaults.concurrency) == (25, 7, 10_000)

    paused = (await api.queues.PauseQueue(qpb.PauseQueueRequest(queue="q", reason="moving"))).queue
    assert (paused.paused, paused.pause_reason, paused.failed_max) == (True, "moving", 25)
    again = (await api.queues.PauseQueue(qpb.PauseQueueRequest(queue="q", reason="other"))).queue
    assert again == paused
    health = await api.queues.GetQueueHealth(qpb.GetQueueHealthRequest(queue="q"))
    assert health.paused
    assert not health.healthy
    assert "moving" in health.error
    resumed = (await api.queues.ResumeQueue(qpb.ResumeQueueRequest(queue="q"))).queue
    assert (resumed.paused, resumed.pause_reason, resumed.failed_max) == (False, "", 25)


async def test_the_ageing_of_priorities_is_set_shown_and_cleared(api: Api) -> None:
    def asked(paths: list[str], **words: object) -> qpb.UpdateQueueRequest:
        return qpb.UpdateQueueRequest(
            queue=queue_pb2.Queue(queue="q", **words), update_mask=field_mask_pb2.FieldMask(paths=paths)
        )

    await api.queues.UpdateQueue(asked(["priority_ageing"], priority_ageing=timedelta(seconds=600)))
    assert (await api.queues.GetQueue(qpb.GetQueueRequest(queue="q"))).queue.priority_ageing.seconds == 600
    other = (await api.queues.UpdateQueue(asked([], completed_max=5))).queue
    assert other.priority_ageing.seconds == 600
    cleared = (await api.queues.UpdateQueue(asked(["priority_ageing"]))).queue
    assert not cleared.HasField("priority_ageing")
    assert not (await api.queues.GetQueue(qpb.GetQueueRequest(queue="q"))).queue.HasField("priority_ageing")


async def test_a_queue_that_was_never_used_shows_zeros(api: Api) -> None:
    health = await api.queues.GetQueueHealth(qpb.GetQueueHealthRequest(queue="new"))
    assert health.healthy
    assert health.HasField("counts")
    assert health.counts == queue_pb2.StateCounts()
    assert (await api.queues.GetQueue(qpb.GetQueueRequest())).queue == queue_pb2.Queue(queue="default")
    assert (await api.queues.ResumeQueue(qpb.ResumeQueueRequest(queue="new"))).queue.paused is False


async def test_queue_health_names_types_that_nobody_runs(api: Api) -> None:
    await scheduled(api, "q", "lonely")
    health = await api.queues.GetQueueHealth(qpb.GetQueueHealthRequest(queue="q"))
    assert (health.healthy, list(health.unserved_types), health.counts.waiting) == (False, ["lonely"], 1)
    assert "lonely" in health.error


async def test_queues_are_listed_by_name_a_page_at_a_time(api: Api) -> None:
    for name in ("b", "a", "c"):
        await scheduled(api, name, "t", delay=60)
    first = await api.queues.ListQueues(qpb.ListQueuesRequest(page_size=2))
    rest = await api.queues.ListQueues(qpb.ListQueuesRequest(page_size=2, page_token=first.next_page_token))
    assert [entry.queue.queue for entry in (*first.queues, *rest.queues)] == ["a", "b", "c"]
    assert [entry.counts.scheduled for entry in first.queues] == [1, 1]
    assert rest.next_page_token == ""


async def test_purging_deletes_what_it_counted_before(api: Api) -> None:
    for i in range(3):
        await scheduled(api, "q", "t", job_id=str(i), delay=60)
    await api.jobs.CancelJob(pb.CancelJobRequest(queue="q", job_id="0"))
    dry = qpb.PurgeJobsRequest(queue="q", states=[State.CANCELLED, State.SCHEDULED], dry_run=True)
    assert (await api.queues.PurgeJobs(dry)).purged == 3
    later = timestamp_pb2.Timestamp()
    later.FromDatetime(datetime(2099, 1, 1, tzinfo=UTC))
    ended = qpb.PurgeJobsRequest(queue="q", states=[State.CANCELLED], end_before=later)
    assert (await api.queues.PurgeJobs(ended)).purged == 1
    assert (await api.queues.PurgeJobs(qpb.PurgeJobsRequest(queue="q", states=[State.SCHEDULED]))).purged == 2
    assert not (await api.jobs.ListJobs(pb.ListJobsRequest(queue="q"))).jobs


async def test_the_server_says_what_it_is(api: Api) -> None:
    info = await api.info.GetServerInfo(spb.GetServerInfoRequest())
    assert (info.version, info.provider, info.server) == ("1.2.3", "redis", "tests-1")
    assert info.store_version.startswith("valkey")
    assert info.limits.job_spec_bytes == 1_048_576
    assert info.limits.lease.ToTimedelta() == timedelta(seconds=30)
    assert all(info.limits.HasField(f.name) for f in info.limits.DESCRIPTOR.fields if f.message_type)
    unbounded = {f.name for f in info.limits.DESCRIPTOR.fields if not getattr(info.limits, f.name)}
    by_default = {"client_calls_per_second", "client_open_calls", "client_workers", "client_request_bytes"}
    assert unbounded == by_default


async def test_a_watched_job_is_shown_as_it_stands_then_each_change_until_its_end(api: Api) -> None:
    await scheduled(api, "q", "t", job_id="a", delay=60)
    watch = api.jobs.WatchJobs(pb.WatchJobsRequest(queue="q", job_id="a"))
    assert (await watch.read()).job.state == State.SCHEDULED
    await api.jobs.RunJob(pb.RunJobRequest(queue="q", job_id="a"))
    assert (await watch.read()).job.state == State.WAITING
    await api.jobs.CancelJob(pb.CancelJobRequest(queue="q", job_id="a"))
    assert (await watch.read()).job.state == State.CANCELLED
    assert await watch.read() is grpc.aio.EOF
    assert await watch.code() is grpc.StatusCode.OK


async def test_a_filter_is_watched_from_now_and_again_from_a_cursor(api: Api) -> None:
    await scheduled(api, "q", "t", delay=60)
    asked = pb.WatchJobsRequest(queue="q", types=["t"])
    watch = api.jobs.WatchJobs(asked)
    await watch.initial_metadata()  # sent once nothing is missed any more
    for kind in ("t", "u", "t"):
        await scheduled(api, "q", kind, delay=60)
    first = await watch.read()
    second = await watch.read()
    assert {first.job.spec.type, second.job.spec.type} == {"t"}
    watch.cancel()
    asked.cursor = first.cursor
    resumed = api.jobs.WatchJobs(asked)
    assert (await resumed.read()).job.job_id == second.job.job_id
    resumed.cancel()


async def test_unknown_jobs_and_cursors_are_not_watched(api: Api) -> None:
    for asked, code in (
        (pb.WatchJobsRequest(queue="q", job_id="a"), grpc.StatusCode.NOT_FOUND),
        (pb.WatchJobsRequest(queue="q", cursor="garbage"), grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await api.jobs.WatchJobs(asked).read()
        assert refusal(caught.value).code is code


async def test_64_unary_schedules_use_a_quarter_as_many_store_calls_and_one_bad_fails_alone(api: Api) -> None:
    await scheduled(api, "q", "t")

    async def store_calls() -> int:
        before = api.store.calls["add"]
        calls = [api.jobs.ScheduleJob(request("q", "t" if i else "", {"i": i})) for i in range(64)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert [i for i, one in enumerate(done) if isinstance(one, Exception)] == [0]
        assert refusal(done[0]).fields == ["job.type"]
        return api.store.calls["add"] - before

    # A machine that is busy lets them arrive over a longer time than a call waits for company.
    assert any([await store_calls() <= 16 for _ in range(5)])
