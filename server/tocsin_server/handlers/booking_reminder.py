"""Jobs of type booking_reminder: somebody is reminded of a booking, some time before it."""

from __future__ import annotations

from datetime import UTC, datetime

from tocsin.v1.payloads_pb2 import BookingReminder
from tocsin.worker.errors import DoNotRetry

from tocsin_server.domain.reminders import BEGUN, has_passed
from tocsin_server.domain.time_zones import UnknownZone
from tocsin_server.handlers.reminders.sending import DueReminder, ReminderHandler, ReminderSender
from tocsin_server.handlers.reminders.showing import moment
from tocsin_server.messages.templates.rendering import plain_data

TYPE = "booking_reminder"


def booking_reminder_handler(sender: ReminderSender) -> ReminderHandler[BookingReminder]:
    """The handler of booking_reminder jobs."""
    return ReminderHandler(TYPE, BookingReminder, _reminder, sender)


def _reminder(payload: BookingReminder, now: datetime) -> DueReminder:
    try:
        start = moment(payload.booking_time.ToDatetime(tzinfo=UTC), payload.time_zone)
    except UnknownZone:
        raise DoNotRetry("time_zone: this server knows no such zone") from None
    offset = payload.offset.ToTimedelta() if payload.HasField("offset") else None
    return DueReminder(
        kind="booking",
        set_id=payload.booking_id,
        set_revision=payload.set_revision if payload.HasField("set_revision") else None,
        template=payload.template,
        # What is ours goes before data of the same name.
        data={
            **plain_data(payload.template_data),
            "booking_id": payload.booking_id,
            "title": payload.title or "your booking",
            "location": payload.location,
            "recipient_name": payload.recipient_name,
            "start": start,
        },
        email_to=payload.email_to,
        sms_to=payload.sms_to,
        payload=payload,
        too_late=BEGUN if has_passed(start.local, offset, now) else "",
    )
