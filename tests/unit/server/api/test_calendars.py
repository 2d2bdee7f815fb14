"""CalendarService keeps calendars as its proto says, and schedules that name them follow, over a real store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.stubs import Refusal, refusal
from tocsin.v1 import (
    calendar_pb2,
    calendar_service_pb2_grpc,
    job_pb2,
    schedule_pb2,
    schedule_service_pb2,
    schedule_service_pb2_grpc,
)
from tocsin.v1 import calendar_service_pb2 as pb
from unit.server.api.running_api import Api

Calendar, Use = calendar_pb2.Calendar, schedule_pb2.CalendarUse


@pytest.fixture
def calendars(api: Api) -> calendar_service_pb2_grpc.CalendarServiceAsyncStub:
    return calendar_service_pb2_grpc.CalendarServiceStub(api.channel)


@pytest.fixture
def schedules(api: Api) -> schedule_service_pb2_grpc.ScheduleServiceAsyncStub:
    return schedule_service_pb2_grpc.ScheduleServiceStub(api.channel)


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def put(calendars, name: str = "office", **fields) -> Calendar:
    return (await calendars.PutCalendar(pb.PutCalendarRequest(calendar=Calendar(name=name, **fields)))).calendar


async def got(calendars, name: str = "office") -> Calendar:
    return (await calendars.GetCalendar(pb.GetCalendarRequest(name=name))).calendar


async def delete(calendars, name: str = "office") -> None:
    await calendars.DeleteCalendar(pb.DeleteCalendarRequest(name=name))


async def schedule(schedules, schedule_id: str = "s", *uses: Use, queue: str = "q") -> schedule_pb2.Schedule:
    """At nine each day, by a calendar."""
    asked = schedule_pb2.Schedule(
        queue=queue,
        schedule_id=schedule_id,
        cron=schedule_pb2.Cron(lines=["0 9 * * *"]),
        calendars=uses or [Use(name="office")],
        job=job_pb2.JobSpec(type="pay"),
    )
    return (await schedules.CreateSchedule(schedule_service_pb2.CreateScheduleRequest(schedule=asked))).schedule


async def standing(schedules, schedule_id: str = "s") -> schedule_pb2.Schedule:
    ask = schedule_service_pb2.GetScheduleRequest(queue="q", schedule_id=schedule_id)
    return (await schedules.GetSchedule(ask)).schedule


def days(schedule: schedule_pb2.Schedule) -> list[str]:
    return [time.ToDatetime(UTC).date().isoformat() for time in schedule.next_times]


def coming(count: int) -> list[str]:
    """The days of the next nine o'clocks."""
    now = datetime.now(UTC)
    first = now.replace(hour=9, minute=0, second=0, microsecond=0)
    first += timedelta(days=1) if first <= now else timedelta(0)
    return [(first + timedelta(days=day)).date().isoformat() for day in range(count)]


