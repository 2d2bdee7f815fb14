"""Rules on requests about reminder sets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from tocsin.v1 import job_pb2, payloads_pb2, reminder_service_pb2

from tocsin_server.api.convert.times import to_span, to_time
from tocsin_server.api.validation.payloads.booking_reminder import check_booking_reminder
from tocsin_server.api.validation.payloads.payment_reminder import check_payment_reminder
from tocsin_server.api.validation.payloads.reading import check_finite, read
from tocsin_server.api.validation.payloads.reminders import check_id
from tocsin_server.api.validation.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.errors import TooLarge
from tocsin_server.domain.reminders import DEFAULT_OFFSETS, Kind

_KINDS = {int(number): name for name, number in reminder_service_pb2.ReminderSet.Kind.items() if number}
_BOOKING = job_pb2.JobSpec.BOOKING_REMINDER_FIELD_NUMBER
_PAYMENT = job_pb2.JobSpec.PAYMENT_REMINDER_FIELD_NUMBER
_REMINDER_BYTES = limits.JOB_SPEC_BYTES - 1_024  # the rest: what each of its jobs has beside it
_NOTHING = timedelta(0)


class NamesSet(Protocol):
    """A request about one set."""

    queue: str
    kind: reminder_service_pb2.ReminderSet.Kind.ValueType
    id: str


def check_schedule_booking(request: reminder_service_pb2.ScheduleBookingRemindersRequest) -> None:
    """A booking and when it is reminded of."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    if not request.HasField("reminder"):
        wrong.add("reminder", "is needed")
    elif _readable(wrong, _BOOKING, request.reminder):
        check_booking_reminder(wrong, "reminder", request.reminder)
    if wrong.count("offsets", request.offsets, limits.REMINDERS_PER_SET):
        for i, offset in enumerate(request.offsets):
            wrong.span(f"offsets[{i}]", offset, _NOTHING, limits.MAX_REMINDER_OFFSET, "0 to 366 days")
    if not wrong:
        _different(wrong, request.offsets)
    wrong.done()


def check_schedule_payment(request: reminder_service_pb2.SchedulePaymentRemindersRequest) -> None:
    """A payment and when it is reminded of."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    reminder = request.reminder
    if not request.HasField("reminder"):
        wrong.add("reminder", "is needed")
    elif _readable(wrong, _PAYMENT, reminder):
        check_payment_reminder(wrong, "reminder", reminder)
    if wrong.count("offsets", request.offsets, limits.REMINDERS_PER_SET):
        for i, offset in enumerate(request.offsets):
            least, words = -limits.MAX_REMINDER_OFFSET, "up to 366 days before or after"
            wrong.span(f"offsets[{i}]", offset, least, limits.MAX_REMINDER_OFFSET, words)
    if not wrong:
        _different(wrong, request.offsets)
        _within_time(wrong, request)
    wrong.done()


def check_names_set(request: NamesSet) -> None:
    """A request that names a set."""
    wrong = Violations()
    _names_set(wrong, request)
    wrong.done()


def check_cancel_reminders(request: reminder_service_pb2.CancelRemindersRequest) -> None:
    """Which set to cancel, and why."""
    wrong = Violations()
    _names_set(wrong, request)
    wrong.text("reason", request.reason, limits.REASON_BYTES)
    wrong.done()


def _names_set(wrong: Violations, request: NamesSet) -> None:
    wrong.queue("queue", request.queue)
    if request.kind:
        wrong.enum("kind", request.kind, _KINDS)
    else:
        wrong.add("kind", "is needed")
    check_id(wrong, "id", request.id)


def _readable(
    wrong: Violations, kind: int, reminder: payloads_pb2.BookingReminder | payloads_pb2.PaymentReminder
) -> bool:
    """Whether it can be read wherever it will stand; what only the set itself may say of it is refused."""
    if (size := reminder.ByteSize()) > _REMINDER_BYTES:
        raise TooLarge("reminder", size, _REMINDER_BYTES)
    body = reminder.SerializeToString()
    try:
        read(kind, body)
    except DecodeError:
        wrong.add("reminder", "is nested some 30 levels deep, which its readers refuse")
        return False
    check_finite(wrong, "reminder", reminder, body)
    if reminder.HasField("offset"):
        wrong.add("reminder.offset", "is left out here: `offsets` says when reminders are sent")
    if reminder.HasField("set_revision"):
        wrong.add("reminder.set_revision", "is left out here: the server counts it")
    return True


def _different(wrong: Violations, offsets: Sequence[Duration]) -> None:
    seen: set[timedelta] = set()
    for i, offset in enumerate(offsets):
        span = to_span(offset)
        if span in seen:
            wrong.add(f"offsets[{i}]", "stands there twice, to the millisecond")
        seen.add(span)


def _within_time(wrong: Violations, request: reminder_service_pb2.SchedulePaymentRemindersRequest) -> None:
    left = limits.LAST_TIME - to_time(request.reminder.due_time)
    for i, offset in enumerate(request.offsets):
        if -to_span(offset) > left:
            wrong.add(f"offsets[{i}]", "leads past the year 9999")
    if not request.offsets and -min(DEFAULT_OFFSETS[Kind.PAYMENT]) > left:
        wrong.add("offsets", "is empty, and the reminder a day after the due time would be past the year 9999")
