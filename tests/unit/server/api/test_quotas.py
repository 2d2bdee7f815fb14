"""The quota of jobs holds for each call that brings jobs, and says which setting it is."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from redis import Redis
from support.redis_servers import ServerProcess
from support.spied_store import SpiedStore
from support.stubs import Refusal, refusal, refusal_in, request
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin.v1 import reminder_service_pb2 as rpb
from tocsin.v1 import reminder_service_pb2_grpc, schedule_pb2, schedule_service_pb2_grpc, server_service_pb2
from tocsin.v1 import schedule_service_pb2 as spb
from tocsin.v1 import transfer_pb2 as tpb
from tocsin_server.api.payload_rules import PayloadRules
from tocsin_server.domain.quotas import Quotas
from tocsin_server.messages.rules import MailRules, TextRules
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.store import RedisStore
from unit.server.api.record_builder import a_job
from unit.server.api.running_api import Api, running_api

QUOTA = {"quota": "jobs in queue 'q'", "limit": "3"}


@pytest.fixture
async def api(shared_valkey: ServerProcess, valkey_client: Redis) -> AsyncIterator[Api]:
    """Three jobs a queue."""
    store = RedisStore(RedisConnection(shared_valkey.url), "tests", quotas=Quotas(queues=5, jobs=3))
    await store.open()
    async with running_api(SpiedStore(store)) as api:
        yield api
    await store.close()


async def scheduled(api: Api, *names: str, **more: Any) -> None:
    for name in names:
        await api.jobs.ScheduleJob(request("q", "t", job_id=name, delay=60, **more))


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def count(api: Api) -> int:
    page = await api.jobs.ListJobs(pb.ListJobsRequest(queue="q", page_size=1_000))
    return len(page.jobs)


async def test_one_more_job_is_refused_and_what_it_says_can_be_read_by_programs(api: Api) -> None:
    await scheduled(api, "a", "b", "c")
    why = await refused(scheduled(api, "d"))
    assert (why.code, why.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert why.metadata == QUOTA
    assert "quotas.jobs_per_queue" in why.message


async def test_of_a_batch_what_fits_is_taken(api: Api) -> None:
    batch = pb.BatchScheduleJobsRequest(requests=[request("q", "t", delay=60) for _ in range(5)])
    results = (await api.jobs.BatchScheduleJobs(batch)).results
    assert [one.WhichOneof("result") for one in results] == ["response"] * 3 + ["error"] * 2
    assert refusal_in(results[4].error).metadata == QUOTA


async def test_an_import_brings_no_more_either(api: Api) -> None:
    records = [a_job(f"j{number}") for number in range(5)]
    answer = await api.jobs.ImportJobs(iter([tpb.ImportJobsRequest(records=records)]))
    assert (answer.created, answer.refused, await count(api)) == (3, 2, 3)
    assert refusal_in(answer.refused_items[0].error).metadata == QUOTA


async def test_a_set_of_reminders_brings_no_more_either(api: Api) -> None:
    asked = rpb.ScheduleBookingRemindersRequest(queue="q")
    asked.reminder.booking_id, asked.reminder.title = "42", "A table"
    asked.reminder.email_to.append("ada@example.com")
    asked.reminder.booking_time.FromDatetime(datetime.now(UTC) + timedelta(days=30))
    for number in range(20):
        asked.offsets.add().FromTimedelta(timedelta(hours=number + 1))
    stub: Any = reminder_service_pb2_grpc.ReminderServiceStub(api.channel)
    why = await refused(stub.ScheduleBookingReminders(asked))
    assert why.reason == "OUTCOME_UNKNOWN"  # some of them stand
    assert "quotas.jobs_per_queue" in why.message
    assert await count(api) == 3


async def test_what_is_deleted_makes_room_and_what_is_replaced_needs_none(api: Api) -> None:
    await scheduled(api, "a", "b", "c")
    await scheduled(api, "b", on_conflict=pb.ScheduleJobRequest.REPLACE)
    for name in ("a", "c"):
        await api.jobs.CancelJob(pb.CancelJobRequest(queue="q", job_id=name))
    await scheduled(api, "a", on_conflict=pb.ScheduleJobRequest.REPLACE)  # it had ended: gone, and made anew
    assert (await refused(scheduled(api, "d"))).metadata == QUOTA
    await api.queues.PurgeJobs(qpb.PurgeJobsRequest(queue="q", states=[7]))
    await scheduled(api, "d")
    assert (await refused(scheduled(api, "e"))).metadata == QUOTA


async def test_both_quotas_are_shown(api: Api) -> None:
    info = await api.info.GetServerInfo(server_service_pb2.GetServerInfoRequest())
    assert (info.limits.queues, info.limits.jobs_per_queue, info.limits.payload_bytes) == (5, 3, 2_000)


async def test_a_refusal_keeps_nothing_of_what_it_came_through(api: Api) -> None:
    """It would stay until Python looks for rings, which a server does rarely."""
    await scheduled(api, "a", "b", "c")
    reminders: Any = reminder_service_pb2_grpc.ReminderServiceStub(api.channel)
    asked = rpb.ScheduleBookingRemindersRequest(queue="q")
    asked.reminder.booking_id, asked.reminder.title = "42", "A table"
    asked.reminder.email_to.append("ada@example.com")
    asked.reminder.booking_time.FromDatetime(datetime.now(UTC) + timedelta(days=30))
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        assert (await refused(scheduled(api, "d"))).metadata == QUOTA
        assert (await refused(reminders.ScheduleBookingReminders(asked))).reason == "OUTCOME_UNKNOWN"
        gc.collect()
        found = {type(one).__name__ for one in gc.garbage} & {"Draft", "JobRequest", "QuotaExceeded", "OutcomeUnknown"}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert found == set()


async def test_a_payload_has_so_many_bytes_wherever_it_comes_in(spied: SpiedStore) -> None:
    rules = PayloadRules(MailRules(), TextRules(), 2_000)
    small, large = ({"x": "y" * size} for size in (1_900, 2_000))
    schedule = schedule_pb2.Schedule(queue="q", schedule_id="s")
    schedule.cron.lines.append("0 3 * * *")
    schedule.job.type = "t"
    schedule.job.data.update(large)
    reminder = rpb.ScheduleBookingRemindersRequest(queue="q")
    reminder.reminder.booking_id, reminder.reminder.title = "42", "A table"
    reminder.reminder.email_to.append("ada@example.com")
    reminder.reminder.booking_time.FromDatetime(datetime.now(UTC) + timedelta(days=30))
    reminder.reminder.template_data.update(large)
    update = pb.UpdateJobRequest(queue="q", job_id="a")
    update.job.data.update(large)
    change = spb.UpdateScheduleRequest(schedule=schedule, update_mask=FieldMask(paths=["job"]))
    async with running_api(spied, rules=rules) as api:
        schedules: Any = schedule_service_pb2_grpc.ScheduleServiceStub(api.channel)
        reminders: Any = reminder_service_pb2_grpc.ReminderServiceStub(api.channel)
        await api.jobs.ScheduleJob(request("q", "t", small, job_id="a", delay=60))
        schedule.job.data.update(small)
        await schedules.CreateSchedule(spb.CreateScheduleRequest(schedule=schedule))
        schedule.schedule_id = "other"
        schedule.job.data.update(large)
        calls = {
            "job.data": [(api.jobs.ScheduleJob, request("q", "t", large)), (api.jobs.UpdateJob, update)],
            "schedule.job.data": [
                (schedules.CreateSchedule, spb.CreateScheduleRequest(schedule=schedule)),
                (schedules.UpdateSchedule, change),
            ],
            "reminder": [(reminders.ScheduleBookingReminders, reminder)],
        }
        for field, each in calls.items():
            for call, message in each:
                why = await refused(call(message))
                assert (why.code, why.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")
                assert (why.metadata["field"], why.metadata["limit"]) == (field, "2000")
        batch = pb.BatchScheduleJobsRequest(requests=[request("q", "t", one, delay=60) for one in (small, large)])
        results = (await api.jobs.BatchScheduleJobs(batch)).results
        assert [one.WhichOneof("result") for one in results] == ["response", "error"]
