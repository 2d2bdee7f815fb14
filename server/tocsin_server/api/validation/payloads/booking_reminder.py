"""Rules on a payload booking_reminder."""

from __future__ import annotations

from datetime import timedelta

from tocsin.v1 import payloads_pb2

from tocsin_server.api.validation.payloads.reminders import check_id, check_reminder
from tocsin_server.api.validation.violations import Violations
from tocsin_server.domain import limits

_LOCATION_CHARACTERS = 500


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
    check_reminder(wrong, path, booking)
