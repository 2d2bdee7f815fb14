"""Jobs of type payment_reminder: somebody is reminded of a payment, before it is due or after."""

from __future__ import annotations

from datetime import UTC, datetime

from tocsin.v1.payloads_pb2 import PaymentReminder
from tocsin.worker.errors import DoNotRetry

from tocsin_server.domain.currencies import DECIMALS, show_amount
from tocsin_server.domain.formats import is_https
from tocsin_server.domain.reminders import has_passed
from tocsin_server.domain.time_zones import UnknownZone
from tocsin_server.handlers.reminders.sending import DueReminder, ReminderHandler, ReminderSender
from tocsin_server.handlers.reminders.showing import moment
from tocsin_server.messages.templates.rendering import plain_data

TYPE = "payment_reminder"


def payment_reminder_handler(sender: ReminderSender) -> ReminderHandler[PaymentReminder]:
    """The handler of payment_reminder jobs."""
    return ReminderHandler(TYPE, PaymentReminder, _reminder, sender)


def _reminder(payload: PaymentReminder, now: datetime) -> DueReminder:
    # Asked again though it was when the job was scheduled: a link in a mail is worth it.
    if payload.payment_url and not is_https(payload.payment_url):
        raise DoNotRetry("payment_url: it is no https:// address")
    if payload.currency not in DECIMALS:
        raise DoNotRetry("currency: it is no current ISO 4217 code")
    try:
        due = moment(payload.due_time.ToDatetime(tzinfo=UTC), payload.time_zone, now)
    except UnknownZone:
        raise DoNotRetry("time_zone: this server knows no such zone") from None
    offset = payload.offset.ToTimedelta() if payload.HasField("offset") else None
    return DueReminder(
        kind="payment",
        set_id=payload.payment_id,
        set_revision=payload.set_revision if payload.HasField("set_revision") else None,
        template=payload.template,
        # What is ours goes before data of the same name.
        data={
            **plain_data(payload.template_data),
            "payment_id": payload.payment_id,
            "title": payload.title or "your payment",
            "amount": show_amount(payload.amount_minor, payload.currency),
            "amount_minor": payload.amount_minor,
            "currency": payload.currency,
            "payment_url": payload.payment_url,
            "recipient_name": payload.recipient_name,
            "due": due,
            "overdue": has_passed(due.local, offset, now),
        },
        email_to=payload.email_to,
        sms_to=payload.sms_to,
        payload=payload,
    )
