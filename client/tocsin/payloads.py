"""Payloads and results, between Python and the wire.

A dict travels as google.protobuf.Struct, so that every tool can show it. Its numbers are doubles: whole ones come back
as int (3.0 becomes 3), and an integer that a double cannot hold is refused instead of being rounded.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TypeAlias

from google.protobuf import json_format, struct_pb2

from tocsin._shapes import DataclassInstance, Misfit, ModelInstance, Read, dumped, is_shape, reader
from tocsin._struct_bytes import MAX_DEPTH, MAX_INTEGER, CannotTravel, struct_bytes, value_bytes
from tocsin.errors import InvalidArgument, Violation, WrongType
from tocsin.v1 import job_pb2, payloads_pb2

#: A payload that is a message of tocsin.v1 and sets the job's type by itself.
TypedPayload: TypeAlias = (
    payloads_pb2.EmailNotification
    | payloads_pb2.SmsNotification
    | payloads_pb2.BookingReminder
    | payloads_pb2.PaymentReminder
    | payloads_pb2.DataCleanup
    | payloads_pb2.ReportGeneration
    | payloads_pb2.HttpRequest
    | payloads_pb2.BulkAction
)

#: All that may be given as a payload. bytes are sent as RawPayload without a content type, objects of a dataclass or a
#: pydantic model as the dict of their fields.
Payload: TypeAlias = (
    Mapping[str, object] | bytes | payloads_pb2.RawPayload | TypedPayload | DataclassInstance | ModelInstance | None
)

#: A payload as it is given back.
DecodedPayload: TypeAlias = dict[str, object] | payloads_pb2.RawPayload | TypedPayload | None

#: The built-in payloads: name of the field in JobSpec, which is also the job's type.
TYPED_PAYLOADS: Mapping[type[TypedPayload], str] = {
    payloads_pb2.EmailNotification: "email_notification",
    payloads_pb2.SmsNotification: "sms_notification",
    payloads_pb2.BookingReminder: "booking_reminder",
    payloads_pb2.PaymentReminder: "payment_reminder",
    payloads_pb2.DataCleanup: "data_cleanup",
    payloads_pb2.ReportGeneration: "report_generation",
    payloads_pb2.HttpRequest: "http_request",
    payloads_pb2.BulkAction: "bulk_action",
}
#: Fields of typed payloads that list addresses and numbers.
_RECIPIENTS = ("to", "cc", "bcc", "reply_to", "email_to", "sms_to")
_TYPED_CLASSES = tuple(TYPED_PAYLOADS)
_FIELDS = job_pb2.JobSpec.DESCRIPTOR.fields_by_number
_FIRST_PAYLOAD_FIELD = 10


def put_payload(spec: job_pb2.JobSpec, payload: Payload, field: str = "job") -> None:
    """Set the payload of `spec`. `field` is the spec's path in the request, for errors.

    Raises InvalidArgument naming what cannot travel, and WrongType for what is no payload at all.
    """
    if payload is None:
        return
    if isinstance(payload, Mapping):
        _put_struct(_empty(spec), payload, f"{field}.data")
    elif isinstance(payload, bytes | bytearray | memoryview):
        spec.raw.body = bytes(payload)
    elif isinstance(payload, payloads_pb2.RawPayload):
        spec.raw.CopyFrom(payload)
    elif isinstance(payload, _TYPED_CLASSES):
        _refuse_letters(payload, f"{field}.{TYPED_PAYLOADS[type(payload)]}")
        getattr(spec, TYPED_PAYLOADS[type(payload)]).CopyFrom(payload)
    elif is_shape(type(payload)):
        _put_struct(_empty(spec), _dict_of(payload, f"{field}.data"), f"{field}.data")
    else:
        raise WrongType.of(
            field,
            "a payload is a dict, bytes, RawPayload, one of the typed messages, or an object of a dataclass or a "
            f"pydantic model, not {type(payload).__name__}",
        )


def _empty(spec: job_pb2.JobSpec) -> struct_pb2.Struct:
    spec.data.SetInParent()
    return spec.data


def _dict_of(payload: object, field: str) -> Mapping[str, object]:
    """The fields of a dataclass or a model, which the same class can read back.

    Python does not look at a dataclass' annotations, so they are compared here: a misfit is the sender's mistake.
    """
    try:
        data = dumped(payload)
        kind: type = type(payload)
        if dataclasses.is_dataclass(kind):
            _reader(kind)(data, "")
    except Misfit as misfit:
        violations = tuple(Violation(field if not path else f"{field}.{path}", what) for path, what in misfit.misfits)
    except RecursionError:  # it holds itself
        violations = (Violation(field, f"is nested more than {MAX_DEPTH} deep"),)
    except TypeError as error:
        raise WrongType.of(field, str(error)) from None
    else:
        if isinstance(data, Mapping):
            return data
        raise WrongType.of(field, f"{type(payload).__name__} is written as no JSON object")
    text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    raise InvalidArgument(text, reason="INVALID_FIELD", violations=violations)


@functools.lru_cache(maxsize=256)
def _reader(kind: type) -> Read:
    return reader(kind)


def _refuse_letters(payload: TypedPayload, field: str) -> None:
    """EmailNotification(to="a@b.de") has a recipient for each letter: protobuf takes any iterable for a list."""
    for name in _RECIPIENTS:
        values = getattr(payload, name, ())
        if len(values) > 1 and all(len(value) == 1 for value in values):
            raise WrongType.of(f"{field}.{name}", f"is a list: [{''.join(values)!r}]")


def payload_of(spec: job_pb2.JobSpec) -> DecodedPayload:
    """The payload of `spec`: a dict, a message, or None where there is none."""
    name = spec.WhichOneof("payload")
    if name is None:
        return None
    if name == "data":
        return dict_from_struct(spec.data)
    message: DecodedPayload = getattr(spec, name)
    return message


def decode_payload(kind: int, body: bytes) -> DecodedPayload:
    """The payload whose field in JobSpec has the number `kind` (0: none) and the bytes `body`."""
    if kind == 0:
        return None
    field = _FIELDS.get(kind)
    if field is None or kind < _FIRST_PAYLOAD_FIELD:
        raise ValueError(f"payload kind {kind} is not known to this version of tocsin")
    spec = job_pb2.JobSpec()
    getattr(spec, field.name).MergeFromString(body)
    return payload_of(spec)


def data_of(payload: DecodedPayload) -> dict[str, object]:
    """A decoded payload as a dict: a typed message with its field names, nothing as {}.

    Raises ValueError for a RawPayload, whose bytes only its handler understands.
    """
    if payload is None:
        return {}
    if isinstance(payload, dict):
        return payload
    if isinstance(payload, payloads_pb2.RawPayload):
        raise ValueError("this payload is bytes: read job.payload")
    shown: dict[str, object] = json_format.MessageToDict(payload, preserving_proto_field_name=True)
    return shown


def struct_from_dict(data: Mapping[str, object], field: str = "job.data") -> struct_pb2.Struct:
    """The Struct of a dict. Raises InvalidArgument naming the path of what cannot travel."""
    struct = struct_pb2.Struct()
    _put_struct(struct, data, field)
    return struct


def value_from_python(value: object, field: str = "result") -> struct_pb2.Value:
    """The Value of any JSON-like object. Raises InvalidArgument naming the path of what cannot travel."""
    try:
        # One deeper, so that a dict may be as deep here as it may be in a payload.
        return struct_pb2.Value.FromString(value_bytes(value, MAX_DEPTH + 1))
    except CannotTravel as refused:
        raise InvalidArgument.of(f"{field}{refused.path}", refused.what) from None


def dict_from_struct(struct: struct_pb2.Struct) -> dict[str, object]:
    """The dict of a Struct; whole numbers as int."""
    return {key: python_from_value(value) for key, value in struct.fields.items()}


def python_from_value(value: struct_pb2.Value) -> object:
    """What a Value holds; whole numbers as int."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= MAX_INTEGER else number
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return dict_from_struct(value.struct_value)
        case "list_value":
            return [python_from_value(item) for item in value.list_value.values]
        case _:
            return None


def _put_struct(struct: struct_pb2.Struct, data: Mapping[str, object], field: str) -> None:
    try:
        struct.MergeFromString(struct_bytes(data))
    except CannotTravel as refused:
        raise InvalidArgument.of(f"{field}{refused.path}", refused.what) from None
