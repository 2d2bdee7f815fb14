"""Payloads: readable, not too deep, without NaN and infinity, and what the built-in types ask of their messages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from tocsin.v1 import job_pb2, job_service_pb2, payloads_pb2

from tocsin_server.api.validation.violations import Violations
from tocsin_server.api.wire import PAYLOAD_FIELDS
from tocsin_server.domain import limits
from tocsin_server.domain.addresses import BadAddress, has_control, parse_address

_SPEC_FIELDS = job_pb2.JobSpec.DESCRIPTOR.fields_by_name
_DATA = _SPEC_FIELDS["data"].number
_RAW = _SPEC_FIELDS["raw"].number

#: The type that a payload field sets by itself, by its number. `data` and `raw` set none.
BUILT_IN_TYPES = {number: name for number, name in PAYLOAD_FIELDS.items() if number not in (_DATA, _RAW)}

# A double whose exponent is all ones (NaN, infinity) ends in these bytes. Rare in anything else, so that payloads
# without one are not walked.
_NOT_FINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")
# Shorter bytes cannot be nested too deep: a level of a Struct takes 8 bytes at least.
_DEEP_BYTES = 200
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_TEMPLATE = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_MOST_RECIPIENTS = 100
_SUBJECT_CHARACTERS = 998
_SMS_CHARACTERS = 1_600
_CONTENT_TYPE_CHARACTERS = 255


def check_payload(wrong: Violations, field: str, kind: int, body: bytes) -> None:
    """Check a payload's bytes; `field` is the path of the spec, e.g. "job"."""
    path = f"{field}.{PAYLOAD_FIELDS[kind]}"
    try:
        message = _read(kind, body)
    except DecodeError:
        wrong.add(path, "cannot be read: it is broken, has text that is not UTF-8, or is nested some 30 levels deep")
        return
    if kind != _RAW and _NOT_FINITE.search(body):
        _check_finite(wrong, path, message)
    if check := _CHECKS.get(kind):
        check(wrong, path, message)


def _read(kind: int, body: bytes) -> Message:
    field = _SPEC_FIELDS[PAYLOAD_FIELDS[kind]]
    if len(body) <= _DEEP_BYTES:
        # _concrete_class is what message_factory would look up; it is not in the stubs.
        return cast(Message, cast(Any, field.message_type)._concrete_class.FromString(body))
    # Protobuf reads 100 levels. Read it as deep inside an answer as it will ever stand, so that whoever gets it can.
    wrapped = body
    for number in (kind, *_ANSWER_PATH):
        wrapped = _varint(number << 3 | 2) + _varint(len(wrapped)) + wrapped
    answer = job_service_pb2.BatchScheduleJobsResponse.FromString(wrapped)
    return cast(Message, getattr(answer.results[0].response.job.spec, field.name))


#: Numbers of spec, job, response and results, from the inside out.
_ANSWER_PATH = (
    job_pb2.Job.SPEC_FIELD_NUMBER,
    job_service_pb2.ScheduleJobResponse.JOB_FIELD_NUMBER,
    job_service_pb2.BatchScheduleJobsResponse.Result.RESPONSE_FIELD_NUMBER,
    job_service_pb2.BatchScheduleJobsResponse.RESULTS_FIELD_NUMBER,
)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _check_finite(wrong: Violations, path: str, message: Message) -> None:
    if isinstance(message, Struct):
        roots = [(path, message)]
    else:
        roots = [(f"{path}.{field.name}", value) for field, value in message.ListFields() if isinstance(value, Struct)]
    for root, struct in roots:
        for at, number in _numbers(root, struct):
            if not math.isfinite(number):
                wrong.add(at, f"is {number}: NaN and infinity are refused, JSON has no word for them")


def _numbers(path: str, root: Struct) -> Iterator[tuple[str, float]]:
    """All numbers with their paths, without recursion."""
    left: list[tuple[str, Struct | ListValue | Value]] = [(path, root)]
    while left:
        at, node = left.pop()
        if isinstance(node, Struct):
            left += [(f"{at}.{key[:100]}", value) for key, value in node.fields.items()]
        elif isinstance(node, ListValue):
            left += [(f"{at}[{i}]", value) for i, value in enumerate(node.values)]
        elif (kind := node.WhichOneof("kind")) == "number_value":
            yield at, node.number_value
        elif kind == "struct_value":
            left.append((at, node.struct_value))
        elif kind == "list_value":
            left.append((at, node.list_value))


# --- built-in payloads ---


def _check_raw(wrong: Violations, path: str, raw: payloads_pb2.RawPayload) -> None:
    wrong.characters(f"{path}.content_type", raw.content_type, _CONTENT_TYPE_CHARACTERS)


def _check_email(wrong: Violations, path: str, mail: payloads_pb2.EmailNotification) -> None:
    _addresses(wrong, f"{path}.to", mail.to, least=1)
    _addresses(wrong, f"{path}.cc", mail.cc)
    _addresses(wrong, f"{path}.bcc", mail.bcc)
    sender: str = getattr(mail, "from")  # a keyword of Python
    if sender:
        _address(wrong, f"{path}.from", sender)
    if mail.reply_to:
        _address(wrong, f"{path}.reply_to", mail.reply_to)
    if len(mail.subject) > _SUBJECT_CHARACTERS:
        wrong.add(f"{path}.subject", f"has {len(mail.subject):,} characters, at most {_SUBJECT_CHARACTERS} are allowed")
    if has_control(mail.subject):
        wrong.add(f"{path}.subject", "has a line break or another control character")
    if mail.template and not _TEMPLATE.match(mail.template):
        wrong.add(f"{path}.template", "is no template name: 1 to 100 of A-Z a-z 0-9 . _ - are allowed")
    if not (mail.text or mail.html or mail.template):
        wrong.add(path, "needs at least one of text, html and template")


