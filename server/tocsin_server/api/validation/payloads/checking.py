"""One payload, checked by the rules of its field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from tocsin.v1 import job_pb2

from tocsin_server.api.validation.payloads.booking_reminder import check_booking_reminder
from tocsin_server.api.validation.payloads.data_cleanup import check_data_cleanup
from tocsin_server.api.validation.payloads.email_notification import check_email_notification
from tocsin_server.api.validation.payloads.payment_reminder import check_payment_reminder
from tocsin_server.api.validation.payloads.raw import check_raw
from tocsin_server.api.validation.payloads.reading import check_finite, read
from tocsin_server.api.validation.payloads.report_generation import check_report_generation
from tocsin_server.api.validation.payloads.sms_notification import check_sms_notification
from tocsin_server.api.validation.violations import Violations
from tocsin_server.api.wire import PAYLOAD_FIELDS

_SPEC_FIELDS = job_pb2.JobSpec.DESCRIPTOR.fields_by_name
_DATA = _SPEC_FIELDS["data"].number
_RAW = _SPEC_FIELDS["raw"].number

#: The type that a payload field sets by itself, by its number. `data` and `raw` set none.
BUILT_IN_TYPES = {number: name for number, name in PAYLOAD_FIELDS.items() if number not in (_DATA, _RAW)}

_Check = Callable[[Violations, str, Any], None]
_BY_NAME: dict[str, _Check] = {
    "raw": check_raw,
    "email_notification": check_email_notification,
    "sms_notification": check_sms_notification,
    "booking_reminder": check_booking_reminder,
    "payment_reminder": check_payment_reminder,
    "data_cleanup": check_data_cleanup,
    "report_generation": check_report_generation,
}
_CHECKS = {_SPEC_FIELDS[name].number: check for name, check in _BY_NAME.items()}


def check_payload(wrong: Violations, field: str, kind: int, body: bytes) -> None:
    """Check a payload's bytes; `field` is the path of the spec, e.g. "job"."""
    path = f"{field}.{PAYLOAD_FIELDS[kind]}"
    try:
        message = read(kind, body)
    except DecodeError:
        wrong.add(path, "cannot be read: it is broken, has text that is not UTF-8, or is nested some 30 levels deep")
        return
    if kind != _RAW:
        check_finite(wrong, path, message, body)
    if check := _CHECKS.get(kind):
        check(wrong, path, message)
