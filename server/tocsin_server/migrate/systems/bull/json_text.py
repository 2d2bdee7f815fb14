"""Texts of the source: JSON as payloads and results of this side, numbers and times however they are written."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tocsin.errors import InvalidArgument
from tocsin.payloads import struct_from_dict, value_from_python
from tocsin.v1 import job_pb2, payloads_pb2

from tocsin_server.domain import limits
from tocsin_server.domain.job import Payload
from tocsin_server.domain.times import EPOCH, MILLISECOND, to_time

DATA = job_pb2.JobSpec.DATA_FIELD_NUMBER
RAW = job_pb2.JobSpec.RAW_FIELD_NUMBER
JSON_TYPE = "application/json"

#: What of a spec's 1 MiB is left to its payload: names, retry policy and retention take less than the rest.
PAYLOAD_BYTES = limits.JOB_SPEC_BYTES - 512

NO_OBJECT = "its data is no JSON object, so it is given as raw bytes (application/json)"
NOT_EXACT = "its data is given as raw bytes (application/json), as a Struct cannot hold it just as it is"
TOO_LARGE = "its data is larger than a job may be (1 MiB)"
NO_RESULT = "its result is longer than 256 KiB, and was dropped"
BROKEN_RESULT = "its result is broken JSON, and was dropped"

# Up to 17 digits a decimal is a double's own text. Longer ones are looked at.
_LONG_NUMBER = 17
_LONG_INTEGER = 20

_LAST_MS = (limits.LAST_TIME - EPOCH) // MILLISECOND


class Unfit(Exception):
    """It cannot be a job here; the message says why, and quotes nothing."""


class _Numbers:
    """The numbers of one text, and whether doubles hold all of them."""

    def __init__(self) -> None:
        self.exact = True

    def decimal(self, text: str) -> float:
        number = float(text)
        if number in (float("inf"), float("-inf")) or (
            len(text) > _LONG_NUMBER and Decimal(text) != Decimal(repr(number))
        ):
            self.exact = False
        return number

    def integer(self, text: str) -> int:
        if len(text) > _LONG_INTEGER:  # thousands of digits would take their time
            self.exact = False
            return 0
        return int(text)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def parsed(text: bytes) -> tuple[Any, bool]:
    """The value, and whether Python holds it exactly and whole. ValueError where it is no JSON, or no UTF-8."""
    numbers = _Numbers()
    try:
        value = json.loads(
            text.decode(), parse_float=numbers.decimal, parse_int=numbers.integer, parse_constant=_no_constant
        )
    except RecursionError:
        return None, False
    return value, numbers.exact


def payload_of(text: bytes) -> tuple[Payload, str | None]:
    """A job's data as its payload, and what is not as it was. Unfit where it is broken or too large."""
    try:
        value, exact = parsed(text)
    except UnicodeDecodeError:
        raise Unfit("its data is not UTF-8") from None
    except ValueError:
        raise Unfit("its data is broken JSON") from None
    why = NOT_EXACT
    if exact and isinstance(value, dict):
        if (body := _struct(value)) is not None and len(body) <= PAYLOAD_BYTES:
            return Payload(DATA, body), None
    elif exact:
        why = NO_OBJECT
    raw = payloads_pb2.RawPayload(content_type=JSON_TYPE, body=text).SerializeToString()
    if len(raw) > PAYLOAD_BYTES:
        raise Unfit(TOO_LARGE)
    return Payload(RAW, raw), why


def _struct(value: dict[str, Any]) -> bytes | None:
    try:
        return struct_from_dict(value).SerializeToString(deterministic=True)
    except (InvalidArgument, RecursionError):
        return None


def result_of(text: bytes | None) -> tuple[bytes | None, str | None]:
    """What a job returned, as a serialized tocsin.v1.Result, and what is not as it was. None: nothing."""
    if text is None:
        return None, None
    try:
        value, exact = parsed(text)
    except ValueError:
        return None, BROKEN_RESULT
    if value is None and exact:
        return None, None
    result = job_pb2.Result()
    try:
        if not exact:
            raise RecursionError
        result.data.CopyFrom(value_from_python(value))
    except (InvalidArgument, RecursionError):
        result.raw.content_type, result.raw.body = JSON_TYPE, text
    body = result.SerializeToString(deterministic=True)
    return (None, NO_RESULT) if len(body) > limits.RESULT_BYTES else (body, None)


def number_of(value: object) -> float | None:
    """A finite number; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, bytes)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def count_of(value: object, most: int) -> int:
    """A whole number from 0 to `most`; 0 for what is no number."""
    number = number_of(value)
    return 0 if number is None else int(min(max(number, 0), most))


def time_of(ms: float | None) -> datetime | None:
    """The time of milliseconds since 1970; None where it is none from 1970 to 9999."""
    if ms is None or not 0 < ms <= _LAST_MS:
        return None
    return to_time(int(ms))


def span_of(ms: float, least: timedelta, most: timedelta) -> timedelta:
    """Milliseconds as a span within limits."""
    if ms >= most / MILLISECOND:
        return most
    return max(int(ms) * MILLISECOND, least)