def _check_sms(wrong: Violations, path: str, sms: payloads_pb2.SmsNotification) -> None:
    _numbers_e164(wrong, f"{path}.to", sms.to, least=1)
    if not sms.text:
        wrong.add(f"{path}.text", "is needed")
    elif len(sms.text) > _SMS_CHARACTERS:
        wrong.add(f"{path}.text", f"has {len(sms.text):,} characters, at most {_SMS_CHARACTERS:,} are allowed")
    if has_control(getattr(sms, "from")):
        wrong.add(f"{path}.from", "has a line break or another control character")


def _check_booking(wrong: Violations, path: str, booking: payloads_pb2.BookingReminder) -> None:
    _id(wrong, f"{path}.booking_id", booking.booking_id)
    if booking.HasField("booking_time"):
        wrong.time(f"{path}.booking_time", booking.booking_time)
    else:
        wrong.add(f"{path}.booking_time", "is needed")
    if booking.HasField("offset"):
        wrong.span(f"{path}.offset", booking.offset, timedelta(0), limits.MAX_DELAY, "0 to 100 years")
    _reminder(wrong, path, booking)


def _check_payment(wrong: Violations, path: str, payment: payloads_pb2.PaymentReminder) -> None:
    _id(wrong, f"{path}.payment_id", payment.payment_id)
    if payment.HasField("due_time"):
        wrong.time(f"{path}.due_time", payment.due_time)
    else:
        wrong.add(f"{path}.due_time", "is needed")
    if payment.currency and not _CURRENCY.match(payment.currency):
        wrong.add(f"{path}.currency", "is no ISO 4217 code such as EUR")
    _reminder(wrong, path, payment)


def _reminder(
    wrong: Violations, path: str, reminder: payloads_pb2.BookingReminder | payloads_pb2.PaymentReminder
) -> None:
    _addresses(wrong, f"{path}.email_to", reminder.email_to)
    _numbers_e164(wrong, f"{path}.sms_to", reminder.sms_to)
    if not reminder.email_to and not reminder.sms_to:
        wrong.add(path, "needs at least one of email_to and sms_to")
    if reminder.time_zone and not _zone(reminder.time_zone):
        wrong.add(f"{path}.time_zone", "is no IANA time zone such as Europe/Berlin")


def _check_cleanup(wrong: Violations, path: str, cleanup: payloads_pb2.DataCleanup) -> None:
    wrong.queue(f"{path}.queue", cleanup.queue)
    if cleanup.HasField("older_than"):
        wrong.span(f"{path}.older_than", cleanup.older_than, timedelta(seconds=1), limits.MAX_DELAY, "1 s to 100 years")
    else:
        wrong.add(f"{path}.older_than", "is needed")
    wrong.names(f"{path}.types", cleanup.types)


def _check_report(wrong: Violations, path: str, report: payloads_pb2.ReportGeneration) -> None:
    wrong.queue(f"{path}.queue", report.queue)
    for name in ("start_time", "end_time"):
        if report.HasField(name):
            wrong.time(f"{path}.{name}", getattr(report, name))
    _addresses(wrong, f"{path}.email_to", report.email_to)


def _id(wrong: Violations, path: str, value: str) -> None:
    if not value:
        wrong.add(path, "is needed")
    else:
        wrong.characters(path, value, limits.JOB_ID_CHARACTERS)


def _addresses(wrong: Violations, path: str, values: Sequence[str], *, least: int = 0) -> None:
    if wrong.count(path, values, _MOST_RECIPIENTS, least=least):
        for i, value in enumerate(values):
            _address(wrong, f"{path}[{i}]", value)


def _address(wrong: Violations, path: str, value: str) -> None:
    try:
        parse_address(value)
    except BadAddress as error:
        wrong.add(path, f"{error}; write it as ada@example.com or Ada <ada@example.com>")


def _numbers_e164(wrong: Violations, path: str, values: Sequence[str], *, least: int = 0) -> None:
    if wrong.count(path, values, _MOST_RECIPIENTS, least=least):
        for i, value in enumerate(values):
            if not _E164.match(value):
                wrong.add(f"{path}[{i}]", "is no number in E.164 form such as +4915112345678")


def _zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown; a folder of zones; a path
        return False
    return True


_Check = Callable[[Violations, str, Any], None]
_BY_NAME: dict[str, _Check] = {
    "raw": _check_raw,
    "email_notification": _check_email,
    "sms_notification": _check_sms,
    "booking_reminder": _check_booking,
    "payment_reminder": _check_payment,
    "data_cleanup": _check_cleanup,
    "report_generation": _check_report,
}
_CHECKS = {_SPEC_FIELDS[name].number: check for name, check in _BY_NAME.items()}
