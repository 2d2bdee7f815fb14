"""Jobs of another system that are, by name and data, what Tocsin's own types are: given as those, so that they run.

A job queue of a booking site has "email_notification" with {to, subject, template, data, priority}, "booking_reminder"
with {bookingId, customerEmail, bookingDate}, and the like. Readers give such jobs a type beside the built-in one. What
its message can say in full becomes that message; all else stays as it was read, for a handler of the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from tocsin.payloads import python_from_value
from tocsin.v1 import job_pb2, payloads_pb2

from tocsin_server.domain.currencies import DECIMALS
from tocsin_server.domain.job import Payload
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

OWN = "it is Tocsin's own {type} here, whose handler runs it: its data is given as that message"
NOT_OWN = "its data is not all that Tocsin's own {type} can be told, so it stays as it was, with a type of its own"

#: Whether a client could schedule a job with the payload of this kind and these bytes.
Check = Callable[[int, bytes], bool]

_SPEC = job_pb2.JobSpec.DESCRIPTOR.fields_by_name
_BESIDE = ("bull.", "agenda.")
_DATE = "$date"  # how a Date of MongoDB is written


class _Unlike(Exception):
    """The data is of another form."""


def as_own(foreign: Foreign, check: Check) -> Foreign:
    """The same, as a job of a built-in type where its data allows that."""
    spec = foreign.spec
    if spec is None or spec.payload is None or spec.payload.kind != job_pb2.JobSpec.DATA_FIELD_NUMBER:
        return foreign
    type_ = next((spec.type.removeprefix(one) for one in _BESIDE if spec.type.startswith(one)), "")
    if type_ not in _MAKERS:
        return foreign
    due = foreign.job.schedule_time if foreign.job is not None else None
    payload = _payload(type_, spec.payload, due, check)
    others = tuple(why for why in foreign.why if spec.type not in why)  # the reader's, of the type that it gave
    if payload is None:
        return replace(foreign, why=(*foreign.why, NOT_OWN.format(type=type_)))
    own = foreign.with_spec(replace(spec, type=type_, payload=payload))
    return replace(own, verdict=Verdict.CHANGED, why=(*others, OWN.format(type=type_)))


def _payload(type_: str, given: Payload, due: datetime | None, check: Check) -> Payload | None:
    struct = Struct.FromString(given.body)
    data = {name: python_from_value(value) for name, value in struct.fields.items()}
    try:
        fields, message = _MAKERS[type_](data, due)
        ParseDict(fields, message)
    except (_Unlike, ParseError, ValueError, OverflowError, TypeError):
        return None
    kind, body = _SPEC[type_].number, message.SerializeToString(deterministic=True)
    return Payload(kind, body) if check(kind, body) else None


def _email(data: Mapping[str, Any], due: datetime | None) -> tuple[dict[str, Any], Message]:
    plain = dict.fromkeys("from subject text html template".split(), _same)
    many = dict.fromkeys("to cc bcc".split(), _many)
    names = {"replyTo": "reply_to", "data": "template_data", "templateData": "template_data", "body": "text"}
    convert = {**plain, **many, "reply_to": _same, "template_data": _object, "priority": _upper}
    fields, rest = _renamed(data, names, convert)
    return _all(fields, rest), payloads_pb2.EmailNotification()


def _sms(data: Mapping[str, Any], due: datetime | None) -> tuple[dict[str, Any], Message]:
    names = {"message": "text", "body": "text", "phone": "to", "phoneNumber": "to"}
    fields, rest = _renamed(data, names, {"to": _many, "text": _same, "from": _same})
    return _all(fields, rest), payloads_pb2.SmsNotification()


_CUSTOMER = {"customerEmail": "email_to", "customerPhone": "sms_to", "customerName": "recipient_name"}


def _booking(data: Mapping[str, Any], due: datetime | None) -> tuple[dict[str, Any], Message]:
    names = {**_CUSTOMER, "bookingId": "booking_id", "bookingDate": "booking_time", "bookingTime": "booking_time"}
    names |= {"timeZone": "time_zone", "timezone": "time_zone", "serviceName": "title", "service": "title"}
    plain = dict.fromkeys("location title recipient_name time_zone".split(), _same)
    convert = {**plain, "booking_id": _text, "booking_time": _time, "email_to": _many, "sms_to": _many}
    fields, rest = _renamed(data, names, convert)
    return _reminder(fields, rest, "booking_time", due), payloads_pb2.BookingReminder()


def _payment(data: Mapping[str, Any], due: datetime | None) -> tuple[dict[str, Any], Message]:
    names = {**_CUSTOMER, "paymentId": "payment_id", "invoiceId": "payment_id", "dueDate": "due_time"}
    names |= {"timeZone": "time_zone", "timezone": "time_zone", "description": "title", "paymentUrl": "payment_url"}
    plain = dict.fromkeys("title recipient_name time_zone payment_url currency".split(), _same)
    convert = {**plain, "payment_id": _text, "due_time": _time, "email_to": _many, "sms_to": _many}
    fields, rest = _renamed(data, {**names, "paymentLink": "payment_url"}, convert)
    fields["amount_minor"] = _minor(rest.pop("amount", None), fields.get("currency"))
    return _reminder(fields, rest, "due_time", due), payloads_pb2.PaymentReminder()


def _cleanup(data: Mapping[str, Any], due: datetime | None) -> tuple[dict[str, Any], Message]:
    days = {"olderThanDays": "older_than", "retentionDays": "older_than", "dryRun": "dry_run", "statuses": "states"}
    fields, rest = _renamed(data, days, {"older_than": _days, "dry_run": _same, "states": _uppers, "types": _many})
    return _all(fields, rest), payloads_pb2.DataCleanup()


def _report(data: Mapping[str, Any], due: datetime | None) -> tuple[dict[str, Any], Message]:
    names = {"startDate": "start_time", "endDate": "end_time", "format": "formats", "recipients": "email_to"}
    names |= {"emailTo": "email_to", "email": "email_to"}
    convert = {"start_time": _time, "end_time": _time, "formats": _uppers, "email_to": _many}
    fields, rest = _renamed(data, names, convert)
    return _all(fields, rest), payloads_pb2.ReportGeneration()


_MAKERS = {
    "email_notification": _email,
    "sms_notification": _sms,
    "booking_reminder": _booking,
    "payment_reminder": _payment,
    "data_cleanup": _cleanup,
    "report_generation": _report,
}


def _renamed(
    data: Mapping[str, Any], names: Mapping[str, str], convert: Mapping[str, Callable[[Any], Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that a message has, and what else there is. Two words for one field are a form of their own."""
    fields: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for word, value in data.items():
        name = names.get(word, word)
        if value is None:
            continue
        if name not in convert:
            rest[word] = value
        elif name in fields:
            raise _Unlike
        else:
            fields[name] = convert[name](value)
    return fields, rest


