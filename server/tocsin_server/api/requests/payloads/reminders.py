"""Rules on payloads booking_reminder and payment_reminder, and what both share."""

from __future__ import annotations

from datetime import timedelta

from tocsin.v1 import payloads_pb2

from tocsin_server.api.requests.payloads.recipients import check_addresses, check_numbers, check_template, check_zone
from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.currencies import DECIMALS
from tocsin_server.domain.formats import is_https

_LOCATION_CHARACTERS = 500
_URL_CHARACTERS = 2_000
_TITLE_CHARACTERS = 200


def check_booking_reminder(wrong: Violations, path: str, booking: payloads_pb2.BookingReminder) -> None:
    """A reminder of a booking."""
    check_id(wrong, f"{path}.booking_id", booking.booking_id)
    if booking.HasField("booking_time"):
        wrong.time(f"{path}.booking_time", booking.booking_time)
    else:
        wrong.add(f"{path}.booking_time", "is needed")
    if booking.HasField("offset"):
        wrong.span(f"{path}.offset", booking.offset, timedelta(0), limits.MAX_DELAY, "0 to 100 years")
    wrong.characters(f"{path}.location", booking.location, _LOCATION_CHARACTERS)
    _check_url(wrong, f"{path}.booking_url", booking.booking_url)
    check_reminder(wrong, path, booking)


def check_payment_reminder(wrong: Violations, path: str, payment: payloads_pb2.PaymentReminder) -> None:
    """A reminder of a payment."""
    check_id(wrong, f"{path}.payment_id", payment.payment_id)
    if payment.HasField("due_time"):
        wrong.time(f"{path}.due_time", payment.due_time)
    else:
        wrong.add(f"{path}.due_time", "is needed")
    if payment.amount_minor < 1:
        wrong.add(f"{path}.amount_minor", f"is {payment.amount_minor:,}, not 1 or more of the currency's smallest unit")
    if payment.currency not in DECIMALS:
        wrong.add(f"{path}.currency", "is no current ISO 4217 code such as EUR" if payment.currency else "is needed")
    if payment.HasField("offset"):
        wrong.span(f"{path}.offset", payment.offset, -limits.MAX_DELAY, limits.MAX_DELAY, "up to 100 years")
    _check_url(wrong, f"{path}.payment_url", payment.payment_url)
    check_reminder(wrong, path, payment)


def _check_url(wrong: Violations, path: str, url: str) -> None:
    if len(url) > _URL_CHARACTERS:
        wrong.add(path, f"has {len(url):,} characters, at most {_URL_CHARACTERS:,} are allowed")
    elif url and not is_https(url):
        wrong.add(path, "is no https:// address, with a host and without user and password")


def check_reminder(
    wrong: Violations, path: str, reminder: payloads_pb2.BookingReminder | payloads_pb2.PaymentReminder
) -> None:
    """Who gets it, what it is about, the zone in which times are shown, and the template."""
    check_addresses(wrong, f"{path}.email_to", reminder.email_to)
    check_numbers(wrong, f"{path}.sms_to", reminder.sms_to)
    if not reminder.email_to and not reminder.sms_to:
        wrong.add(path, "needs at least one of email_to and sms_to")
    check_zone(wrong, f"{path}.time_zone", reminder.time_zone)
    wrong.characters(f"{path}.title", reminder.title, _TITLE_CHARACTERS)
    wrong.characters(f"{path}.recipient_name", reminder.recipient_name, _TITLE_CHARACTERS)
    check_template(wrong, f"{path}.template", reminder.template)


def check_id(wrong: Violations, path: str, value: str) -> None:
    """The id of a booking or a payment, which must be there."""
    if not value:
        wrong.add(path, "is needed")
    else:
        wrong.characters(path, value, limits.JOB_ID_CHARACTERS)
