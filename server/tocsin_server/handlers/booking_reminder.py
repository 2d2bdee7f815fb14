"""Jobs of type booking_reminder: somebody is reminded of a booking, some time before it."""

from __future__ import annotations

from datetime import UTC, datetime

from tocsin.v1.payloads_pb2 import BookingReminder
from tocsin.worker.errors import DoNotRetry

from tocsin_server.domain.formats import is_https
from tocsin_server.domain.reminders import BEGUN, has_passed
from tocsin_server.domain.time_zones import UnknownZone
from tocsin_server.handlers.reminders.sending import DueReminder, ReminderHandler, ReminderSender
from tocsin_server.handlers.reminders.showing import moment
from tocsin_server.messages.mail.calendar_file import CalendarEvent
from tocsin_server.messages.templates.rendering import plain_data

TYPE = "booking_reminder"


def booking_reminder_handler(sender: ReminderSender) -> ReminderHandler[BookingReminder]:
    """The handler of booking_reminder jobs."""
    return ReminderHandler(TYPE, BookingReminder, _reminder, sender)


def _reminder(payload: BookingReminder, now: datetime) -> DueReminder:
    # Asked again though it was when the job was scheduled: a link in a mail is worth it.
    if payload.booking_url and not is_https(payload.booking_url):
        raise DoNotRetry("booking_url: it is no https:// address")
    try:
        start = moment(payload.booking_time.ToDatetime(tzinfo=UTC), payload.time_zone, now)
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
            "booking_url": payload.booking_url,
            "recipient_name": payload.recipient_name,
            "start": start,
        },
        email_to=payload.email_to,
        sms_to=payload.sms_to,
        payload=payload,
        event=CalendarEvent(
            payload.booking_id,
            payload.set_revision,
            start.local,
            payload.title or "Booking",
            payload.location,
            payload.booking_url,
        ),
        too_late=BEGUN if has_passed(start.local, offset, now) else "",
    )