def _all(fields: dict[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, where nothing else is to be said: nothing is lost."""
    if rest:
        raise _Unlike
    return fields


def _reminder(fields: dict[str, Any], rest: Mapping[str, Any], when: str, due: datetime | None) -> dict[str, Any]:
    """A reminder, sent when the job is due, which one that repeats is at no one time; what else there is fills its
    template."""
    if due is None:
        raise _Unlike
    before = datetime.fromisoformat(fields[when]) - due if when in fields else timedelta(0)
    if when == "booking_time":
        before = max(before, timedelta(0))
    offset = f"{before.total_seconds():.3f}s"
    return {**fields, "offset": offset, **({"template_data": dict(rest)} if rest else {})}


def _same(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Unlike
    return str(value)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise _Unlike
    return value


def _upper(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unlike
    return value.upper()


def _uppers(value: Any) -> list[str]:
    return [_upper(one) for one in _many(value)]


def _days(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unlike
    return f"{value * 86_400:.0f}s"


def _time(value: Any) -> str:
    """A Date as JSON, as Extended JSON, or in milliseconds. A time of day without a zone may be any of 24 hours."""
    if isinstance(value, dict) and value.keys() == {_DATE}:
        value = value[_DATE]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Unlike
    if isinstance(value, int):
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)).isoformat()
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        if len(value) != len("2026-01-02"):
            raise _Unlike
        time = time.replace(tzinfo=UTC)  # as JavaScript reads a date alone
    return time.isoformat()


def _minor(amount: Any, currency: Any) -> int:
    """25.00 EUR is 2500. Only an amount that the currency has."""
    if isinstance(amount, bool) or not isinstance(amount, str | int | float) or currency not in DECIMALS:
        raise _Unlike
    try:
        minor = Decimal(str(amount)).scaleb(DECIMALS[currency])
    except ArithmeticError:
        raise _Unlike from None
    if not minor.is_finite() or minor != minor.to_integral_value():
        raise _Unlike
    return int(minor)
