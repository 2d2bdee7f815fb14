"""ScheduleService keeps schedules as its proto says, over a real store."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from support.stubs import Refusal, refusal
from tocsin.v1 import (
    calendar_pb2,
    calendar_service_pb2,
    calendar_service_pb2_grpc,
    job_pb2,
    payloads_pb2,
    schedule_pb2,
    schedule_service_pb2_grpc,
)
from tocsin.v1 import job_service_pb2 as jpb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin.v1 import schedule_service_pb2 as pb
from unit.server.api.running_api import Api

Schedule = schedule_pb2.Schedule


@pytest.fixture
def schedules(api: Api) -> schedule_service_pb2_grpc.ScheduleServiceAsyncStub:
    return schedule_service_pb2_grpc.ScheduleServiceStub(api.channel)


def a_schedule(schedule_id: str = "pay-day", **fields) -> Schedule:
    plain: dict[str, Any] = {
        "cron": schedule_pb2.Cron(lines=["0 9 L * *"], time_zone="Europe/Berlin"),
        "job": job_pb2.JobSpec(type="pay", raw=payloads_pb2.RawPayload(body=b"\xff\x00")),
    }
    if "every" in fields:
        del plain["cron"]
    return Schedule(schedule_id=schedule_id, **({"queue": "q"} | plain | fields))


async def created(schedules, schedule: Schedule) -> Schedule:
    return (await schedules.CreateSchedule(pb.CreateScheduleRequest(schedule=schedule))).schedule


async def refused(call: grpc.aio.UnaryUnaryCall) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def got(schedules, schedule_id: str = "pay-day") -> Schedule:
    return (await schedules.GetSchedule(pb.GetScheduleRequest(queue="q", schedule_id=schedule_id))).schedule


async def test_a_schedule_stands_as_it_was_made(schedules) -> None:
    asked = a_schedule(
        overlap=Schedule.QUEUE_ONE, missed=schedule_pb2.CatchUp.ALL, note="n", max_runs=3, jitter=timedelta(seconds=9)
    )
    asked.catch_up_window.FromSeconds(3600)
    made = await created(schedules, asked)
    assert made.job.WhichOneof("payload") is None
    found = await got(schedules)
    assert found.job.raw.body == b"\xff\x00"
    assert found.job.retry.max_attempts == 3
    assert (found.overlap, found.missed, found.catch_up_max) == (Schedule.QUEUE_ONE, schedule_pb2.CatchUp.ALL, 100)
    assert (found.revision, found.note, found.max_runs, found.jitter.seconds) == (1, "n", 3, 9)
    assert found.catch_up_window.seconds == 3600
    assert found.cron == asked.cron
    assert len(found.next_times) == 3
    assert found.next_times[0].ToDatetime(UTC) > datetime.now(UTC)
    assert not found.HasField("last_time")


async def test_an_id_stands_once(schedules) -> None:
    await created(schedules, a_schedule())
    why = await refused(schedules.CreateSchedule(pb.CreateScheduleRequest(schedule=a_schedule())))
    assert (why.code, why.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SCHEDULE_EXISTS")


async def test_what_is_not_there_is_not_found(schedules) -> None:
    for method in ("GetSchedule", "DeleteSchedule", "PauseSchedule", "ResumeSchedule", "TriggerSchedule"):
        ask = getattr(pb, f"{method}Request")(queue="q", schedule_id="none")
        why = await refused(getattr(schedules, method)(ask))
        assert (why.code, why.reason) == (grpc.StatusCode.NOT_FOUND, "SCHEDULE_NOT_FOUND"), method
        why = await refused(getattr(schedules, method)(type(ask)(queue="q")))
        assert why.fields == ["schedule_id"]


async def test_all_that_is_wrong_is_named(schedules) -> None:
    wrong = Schedule(
        queue="q",
        cron=schedule_pb2.Cron(lines=["x"]),
        calendars=[schedule_pb2.CalendarUse(name="the office")],
        job=job_pb2.JobSpec(queue="other"),
        overlap=9,
        missed=9,
        catch_up_max=0,
        note="n" * 1025,
    )
    wrong.catch_up_window.FromSeconds(59)
    why = await refused(schedules.CreateSchedule(pb.CreateScheduleRequest(schedule=wrong)))
    assert why.fields == [
        "schedule.cron.lines[0]",
        "schedule.calendars[0].name",
        "schedule.schedule_id",
        "schedule.job.type",
        "schedule.job.queue",
        "schedule.overlap",
        "schedule.missed",
        "schedule.catch_up_window",
        "schedule.catch_up_max",
        "schedule.note",
    ]
    assert (await refused(schedules.CreateSchedule(pb.CreateScheduleRequest()))).fields == ["schedule"]
    no_job = Schedule(schedule_id="a", cron=schedule_pb2.Cron(lines=["@daily"]))
    why = await refused(schedules.CreateSchedule(pb.CreateScheduleRequest(schedule=no_job)))
    assert why.fields == ["schedule.job"]
    assert not (await schedules.ListSchedules(pb.ListSchedulesRequest(queue="q"))).schedules


async def test_they_are_listed_by_id(schedules) -> None:
    for number in range(5):
        await created(schedules, a_schedule(f"s{number}"))
    found, token = [], ""
    while True:
        ask = pb.ListSchedulesRequest(queue="q", page_size=2, page_token=token)
        page = await schedules.ListSchedules(ask)
        found += [one.schedule_id for one in page.schedules]
        assert all(len(one.next_times) == 1 for one in page.schedules)
        token = page.next_page_token
        if not token:
            break
    assert found == [f"s{number}" for number in range(5)]
    why = await refused(schedules.ListSchedules(pb.ListSchedulesRequest(queue="q", page_token="x")))
    assert why.fields == ["page_token"]


async def update(schedules, *paths: str, **fields) -> pb.UpdateScheduleRequest:
    schedule = Schedule(queue="q", schedule_id="pay-day", **fields)
    return pb.UpdateScheduleRequest(schedule=schedule, update_mask=field_mask_pb2.FieldMask(paths=paths))


async def test_an_update_changes_what_its_mask_names(schedules) -> None:
    before = await created(schedules, a_schedule(note="n", max_runs=9))
    every = schedule_pb2.Every(interval=timedelta(hours=1))
    ask = await update(schedules, "every", "cron", "note", "max_runs", every=every, overlap=Schedule.ALLOW)
    await schedules.UpdateSchedule(ask)
    after = await got(schedules)
    assert after.WhichOneof("rule") == "every"
    assert (after.note, after.HasField("max_runs"), after.overlap) == ("", False, Schedule.SKIP)
    assert after.revision == before.revision + 1
    assert after.job.raw.body == b"\xff\x00"
    assert after.next_times[0].ToDatetime(UTC) - datetime.now(UTC) <= timedelta(hours=1)
    ask = await update(schedules, "job", job=job_pb2.JobSpec(type="other"))
    await schedules.UpdateSchedule(ask)
    changed = await got(schedules)
    assert (changed.job.type, changed.job.WhichOneof("payload"), changed.revision) == ("other", None, 3)
    assert changed.next_times == after.next_times


async def test_an_update_that_cannot_be_changes_nothing(schedules) -> None:
    await created(schedules, a_schedule())
    for ask, fields in (
        (await update(schedules), ["update_mask"]),
        (await update(schedules, "counts"), ["update_mask"]),
        (await update(schedules, "cron"), ["schedule.cron"]),
        (await update(schedules, "catch_up_max", catch_up_max=-1), ["schedule.catch_up_max"]),
    ):
        assert (await refused(schedules.UpdateSchedule(ask))).fields == fields
    ask = await update(schedules, "note", note="n", revision=7)
    why = await refused(schedules.UpdateSchedule(ask))
    assert (why.code, why.reason) == (grpc.StatusCode.ABORTED, "REVISION_MISMATCH")
    assert (await got(schedules)).revision == 1


async def test_pause_and_resume(schedules) -> None:
    await created(schedules, a_schedule())
    for reason in ("holidays", "again"):  # the second changes nothing
        ask = pb.PauseScheduleRequest(queue="q", schedule_id="pay-day", reason=reason)
        paused = (await schedules.PauseSchedule(ask)).schedule
        assert (paused.paused, paused.pause_reason, paused.revision) == (True, "holidays", 2)
        assert not paused.next_times
    ask = pb.ResumeScheduleRequest(queue="q", schedule_id="pay-day")
    resumed = (await schedules.ResumeSchedule(ask)).schedule
    assert (resumed.paused, resumed.pause_reason, resumed.revision) == (False, "", 3)
    assert resumed.next_times


async def test_triggered_it_runs_now(schedules, api: Api) -> None:
    before = await created(schedules, a_schedule())
    ask = pb.TriggerScheduleRequest(queue="q", schedule_id="pay-day")
    job_id = (await schedules.TriggerSchedule(ask)).job_id
    assert job_id.startswith("pay-day@")
    job = (await api.jobs.GetJob(jpb.GetJobRequest(queue="q", job_id=job_id))).job
    assert job.state == job_pb2.Job.WAITING
    assert (job.spec.type, job.spec.raw.body) == ("pay", b"\xff\x00")
    assert job.schedule_id == "pay-day"
    assert job_id == "pay-day@" + job.nominal_time.ToJsonString()
    [listed] = (await api.jobs.ListJobs(jpb.ListJobsRequest(queue="q"))).jobs
    assert (listed.schedule_id, listed.nominal_time) == ("pay-day", job.nominal_time)
    after = await got(schedules)
    assert (after.counts.fired, after.next_times) == (1, before.next_times)


async def test_deleted_it_is_gone(schedules) -> None:
    await created(schedules, a_schedule())
    await schedules.DeleteSchedule(pb.DeleteScheduleRequest(queue="q", schedule_id="pay-day"))
    ask = pb.GetScheduleRequest(queue="q", schedule_id="pay-day")
    assert (await refused(schedules.GetSchedule(ask))).reason == "SCHEDULE_NOT_FOUND"


@pytest.mark.parametrize("change", ["pause", "update"])
async def test_what_a_change_drops_is_counted_as_missed(api: Api, schedules, change: str) -> None:
    """A server that is behind, or comes back, has not fired all that has come when a schedule is changed."""
    every = schedule_pb2.Every(interval=timedelta(seconds=60))
    await created(schedules, a_schedule(every=every))
    [stands] = await api.store.schedules.read_schedules("q", ["pay-day"])
    begun = await api.store.ping() - timedelta(seconds=630)
    behind = replace(stands, create_time=begun, next_time=begun + timedelta(seconds=60), missed=7)
    assert await api.store.schedules.put_schedule(behind)
    if change == "pause":
        await schedules.PauseSchedule(pb.PauseScheduleRequest(queue="q", schedule_id="pay-day"))
    else:
        mask = field_mask_pb2.FieldMask(paths=["jitter"])
        asked = Schedule(queue="q", schedule_id="pay-day", jitter=timedelta(seconds=1))
        await schedules.UpdateSchedule(pb.UpdateScheduleRequest(schedule=asked, update_mask=mask))
    found = await got(schedules)
    assert (found.counts.missed, found.counts.fired) == (17, 0)
    if change == "pause":
        await schedules.ResumeSchedule(pb.ResumeScheduleRequest(queue="q", schedule_id="pay-day"))
        found = await got(schedules)
        assert found.counts.missed == 17
    assert found.next_times[0].ToDatetime(UTC) > begun + timedelta(seconds=630)


async def test_a_page_token_is_of_its_queue(schedules) -> None:
    for number in range(2):
        await created(schedules, a_schedule(f"s{number}"))
        await created(schedules, a_schedule(f"s{number}", queue="r"))
    page = await schedules.ListSchedules(pb.ListSchedulesRequest(queue="q", page_size=1))
    asked = pb.ListSchedulesRequest(queue="q", page_token=page.next_page_token)
    assert [one.schedule_id for one in (await schedules.ListSchedules(asked)).schedules] == ["s1"]
    for queue in ("r", ""):
        asked.queue = queue
        why = await refused(schedules.ListSchedules(asked))
        assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_token"])
        assert "queue" in why.message


async def test_a_run_out_of_turn_is_one_of_the_most_that_it_has(schedules) -> None:
    await created(schedules, a_schedule(max_runs=2))
    trigger = pb.TriggerScheduleRequest(queue="q", schedule_id="pay-day")
    await schedules.TriggerSchedule(trigger)
    assert len((await got(schedules)).next_times) == 1
    for fired in (2, 3):
        await schedules.TriggerSchedule(trigger)
        found = await got(schedules)
        assert (found.counts.fired, len(found.next_times)) == (fired, 0)
        [listed] = (await schedules.ListSchedules(pb.ListSchedulesRequest(queue="q"))).schedules
        assert not listed.next_times


async def test_a_preview_of_rare_times_holds_up_nobody(schedules) -> None:
    """A day that comes once in 28 years takes long to find, for all that the request is small."""
    rare = schedule_pb2.Schedule(cron=schedule_pb2.Cron(lines=["0 9 29 2 */7", "0 10 29 2 */7"]))
    ask = pb.PreviewScheduleRequest(schedule=rare, count=63)
    for _ in range(10):
        begun = last = time.monotonic()
        longest = 0.0
        call = asyncio.ensure_future(schedules.PreviewSchedule(ask, timeout=60))
        while not call.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert len((await call).occurrences) == 63
        if longest < (last - begun) / 2:  # on the loop it is four fifths each time
            return
    pytest.fail("the event loop stood still for most of a preview")


async def test_a_preview_after_what_is_no_time_is_refused(schedules) -> None:
    ask = pb.PreviewScheduleRequest(schedule=a_schedule(), after=Timestamp(seconds=-62_135_596_801))
    why = await refused(schedules.PreviewSchedule(ask))
    assert (why.code, list(why.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["after"])


async def test_a_preview_by_a_calendar_that_its_zone_cannot_read_is_refused(schedules, api: Api) -> None:
    last_day = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:99991231T120000Z\nEND:VEVENT\nEND:VCALENDAR"
    calendar = calendar_pb2.Calendar(name="last", ics=last_day)
    await calendar_service_pb2_grpc.CalendarServiceStub(api.channel).PutCalendar(
        calendar_service_pb2.PutCalendarRequest(calendar=calendar)
    )
    east = a_schedule(
        cron=schedule_pb2.Cron(lines=["0 9 * * *"], time_zone="Pacific/Auckland"),
        calendars=[schedule_pb2.CalendarUse(name="last")],
    )
    why = await refused(schedules.PreviewSchedule(pb.PreviewScheduleRequest(schedule=east)))
    assert (why.code, list(why.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["schedule.calendars"])


async def test_the_queue_of_schedules_alone_is_not_deleted_and_says_so(schedules, api: Api) -> None:
    await created(schedules, a_schedule("b"))
    await created(schedules, a_schedule("a"))
    ask = qpb.DeleteQueueRequest(queue="q")
    why = await refused(api.queues.DeleteQueue(ask))
    assert (why.code, why.reason, why.metadata["jobs"]) == (grpc.StatusCode.FAILED_PRECONDITION, "QUEUE_IN_USE", "0")
    assert "schedules do ('a', 'b')" in why.message
    for schedule_id in ("a", "b"):
        await schedules.DeleteSchedule(pb.DeleteScheduleRequest(queue="q", schedule_id=schedule_id))
    await api.queues.DeleteQueue(ask)


async def test_times_that_have_passed_become_jobs(schedules, api: Api) -> None:
    await created(schedules, a_schedule(cron=schedule_pb2.Cron(lines=["0 9 * * *"], time_zone="Europe/Berlin")))
    since, until = Timestamp(), Timestamp()
    since.FromJsonString("2026-03-28T00:00:00Z")
    until.FromJsonString("2026-03-30T00:00:00Z")
    span = {"queue": "q", "schedule_id": "pay-day", "from": since, "to": until}
    dry = await schedules.BackfillSchedule(pb.BackfillScheduleRequest(**span, dry_run=True))
    assert (dry.made, dry.kept) == (2, 0)
    assert (await got(schedules)).counts.backfilled == 0
    done = await schedules.BackfillSchedule(pb.BackfillScheduleRequest(**span))
    assert done == dry
    assert [one.job_id for one in done.times] == ["pay-day@2026-03-28T08:00:00Z", "pay-day@2026-03-29T07:00:00Z"]
    assert [one.occurrence.local for one in done.times] == ["2026-03-28T09:00:00+01:00", "2026-03-29T09:00:00+02:00"]
    job = (await api.jobs.GetJob(jpb.GetJobRequest(queue="q", job_id=done.times[0].job_id))).job
    assert (job.state, job.spec.raw.body) == (job_pb2.Job.WAITING, b"\xff\x00")
    again = await schedules.BackfillSchedule(pb.BackfillScheduleRequest(**span))
    assert (again.made, again.kept, [one.kept for one in again.times]) == (0, 2, [True, True])
    assert (await got(schedules)).counts.backfilled == 2


async def test_a_backfill_that_cannot_be_names_its_fields(schedules) -> None:
    await created(schedules, a_schedule(cron=schedule_pb2.Cron(lines=["* * * * *"])))
    time, later = Timestamp(seconds=1_700_000_000), Timestamp(seconds=1_700_000_000 + 1001 * 60)
    for fields, named in (
        ({}, ["from", "to", "schedule_id"]),
        ({"schedule_id": "pay-day", "from": time, "to": time}, ["to"]),
        ({"schedule_id": "pay-day", "from": Timestamp(seconds=-1), "to": time}, ["from"]),
        ({"schedule_id": "pay-day", "from": time, "to": later}, ["to"]),
    ):
        why = await refused(schedules.BackfillSchedule(pb.BackfillScheduleRequest(queue="q", **fields)))
        assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, named)
    why = await refused(
        schedules.BackfillSchedule(pb.BackfillScheduleRequest(schedule_id="none", **{"from": time, "to": later}))
    )
    assert why.reason == "SCHEDULE_NOT_FOUND"