async def test_a_calendar_stands_as_it_was_put(calendars) -> None:
    ics = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261224\nEND:VEVENT\nEND:VCALENDAR"
    made = await put(
        calendars,
        dates=["2026-12-26", "2026-12-25", "2026-12-26"],
        weekdays=["sun", "SAT"],
        ics=ics,
        time_zone="Europe/Berlin",
        note="n",
    )
    assert (list(made.dates), list(made.weekdays)) == (["2026-12-25", "2026-12-26"], ["SAT", "SUN"])
    assert (made.ics, made.time_zone, made.note, made.revision) == (ics, "Europe/Berlin", "n", 1)
    assert abs(made.update_time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    assert await got(calendars) == made


async def test_it_is_put_whole_in_the_place_of_what_stood(calendars) -> None:
    made = await put(calendars, dates=["2026-12-25"], note="n")
    assert await put(calendars, dates=["2026-12-25"], note="n") == made  # changes nothing
    changed = await put(calendars, weekdays=["SUN"], revision=1)
    assert (list(changed.dates), list(changed.weekdays), changed.note, changed.revision) == ([], ["SUN"], "", 2)
    ask = pb.PutCalendarRequest(calendar=Calendar(name="office", revision=1))
    why = await refused(calendars.PutCalendar(ask))
    assert (why.code, why.reason) == (grpc.StatusCode.ABORTED, "REVISION_MISMATCH")
    ask = pb.PutCalendarRequest(calendar=Calendar(name="other", revision=1))
    assert (await refused(calendars.PutCalendar(ask))).reason == "CALENDAR_NOT_FOUND"
    assert await got(calendars) == changed


async def test_all_that_is_wrong_is_named(calendars) -> None:
    wrong = Calendar(
        name="the office",
        dates=["2026-12-25", "25.12.2026"],
        weekdays=["SAT", "Sunday"],
        time_zone="Mars/Base",
        note="n" * 1025,
        revision=-1,
    )
    why = await refused(calendars.PutCalendar(pb.PutCalendarRequest(calendar=wrong)))
    assert why.code == grpc.StatusCode.INVALID_ARGUMENT
    assert why.fields == [
        "calendar.name",
        "calendar.dates[1]",
        "calendar.weekdays[1]",
        "calendar.time_zone",
        "calendar.note",
        "calendar.revision",
    ]
    ask = pb.PutCalendarRequest(calendar=Calendar(name="a", ics="BEGIN:VCALENDAR"))
    assert (await refused(calendars.PutCalendar(ask))).fields == ["calendar.ics"]
    assert (await refused(calendars.PutCalendar(pb.PutCalendarRequest()))).fields == ["calendar"]
    ask = pb.PutCalendarRequest(calendar=Calendar(name="a", dates=["2026-12-25"] * 5001))
    assert (await refused(calendars.PutCalendar(ask))).fields == ["calendar.dates"]
    assert not (await calendars.ListCalendars(pb.ListCalendarsRequest())).calendars


async def test_what_is_not_there_is_not_found(calendars) -> None:
    for method in ("GetCalendar", "DeleteCalendar"):
        ask = getattr(pb, f"{method}Request")(name="none")
        why = await refused(getattr(calendars, method)(ask))
        assert (why.code, why.reason) == (grpc.StatusCode.NOT_FOUND, "CALENDAR_NOT_FOUND"), method
        assert (await refused(getattr(calendars, method)(type(ask)()))).fields == ["name"]


async def test_they_are_listed_by_name(calendars) -> None:
    names = [f"c{number}" for number in range(5)]
    for name in reversed(names):
        await put(calendars, name, ics=ics_of(200 << 10))
    found: list[str] = []
    sizes: list[int] = []
    token = ""
    while not sizes or token:
        page = await calendars.ListCalendars(pb.ListCalendarsRequest(page_size=2, page_token=token))
        found += [one.name for one in page.calendars]
        sizes.append(len(page.calendars))
        token = page.next_page_token
    assert (found, sizes) == (names, [2, 2, 1])
    token_of_none = await refused(calendars.ListCalendars(pb.ListCalendarsRequest(page_token="x")))
    assert token_of_none.fields == ["page_token"]
    size = await refused(calendars.ListCalendars(pb.ListCalendarsRequest(page_size=-1)))
    assert size.fields == ["page_size"]


def ics_of(size: int) -> str:
    text = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261224\nEND:VEVENT\nX-FILLED:"
    return text + "x" * (size - len(text) - 14) + "\nEND:VCALENDAR"


async def test_a_page_ends_before_it_is_too_large(calendars) -> None:
    for number in range(20):
        await put(calendars, f"c{number:02}", ics=ics_of(256 << 10))
    first = await calendars.ListCalendars(pb.ListCalendarsRequest())
    assert 1 < len(first.calendars) < 20
    assert first.ByteSize() < 3_700_000
    second = await calendars.ListCalendars(pb.ListCalendarsRequest(page_token=first.next_page_token))
    assert [one.name for one in (*first.calendars, *second.calendars)] == [f"c{number:02}" for number in range(20)]


async def test_a_schedule_leaves_out_its_days(calendars, schedules) -> None:
    first, second, third, fourth = coming(4)
    await put(calendars, dates=[first])
    await put(calendars, "other", dates=[third])
    made = await schedule(schedules, "s", Use(name="office"), Use(name="other", on_excluded=Use.SKIP))
    assert days(made)[:2] == [second, fourth]
    found = await standing(schedules)
    assert [(use.name, use.on_excluded) for use in found.calendars] == [("office", Use.SKIP), ("other", Use.SKIP)]
    moved = await schedule(schedules, "moved", Use(name="office", on_excluded=Use.NEXT_DAY))
    assert days(moved)[0] == second


async def test_one_that_is_not_there_is_not_named(calendars, schedules) -> None:
    await put(calendars)
    why = await refused(schedule(schedules, "s", Use(name="office"), Use(name="none")))
    assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["schedule.calendars[1].name"])
    assert (await refused(standing(schedules))).reason == "SCHEDULE_NOT_FOUND"
    await schedule(schedules)
    ask = schedule_service_pb2.UpdateScheduleRequest(
        schedule=schedule_pb2.Schedule(queue="q", schedule_id="s", calendars=[Use(name="none")]),
        update_mask=field_mask_pb2.FieldMask(paths=["calendars"]),
    )
    assert (await refused(schedules.UpdateSchedule(ask))).fields == ["schedule.calendars[0].name"]
    assert (await standing(schedules)).calendars[0].name == "office"


