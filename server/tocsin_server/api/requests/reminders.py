"""Requests about reminder sets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from tocsin.v1 import job_pb2, payloads_pb2
from tocsin.v1 import reminder_service_pb2 as pb

from tocsin_server.api.requests.payloads.reading import check_finite, read
from tocsin_server.api.requests.payloads.reminders import check_booking_reminder, check_id, check_payment_reminder
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.errors import TooLarge
from tocsin_server.domain.job import Payload
from tocsin_server.domain.reminders import DEFAULT_OFFSETS, ReminderKind, SetName, Wish
from tocsin_server.operations.reminders.reminders import PayloadOf

Reminder = payloads_pb2.BookingReminder | payloads_pb2.PaymentReminder
_KINDS = {int(number): name for name, number in pb.ReminderSet.Kind.items() if number}
_FIELDS = {
    ReminderKind.BOOKING: job_pb2.JobSpec.BOOKING_REMINDER_FIELD_NUMBER,
    ReminderKind.PAYMENT: job_pb2.JobSpec.PAYMENT_REMINDER_FIELD_NUMBER,
}
_REMINDER_BYTES = limits.JOB_SPEC_BYTES - 1_024  # the rest: what each of its jobs has beside it
_NOTHING = timedelta(0)

#: Which set is to be, what of it, and the payload of each of its reminders.
Asked = tuple[SetName, Wish, PayloadOf]


class NamesSet(Protocol):
    """A request about one set."""

    queue: str
    kind: pb.ReminderSet.Kind.ValueType
    id: str


def schedule_booking(request: pb.ScheduleBookingRemindersRequest) -> Asked:
    """A booking and when it is reminded of."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    if not request.HasField("reminder"):
        wrong.add("reminder", "is needed")
    elif _readable(wrong, ReminderKind.BOOKING, request.reminder):
        check_booking_reminder(wrong, "reminder", request.reminder)
    if wrong.count("offsets", request.offsets, limits.REMINDERS_PER_SET):
        for i, offset in enumerate(request.offsets):
            wrong.span(f"offsets[{i}]", offset, _NOTHING, limits.MAX_REMINDER_OFFSET, "0 to 366 days")
    if not wrong:
        _different(wrong, request.offsets)
    wrong.done()
    reminder = request.reminder
    return _asked(request.queue, ReminderKind.BOOKING, reminder.booking_id, reminder, request.offsets)


def schedule_payment(request: pb.SchedulePaymentRemindersRequest) -> Asked:
    """A payment and when it is reminded of."""
    wrong = Violations()
    wrong.queue("queue", request.queue)
    reminder = request.reminder
    if not request.HasField("reminder"):
        wrong.add("reminder", "is needed")
    elif _readable(wrong, ReminderKind.PAYMENT, reminder):
        check_payment_reminder(wrong, "reminder", reminder)
    if wrong.count("offsets", request.offsets, limits.REMINDERS_PER_SET):
        for i, offset in enumerate(request.offsets):
            least, words = -limits.MAX_REMINDER_OFFSET, "up to 366 days before or after"
            wrong.span(f"offsets[{i}]", offset, least, limits.MAX_REMINDER_OFFSET, words)
    if not wrong:
        _different(wrong, request.offsets)
        _within_time(wrong, request)
    wrong.done()
    return _asked(request.queue, ReminderKind.PAYMENT, reminder.payment_id, reminder, request.offsets)


def _asked(queue: str, kind: ReminderKind, set_id: str, reminder: Reminder, offsets: Sequence[Duration]) -> Asked:
    return _name(queue, kind, set_id), _wish(kind, reminder, offsets), _payload_of(kind, reminder)


def named_set(request: NamesSet) -> SetName:
    """Which set is meant."""
    wrong = Violations()
    _names_set(wrong, request)
    wrong.done()
    return _name(request.queue, request.kind, request.id)


def cancel_reminders(request: pb.CancelRemindersRequest) -> tuple[SetName, str]:
    """Which set to cancel, and why."""
    wrong = Violations()
    _names_set(wrong, request)
    wrong.text("reason", request.reason, limits.REASON_BYTES)
    wrong.done()
    return _name(request.queue, request.kind, request.id), request.reason


def _names_set(wrong: Violations, request: NamesSet) -> None:
    wrong.queue("queue", request.queue)
    if request.kind:
        wrong.enum("kind", request.kind, _KINDS)
    else:
        wrong.add("kind", "is needed")
    check_id(wrong, "id", request.id)


def _readable(wrong: Violations, kind: ReminderKind, reminder: Reminder) -> bool:
    """Whether it can be read wherever it will stand; what only the set itself may say of it is refused."""
    if (size := reminder.ByteSize()) > _REMINDER_BYTES:
        raise TooLarge("reminder", size, _REMINDER_BYTES)
    body = reminder.SerializeToString()
    try:
        read(_FIELDS[kind], body)
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


def _within_time(wrong: Violations, request: pb.SchedulePaymentRemindersRequest) -> None:
    left = limits.LAST_TIME - to_time(request.reminder.due_time)
    for i, offset in enumerate(request.offsets):
        if -to_span(offset) > left:
            wrong.add(f"offsets[{i}]", "leads past the year 9999")
    if not request.offsets and -min(DEFAULT_OFFSETS[ReminderKind.PAYMENT]) > left:
        wrong.add("offsets", "is empty, and the reminder a day after the due time would be past the year 9999")


def _name(queue: str, kind: int, set_id: str) -> SetName:
    return SetName(queue or limits.DEFAULT_QUEUE, ReminderKind(kind), set_id)


def _wish(kind: ReminderKind, reminder: Reminder, offsets: Sequence[Duration]) -> Wish:
    anchor = reminder.booking_time if isinstance(reminder, payloads_pb2.BookingReminder) else reminder.due_time
    spans = tuple(map(to_span, offsets)) or DEFAULT_OFFSETS[kind]
    # In a fixed order of map entries: two equal messages may come as different bytes.
    content = hashlib.sha256(reminder.SerializeToString(deterministic=True)).digest()
    return Wish(to_time(anchor), spans, content)


def _payload_of(kind: ReminderKind, reminder: Reminder) -> PayloadOf:
    """Makes the payload of each reminder: what came, with its offset and the set's revision."""
    came = reminder.SerializeToString()

    def payload_of(offset: timedelta, revision: int) -> Payload:
        own = type(reminder)(set_revision=revision)
        own.offset.FromTimedelta(offset)
        own.offset.SetInParent()  # also where it is 0
        # The bytes of two messages in a row are those of both in one.
        return Payload(_FIELDS[kind], came + own.SerializeToString())

    return payload_of
