"""One payload, checked by the rules of its field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from tocsin.v1 import job_pb2, payloads_pb2

from tocsin_server.api.requests.payloads.bulk_action import check_bulk_action, check_kept_bulk_action
from tocsin_server.api.requests.payloads.housekeeping import check_data_cleanup, check_report_generation
from tocsin_server.api.requests.payloads.http_request import check_http_request
from tocsin_server.api.requests.payloads.messages import check_email_notification, check_sms_notification
from tocsin_server.api.requests.payloads.reading import all_finite, check_finite, is_readable_struct, read
from tocsin_server.api.requests.payloads.reminders import check_booking_reminder, check_payment_reminder
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.wire import PAYLOAD_FIELDS

_SPEC_FIELDS = job_pb2.JobSpec.DESCRIPTOR.fields_by_name
_DATA = _SPEC_FIELDS["data"].number
_RAW = _SPEC_FIELDS["raw"].number

#: The type that a payload field sets by itself, by its number. `data` and `raw` set none.
BUILT_IN_TYPES = {number: name for number, name in PAYLOAD_FIELDS.items() if number not in (_DATA, _RAW)}

_CONTENT_TYPE_CHARACTERS = 255


def _check_raw(wrong: Violations, path: str, raw: payloads_pb2.RawPayload) -> None:
    wrong.characters(f"{path}.content_type", raw.content_type, _CONTENT_TYPE_CHARACTERS)


_Check = Callable[[Violations, str, Any], None]
_BY_NAME: dict[str, _Check] = {
    "raw": _check_raw,
    "email_notification": check_email_notification,
    "sms_notification": check_sms_notification,
    "booking_reminder": check_booking_reminder,
    "payment_reminder": check_payment_reminder,
    "data_cleanup": check_data_cleanup,
    "report_generation": check_report_generation,
    "http_request": check_http_request,
    "bulk_action": check_bulk_action,
}
_CHECKS = {_SPEC_FIELDS[name].number: check for name, check in _BY_NAME.items()}
_CHECKS_OF_KEPT: dict[int, _Check] = {**_CHECKS, _SPEC_FIELDS["bulk_action"].number: check_kept_bulk_action}


def check_payload(wrong: Violations, field: str, kind: int, body: bytes, *, kept: bool = False) -> None:
    """Check a payload's bytes; `field` is the path of the spec, e.g. "job". `kept`: it stood in a store, and has what
    the server sets."""
    path = f"{field}.{PAYLOAD_FIELDS[kind]}"
    try:
        message = read(kind, body)
    except DecodeError:
        wrong.add(path, "cannot be read: it is broken, has text that is not UTF-8, or is nested some 30 levels deep")
        return
    if kind != _RAW:
        check_finite(wrong, path, message, body)
    if check := (_CHECKS_OF_KEPT if kept else _CHECKS).get(kind):
        check(wrong, path, message)


def is_plain_data(name: str, body: bytes) -> bool:
    """Whether it is a payload `data` with nothing wrong, as most jobs have. False: `check_payload` knows."""
    return name == "data" and all_finite(body) and is_readable_struct(body)
