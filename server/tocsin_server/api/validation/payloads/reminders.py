"""Rules that the payloads of both kinds of reminders share."""

from __future__ import annotations

from tocsin.v1 import payloads_pb2

from tocsin_server.api.validation.payloads.recipients import check_addresses, check_numbers
from tocsin_server.api.validation.payloads.templates import check_template
from tocsin_server.api.validation.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.time_zones import UnknownZone, zone_of

_TITLE_CHARACTERS = 200


def check_reminder(
    wrong: Violations, path: str, reminder: payloads_pb2.BookingReminder | payloads_pb2.PaymentReminder
) -> None:
    """Who gets it, what it is about, the zone in which times are shown, and the template."""
    check_addresses(wrong, f"{path}.email_to", reminder.email_to)
    check_numbers(wrong, f"{path}.sms_to", reminder.sms_to)
    if not reminder.email_to and not reminder.sms_to:
        wrong.add(path, "needs at least one of email_to and sms_to")
    try:
        zone_of(reminder.time_zone)
    except UnknownZone:
        wrong.add(f"{path}.time_zone", "is no IANA time zone such as Europe/Berlin")
    wrong.characters(f"{path}.title", reminder.title, _TITLE_CHARACTERS)
    wrong.characters(f"{path}.recipient_name", reminder.recipient_name, _TITLE_CHARACTERS)
    check_template(wrong, f"{path}.template", reminder.template)


def check_id(wrong: Violations, path: str, value: str) -> None:
    """The id of a booking or a payment, which must be there."""
    if not value:
        wrong.add(path, "is needed")
    else:
        wrong.characters(path, value, limits.JOB_ID_CHARACTERS)
