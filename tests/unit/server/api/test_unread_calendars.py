"""A kept calendar that has come to say what a schedule's zone cannot read: each call about the schedule says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2
from support.stubs import Refusal, refusal
from tocsin.v1 import (
    calendar_pb2,
    calendar_service_pb2,
    calendar_service_pb2_grpc,
    job_pb2,
    schedule_pb2,
    schedule_service_pb2_grpc,
)
from tocsin.v1 import schedule_service_pb2 as pb
from unit.server.api.running_api import Api

NAMED = {"queue": "q", "schedule_id": "east"}
#: At noon of the last day there is, which in Auckland is the day after.
LAST_DAY = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:99991231T120000Z\nEND:VEVENT\nEND:VCALENDAR"


async def refused(call: grpc.aio.UnaryUnaryCall) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def put_calendar(api: Api, **days: Any) -> None:
    calendars = calendar_service_pb2_grpc.CalendarServiceStub(api.channel)
    calendar = calendar_pb2.Calendar(name="days", **days)
    await calendars.PutCalendar(calendar_service_pb2.PutCalendarRequest(calendar=calendar))


@pytest.fixture
async def schedules(api: Api) -> schedule_service_pb2_grpc.ScheduleServiceAsyncStub:
    """Those of a server with the schedule `east`, whose zone cannot read its calendar any more."""
    stub = schedule_service_pb2_grpc.ScheduleServiceStub(api.channel)
    await put_calendar(api, dates=["2030-01-01"])
    east = schedule_pb2.Schedule(
        **NAMED,
        cron=schedule_pb2.Cron(lines=["0 9 * * *"], time_zone="Pacific/Auckland"),
        calendars=[schedule_pb2.CalendarUse(name="days")],
        job=job_pb2.JobSpec(type="pay"),
    )
    await stub.CreateSchedule(pb.CreateScheduleRequest(schedule=east))
    await put_calendar(api, ics=LAST_DAY)
    return stub


def update(path: str, **fields: Any) -> pb.UpdateScheduleRequest:
    mask = field_mask_pb2.FieldMask(paths=[path])
    return pb.UpdateScheduleRequest(schedule=schedule_pb2.Schedule(**NAMED, **fields), update_mask=mask)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_backfill_is_refused(schedules: Any, dry_run: bool) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    ask = pb.BackfillScheduleRequest(**NAMED, **{"from": start, "to": start + timedelta(days=3)}, dry_run=dry_run)
    why = await refused(schedules.BackfillSchedule(ask))
    assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["schedule_id"])
    assert "'days'" in why.message


async def test_it_can_be_paused_and_is_not_resumed(schedules: Any) -> None:
    await schedules.PauseSchedule(pb.PauseScheduleRequest(**NAMED))
    why = await refused(schedules.ResumeSchedule(pb.ResumeScheduleRequest(**NAMED)))
    assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["schedule_id"])
    assert "'days'" in why.message
    assert (await schedules.GetSchedule(pb.GetScheduleRequest(**NAMED))).schedule.paused


async def test_a_change_that_leaves_it_unread_is_refused_and_others_are_made(schedules: Any) -> None:
    hourly = schedule_pb2.Cron(lines=["0 * * * *"], time_zone="Pacific/Auckland")
    why = await refused(schedules.UpdateSchedule(update("cron", cron=hourly)))
    assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["schedule.calendars[0].name"])
    noted = (await schedules.UpdateSchedule(update("note", note="n"))).schedule
    assert noted.note == "n"
    berlin = schedule_pb2.Cron(lines=["0 9 * * *"], time_zone="Europe/Berlin")
    moved = (await schedules.UpdateSchedule(update("cron", cron=berlin))).schedule
    assert moved.next_times


async def test_it_runs_again_once_its_calendar_can_be_read(schedules: Any, api: Api) -> None:
    await schedules.PauseSchedule(pb.PauseScheduleRequest(**NAMED))
    await put_calendar(api, dates=["2030-01-01"])
    resumed = (await schedules.ResumeSchedule(pb.ResumeScheduleRequest(**NAMED))).schedule
    assert resumed.next_times
