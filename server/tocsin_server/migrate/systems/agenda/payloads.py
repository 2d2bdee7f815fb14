"""An Agenda job's `data` and `result` as this side keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bson.dbref import DBRef
from google.protobuf.message import Message
from tocsin.errors import InvalidArgument
from tocsin.payloads import struct_from_dict, value_from_python
from tocsin.v1 import job_pb2, payloads_pb2

from tocsin_server.domain import limits
from tocsin_server.domain.job import Payload
from tocsin_server.migrate.systems.agenda.extended_json import ExtendedJson, NotText, Plain, TooDeep

JSON = "application/json"

#: What of a spec's 1 MiB is left to its payload: names, retry policy and retention take less than the rest.
PAYLOAD_BYTES = limits.JOB_SPEC_BYTES - 512

_EXAMPLES = {"Date": '{"$date": ...}', "ObjectId": '{"$oid": ...}', "Int64": '{"$numberLong": ...}'}


class CannotCarry(ValueError):
    """It cannot stand in a job; the message says why, for the report."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What `data` becomes, and what of it is not as it was."""

    payload: Payload | None
    why: tuple[str, ...] = ()


def payload_of(data: object) -> Carried:
    """The payload of a job: an object as `data`, nothing as none, anything else as JSON in `raw`. CannotCarry."""
    if data is None:
        return Carried(None)
    plain, why = _plain("data", data)
    if isinstance(data, Mapping | DBRef) and isinstance(plain, dict):
        if (struct := _struct(plain)) is not None:
            return Carried(Payload(job_pb2.JobSpec.DATA_FIELD_NUMBER, struct), why)
        why = (*why, f"data is nested too deep or is too long for `data` here, and is given as `raw` {JSON}")
    else:
        why = (*why, f"data is not an object, and is given as `raw` {JSON}")
    body = _bytes(_raw(plain))
    if len(body) > PAYLOAD_BYTES:
        raise CannotCarry(f"data is larger than the {limits.JOB_SPEC_BYTES:,} bytes that a job may have")
    return Carried(Payload(job_pb2.JobSpec.RAW_FIELD_NUMBER, body), why)


def result_of(value: object) -> tuple[bytes | None, tuple[str, ...]]:
    """A saved result as a serialized tocsin.v1.Result, and what of it is not as it was. Never raises."""
    if value is None:
        return None, ()
    try:
        plain, why = _plain("the result", value)
    except CannotCarry as trouble:
        return None, (f"{trouble}: it is left out",)
    try:
        result = job_pb2.Result(data=value_from_python(plain))
    except InvalidArgument:
        result = job_pb2.Result(raw=_raw(plain))
        why = (*why, f"the result is nested too deep, and is given as `raw` {JSON}")
    body = _bytes(result)
    if len(body) > limits.RESULT_BYTES:
        return None, (f"the result is larger than {limits.RESULT_BYTES:,} bytes: it is left out",)
    return body, why


def _plain(name: str, value: object) -> tuple[Plain, tuple[str, ...]]:
    writing = ExtendedJson()
    try:
        plain = writing.plain(value)
    except NotText:
        raise CannotCarry(f"{name} holds text that is not UTF-8") from None
    except TooDeep:
        raise CannotCarry(f"{name} is nested deeper than MongoDB allows") from None
    if not writing.kinds:
        return plain, ()
    kinds = sorted(writing.kinds)
    examples = ", ".join(_EXAMPLES[kind] for kind in kinds if kind in _EXAMPLES)
    return plain, (
        f"{name} holds what JSON lacks ({', '.join(kinds)}), written as in MongoDB's Extended JSON"
        + (f": {examples}" if examples else ""),
    )


def _raw(plain: Plain) -> payloads_pb2.RawPayload:
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return payloads_pb2.RawPayload(content_type=JSON, body=text.encode())


def _struct(plain: dict[str, Any]) -> bytes | None:
    """The object as a Struct; None where it is nested too deep for one, or too long: JSON is shorter at times."""
    try:
        body = _bytes(struct_from_dict(plain))
    except InvalidArgument:  # all else that it refuses has been written otherwise
        return None
    return body if len(body) <= PAYLOAD_BYTES else None


def _bytes(message: Message) -> bytes:
    # In a fixed order of map entries: the same job has the same bytes in every run.
    return message.SerializeToString(deterministic=True)
