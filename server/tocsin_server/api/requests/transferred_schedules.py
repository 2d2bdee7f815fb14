"""Schedules and calendars that an import brings, each checked as a caller's would be. The messages are the shadow ones
of wire.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tocsin.v1 import calendar_pb2, schedule_pb2
from tocsin.v1 import calendar_service_pb2 as calendar_service
from tocsin.v1 import transfer_pb2 as pb

from tocsin_server.api import wire
from tocsin_server.api.requests.calendars import put_calendar
from tocsin_server.api.requests.kept_schedules import wanted
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_time
from tocsin_server.domain import limits
from tocsin_server.domain.defaults import SERVER_DEFAULTS, terms
from tocsin_server.domain.errors import InvalidFields, Violation
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule

_COUNTS = ("fired", "missed", "overlap_skipped", "backfilled")


def schedule_record(at: str, record: pb.ScheduleRecord) -> Schedule:
    """The schedule, as far as it has come. InvalidFields, TooLarge."""
    message = type(record.schedule)()
    message.CopyFrom(record.schedule)
    with _within(at):
        _give_payload(message, record)
        _check_progress(message)
        spec, job = wanted(message)
    spec = replace(spec, job=job.draft(terms(job.overrides, SERVER_DEFAULTS)).spec)
    goes_on = bool(message.next_times) and not spec.paused
    return Schedule(
        spec,
        to_time(message.create_time),
        to_time(message.next_times[0]) if goes_on else None,
        message.revision or 1,
        to_time(message.last_time) if message.HasField("last_time") else None,
        to_time(message.waiting_time) if message.HasField("waiting_time") and not spec.paused else None,
        *(getattr(message.counts, name) for name in _COUNTS),
    )


def calendar_record(at: str, record: pb.CalendarRecord) -> KeptCalendar:
    """The calendar. InvalidFields."""
    calendar = calendar_pb2.Calendar.FromString(record.calendar.SerializeToString())
    with _within(at):
        kept, _ = put_calendar(calendar_service.PutCalendarRequest(calendar=calendar))
    return kept


def _give_payload(message: schedule_pb2.Schedule, record: pb.ScheduleRecord) -> None:
    wrong, kind = Violations(), record.payload_field
    if there := wire.payload_of(message.job):
        wrong.add(f"schedule.job.{wire.PAYLOAD_FIELDS[there[0]]}", "is left out here: `payload` has its bytes")
    elif kind in wire.PAYLOAD_FIELDS:
        wire.set_payload(message.job, kind, record.payload)
    elif kind:
        wrong.add("payload_field", f"is {kind}, and JobSpec has no such payload")
    elif record.payload:
        wrong.add("payload_field", "is needed beside a payload: its number in JobSpec, 10 for data")
    wrong.done()


def _check_progress(message: schedule_pb2.Schedule) -> None:
    wrong = Violations()
    if message.HasField("create_time"):
        wrong.time("schedule.create_time", message.create_time)
    else:
        wrong.add("schedule.create_time", "is needed")
    wrong.count("schedule.next_times", message.next_times, 1)
    for i, time in enumerate(message.next_times[:1]):
        wrong.time(f"schedule.next_times[{i}]", time)
    for name in ("last_time", "waiting_time"):
        if message.HasField(name):
            wrong.time(f"schedule.{name}", getattr(message, name))
    wrong.number("schedule.revision", message.revision, 0, limits.IMPORTED_REVISION)
    for name in _COUNTS:
        wrong.number(f"schedule.counts.{name}", getattr(message.counts, name), 0, limits.MAX_RUNS)
    wrong.done()


@contextmanager
def _within(at: str) -> Iterator[None]:
    """Fields are told from the record on."""
    try:
        yield
    except InvalidFields as refusal:
        raise InvalidFields([Violation(f"{at}.{one.field}", one.description) for one in refusal.violations]) from None
