"""Reminder sets: what is wished to domain, what stands to proto."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import job_pb2, payloads_pb2, reminder_service_pb2

from tocsin_server.api.convert.times import set_time, to_span, to_time
from tocsin_server.domain import limits
from tocsin_server.domain.job import Payload
from tocsin_server.domain.reminders import DEFAULT_OFFSETS, Kind, SetName, Wish
from tocsin_server.operations.reminders.reminders import PayloadOf, ShownSet

Reminder = payloads_pb2.BookingReminder | payloads_pb2.PaymentReminder
_FIELDS = {
    Kind.BOOKING: job_pb2.JobSpec.BOOKING_REMINDER_FIELD_NUMBER,
    Kind.PAYMENT: job_pb2.JobSpec.PAYMENT_REMINDER_FIELD_NUMBER,
}


def to_name(queue: str, kind: int, set_id: str) -> SetName:
    """Which set is meant."""
    return SetName(queue or limits.DEFAULT_QUEUE, Kind(kind), set_id)


def to_wish(kind: Kind, reminder: Reminder, offsets: Sequence[Duration]) -> Wish:
    """What a set is to be."""
    anchor = reminder.booking_time if isinstance(reminder, payloads_pb2.BookingReminder) else reminder.due_time
    spans = tuple(map(to_span, offsets)) or DEFAULT_OFFSETS[kind]
    # In a fixed order of map entries: two equal messages may come as different bytes.
    content = hashlib.sha256(reminder.SerializeToString(deterministic=True)).digest()
    return Wish(to_time(anchor), spans, content)


def to_payload_of(kind: Kind, reminder: Reminder) -> PayloadOf:
    """Makes the payload of each reminder: what came, with its offset and the set's revision."""
    came = reminder.SerializeToString()

    def payload_of(offset: timedelta, revision: int) -> Payload:
        own = type(reminder)(set_revision=revision)
        own.offset.FromTimedelta(offset)
        own.offset.SetInParent()  # also where it is 0
        # The bytes of two messages in a row are those of both in one.
        return Payload(_FIELDS[kind], came + own.SerializeToString())

    return payload_of


def fill_set(target: reminder_service_pb2.ReminderSet, shown: ShownSet) -> None:
    """Write a set into the field `target`."""
    target.queue = shown.name.queue
    target.kind = reminder_service_pb2.ReminderSet.Kind.ValueType(shown.name.kind)
    target.id = shown.name.set_id
    set_time(target.anchor_time, shown.anchor)
    target.cancelled = shown.cancelled
    target.revision = shown.revision
    target.warnings.extend(shown.warnings)
    for one in shown.reminders:
        reminder = target.reminders.add(job_id=one.job_id, skipped=not one.job_id)
        reminder.offset.FromTimedelta(one.offset)
        reminder.offset.SetInParent()  # also where it is 0
        set_time(reminder.send_time, one.send_time)
        if one.state is not None:
            reminder.state = job_pb2.Job.State.ValueType(one.state)