async def test_one_that_is_named_is_not_deleted(calendars, schedules) -> None:
    await put(calendars)
    for number in range(12):
        await schedule(schedules, f"s{number:02}", queue="p" if number % 2 else "q")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await delete(calendars)
    why = refusal(caught.value)
    assert (why.code, why.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CALENDAR_IN_USE")
    named = [*(f"p/s{number:02}" for number in range(1, 12, 2)), *(f"q/s{number:02}" for number in range(0, 8, 2))]
    assert subjects(caught.value) == named
    assert "and more" in str(caught.value.details())
    assert (await got(calendars)).revision == 1


def subjects(error: grpc.aio.AioRpcError) -> Sequence[str]:
    for detail in rpc_status.from_call(error).details:
        if detail.Is(error_details_pb2.PreconditionFailure.DESCRIPTOR):
            found = error_details_pb2.PreconditionFailure()
            detail.Unpack(found)
            return [one.subject for one in found.violations]
    return []


async def test_it_can_go_once_no_schedule_names_it(calendars, schedules) -> None:
    for name in ("office", "other"):
        await put(calendars, name)
        await schedule(schedules, name, Use(name=name))
    ask = schedule_service_pb2.UpdateScheduleRequest(
        schedule=schedule_pb2.Schedule(queue="q", schedule_id="office"),
        update_mask=field_mask_pb2.FieldMask(paths=["calendars"]),
    )
    await schedules.UpdateSchedule(ask)
    await delete(calendars, "office")
    await schedules.DeleteSchedule(schedule_service_pb2.DeleteScheduleRequest(queue="q", schedule_id="other"))
    await delete(calendars, "other")
    assert not (await calendars.ListCalendars(pb.ListCalendarsRequest())).calendars


async def test_a_change_moves_the_next_times(calendars, schedules) -> None:
    first, second, third, _ = coming(4)
    await put(calendars)
    made = await schedule(schedules)
    assert days(made)[:2] == [first, second]
    await put(calendars, dates=[first, second])
    after = await standing(schedules)
    assert days(after)[0] == third
    assert (after.revision, after.counts) == (made.revision, made.counts)
    await put(calendars, note="none any more")
    assert days(await standing(schedules)) == days(made)


async def test_a_paused_schedule_stays_paused(calendars, schedules) -> None:
    first, second = coming(2)
    await put(calendars)
    await schedule(schedules)
    await schedules.PauseSchedule(schedule_service_pb2.PauseScheduleRequest(queue="q", schedule_id="s"))
    await put(calendars, dates=[first])
    assert not (await standing(schedules)).next_times
    ask = schedule_service_pb2.ResumeScheduleRequest(queue="q", schedule_id="s")
    assert days((await schedules.ResumeSchedule(ask)).schedule)[0] == second


async def test_a_preview_knows_kept_calendars_and_schedules(calendars, schedules) -> None:
    first, second, third = coming(3)
    await put(calendars, dates=[first])
    made = await schedule(schedules)

    async def preview(**asked: Any) -> list[tuple[str, bool]]:
        answer = await schedules.PreviewSchedule(schedule_service_pb2.PreviewScheduleRequest(count=3, **asked))
        return [(one.local[:10], one.skipped) for one in answer.occurrences]

    kept = [(first, True), (second, False), (third, False)]
    assert await preview(queue="q", schedule_id="s") == kept
    assert await preview(schedule=made) == kept
    instead = Calendar(name="office", dates=[second])
    other = [(first, False), (second, True), (third, False)]
    assert await preview(queue="q", schedule_id="s", calendars=[instead]) == other
    assert await preview(schedule=made, calendars=[instead]) == other
    made.calendars[0].name = "none"
    for asked, code, fields in (
        ({"schedule": made}, grpc.StatusCode.INVALID_ARGUMENT, ["schedule.calendars[0].name"]),
        ({"schedule": made, "schedule_id": "s"}, grpc.StatusCode.INVALID_ARGUMENT, ["schedule_id"]),
        ({"schedule_id": "none"}, grpc.StatusCode.NOT_FOUND, []),
    ):
        why = await refused(schedules.PreviewSchedule(schedule_service_pb2.PreviewScheduleRequest(**asked)))
        assert (why.code, why.fields) == (code, fields)
