"""Schedules and calendars of an import: taken whole, or refused by the field that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tocsin.v1 import calendar_pb2, job_pb2, schedule_pb2, transfer_pb2
from tocsin_server.api import wire
from tocsin_server.api.answers.transfer import fill_record
from tocsin_server.domain.job import Payload
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule
from unit.server.api.record_builder import LATER, T0, a_schedule
from unit.server.api.requests.test_transfer import fields, item

Record = transfer_pb2.TransferRecord
Counts = schedule_pb2.Schedule.Counts


def with_payload(record: Record, kind: int, body: bytes) -> Record:
    record.schedule.payload_field, record.schedule.payload = kind, body
    return record


def a_calendar(**said: Any) -> Record:
    return Record(calendar=transfer_pb2.CalendarRecord(calendar=calendar_pb2.Calendar(**said)))


def filled(record: Any) -> Record:
    """As an export writes it."""
    message = wire.shadow(Record)()
    fill_record(message, record)
    return Record.FromString(message.SerializeToString())


def test_a_schedule_is_taken_with_how_far_it_has_come_and_exported_just_so() -> None:
    found = item(with_payload(a_schedule(overlap=2, missed=3, note="n", max_runs=99), 11, b"\x12\x01x")).record
    assert isinstance(found, Schedule)
    assert found.spec.job.payload == Payload(11, b"\x12\x01x")
    assert (found.fired, found.missed, found.overlap_skipped, found.backfilled, found.revision) == (5, 6, 7, 8, 4)
    assert (found.create_time, found.last_time, found.held_time) == (found.last_time, found.create_time, None)
    assert found.next_time is not None
    assert int(found.next_time.timestamp()) == LATER.seconds
    again = filled(found)
    assert list(again.schedule.schedule.next_times) == [LATER]
    assert item(again).record == found


def test_one_that_rests_has_no_next_time() -> None:
    found = item(a_schedule(paused=True, pause_reason="holidays", waiting_time=T0)).record
    assert isinstance(found, Schedule)
    assert (found.next_time, found.held_time, found.spec.pause_reason) == (None, None, "holidays")
    assert item(filled(found)).record == found


def test_a_calendar_is_taken_and_exported_just_so() -> None:
    found = item(a_calendar(name="office", dates=["2026-12-25"], weekdays=["SUN"], note="n", revision=9)).record
    assert isinstance(found, KeptCalendar)
    assert (found.name, found.note, found.revision, found.days.weekdays) == ("office", "n", 1, {6})
    assert item(filled(found)).record == found


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        (a_schedule("no good"), ["schedule.schedule.schedule_id"]),
        (a_schedule(cron=schedule_pb2.Cron(lines=["soon"])), ["schedule.schedule.cron.lines[0]"]),
        (a_schedule(create_time=None), ["schedule.schedule.create_time"]),
        (a_schedule(next_times=[LATER, LATER]), ["schedule.schedule.next_times"]),
        (a_schedule(next_times=[Timestamp(seconds=1 << 40)]), ["schedule.schedule.next_times[0]"]),
        (a_schedule(last_time=Timestamp(seconds=-1)), ["schedule.schedule.last_time"]),
        (a_schedule(revision=-1), ["schedule.schedule.revision"]),
        (a_schedule(counts=Counts(missed=-1)), ["schedule.schedule.counts.missed"]),
        (a_schedule(job=job_pb2.JobSpec()), ["schedule.schedule.job.type"]),
        (a_schedule(job=job_pb2.JobSpec(type="t", raw={"body": b"x"})), ["schedule.schedule.job.raw"]),
        (with_payload(a_schedule(), 999, b""), ["schedule.payload_field"]),
        (with_payload(a_schedule(), 0, b"x"), ["schedule.payload_field"]),
        (a_calendar(name="no good"), ["calendar.calendar.name"]),
        (a_calendar(name="a", dates=["soon"]), ["calendar.calendar.dates[0]"]),
    ],
)
def test_what_is_wrong_is_named(record: Record, wrong: list[str]) -> None:
    assert fields(record) == wrong
