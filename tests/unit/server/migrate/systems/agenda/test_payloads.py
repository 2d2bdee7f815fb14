"""`data` and `result` as payloads: what JSON holds as it is, the rest so that a handler can read it back."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import json_util
from bson.binary import Binary
from bson.code import Code
from bson.codec_options import DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import given
from tocsin.payloads import python_from_value
from tocsin.v1 import job_pb2, payloads_pb2
from tocsin_server.domain import limits
from tocsin_server.migrate.systems.foreign import Foreign, Verdict
from unit.server.migrate.systems.agenda.document_builder import (
    ALL,
    EARLIER,
    VALUES,
    a_document,
    acceptable,
    becomes,
    data_of,
    job_of,
)

READING = json_util.JSONOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO)
WHEN = datetime(2031, 5, 6, 7, 8, 9, 10_000, tzinfo=UTC)
SOME_ID = ObjectId("65f000000000000000000001")


def with_data(data: Any) -> Foreign:
    return becomes(a_document(data=data))


def raw_of(found: Foreign) -> Any:
    """The JSON of a raw payload."""
    payload = data_of(found)
    assert isinstance(payload, payloads_pb2.RawPayload), payload
    assert payload.content_type == "application/json"
    return json.loads(payload.body)


def nested(levels: int, leaf: Any = 1) -> Any:
    for _ in range(levels):
        leaf = {"in": leaf}
    return leaf


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"to": "ada@example.com", "n": [1, 2.5, None, True, {"deep": []}], "": "no key", "$set": 1, "a.b": "\x00"},
        {"whole": Int64(2**53), "least": -(2**53), "large": 1e300, "zero": 0.0},
        {"$ref": 1, "$id": 2},
        nested(31),
    ],
)
def test_an_object_that_json_holds_is_taken_as_it_is(data: dict[str, Any]) -> None:
    found = with_data(data)
    assert (found.verdict, found.why) == (Verdict.TAKEN, ())
    assert data_of(found) == data


def test_an_object_that_looks_like_a_reference_is_an_object() -> None:
    found = with_data({"$ref": "users", "$id": 7})
    assert (found.verdict, data_of(found)) == (Verdict.TAKEN, {"$ref": "users", "$id": 7})


@pytest.mark.parametrize("absent", [True, False], ids=["absent", "null"])
def test_no_data_is_no_payload(absent: bool) -> None:
    document = a_document(data=None)
    if absent:
        del document["data"]
    found = becomes(document)
    assert (found.verdict, job_of(found).spec.payload) == (Verdict.TAKEN, None)


@pytest.mark.parametrize("data", ["only text", "", [1, {"a": 2}], 7, False])
def test_what_is_no_object_is_raw_json(data: Any) -> None:
    found = with_data(data)
    assert found.verdict is Verdict.CHANGED
    assert "not an object" in found.why[0]
    assert raw_of(found) == data


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        (SOME_ID, "ObjectId", {"$oid": "65f000000000000000000001"}),
        (WHEN, "Date", {"$date": "2031-05-06T07:08:09.010Z"}),
        (DatetimeMS(2**50), "Date", {"$date": {"$numberLong": "1125899906842624"}}),
        (datetime(1960, 1, 1, tzinfo=UTC), "Date", {"$date": {"$numberLong": "-315619200000"}}),
        (Decimal128("12.50"), "Decimal128", {"$numberDecimal": "12.50"}),
        (Int64(2**53 + 1), "Int64", {"$numberLong": "9007199254740993"}),
        (b"\x00\xff", "Binary", {"$binary": {"base64": "AP8=", "subType": "00"}}),
        (Binary(b"\x00" * 16, 4), "Binary", {"$binary": {"base64": "AAAAAAAAAAAAAAAAAAAAAA==", "subType": "04"}}),
        (math.inf, "Infinity", {"$numberDouble": "Infinity"}),
        (Regex("a+", "i"), "Regex", {"$regularExpression": {"pattern": "a+", "options": "i"}}),
        (Timestamp(1, 2), "Timestamp", {"$timestamp": {"t": 1, "i": 2}}),
        (Code("go()"), "Code", {"$code": "go()"}),
        (Code("go()", {"id": SOME_ID}), "Code", {"$code": "go()", "$scope": {"id": {"$oid": str(SOME_ID)}}}),
        (MinKey(), "MinKey", {"$minKey": 1}),
        (MaxKey(), "MaxKey", {"$maxKey": 1}),
        (DBRef("users", SOME_ID), "ObjectId", {"$ref": "users", "$id": {"$oid": str(SOME_ID)}}),
    ],
)
def test_what_json_lacks_is_extended_json_that_reads_back(value: Any, kind: str, written: Any) -> None:
    data = {"plain": 1, "list": [value]}
    found = with_data(data)
    assert found.verdict is Verdict.CHANGED
    assert len(found.why) == 1
    assert kind in found.why[0]
    shown = data_of(found)
    assert shown == {"plain": 1, "list": [written]}
    back = json_util.loads(json.dumps(shown), json_options=READING)
    assert bson.encode({"list": back["list"]}) == bson.encode({"list": [value]})


def test_nan_is_extended_json() -> None:
    found = with_data({"n": math.nan})
    assert "NaN" in found.why[0]
    assert data_of(found) == {"n": {"$numberDouble": "NaN"}}


def test_a_reason_holds_nothing_of_the_data() -> None:
    found = with_data({"secret-key": SOME_ID, "when": "secret", "deep": nested(40, "secret")})
    assert found.verdict is Verdict.CHANGED
    assert not re.search("secret|65f0", " ".join(found.why))


@pytest.mark.parametrize("levels", [32, 33, 100])
def test_what_is_nested_too_deep_for_a_struct_is_raw_json(levels: int) -> None:
    found = with_data(nested(levels))
    if levels == 32:
        assert (found.verdict, data_of(found)) == (Verdict.TAKEN, nested(32))
    else:
        assert "nested too deep" in found.why[0]
        assert raw_of(found) == nested(levels)
    payload = job_of(found).spec.payload
    assert payload is not None
    acceptable(payload)


def test_what_is_nested_deeper_than_mongodb_stores_is_refused() -> None:
    found = becomes(deep_document(400))
    assert (found.verdict, found.source_state) == (Verdict.REFUSED, "scheduled")
    assert "nested deeper" in found.why[0]


def test_what_is_nested_past_all_bounds_is_refused() -> None:
    assert becomes(deep_document(100_000)).verdict is Verdict.REFUSED


def deep_document(levels: int) -> bytes:
    """The BSON of a job with data of so many levels, which pymongo would not write."""
    opened, inner = b"\x03a\x00", bson.encode({})
    # Each level adds its length, its one element's type and name, and its end.
    lengths = [len(inner) + level * 8 for level in range(1, levels + 1)]
    data = b"".join(length.to_bytes(4, "little") + opened for length in reversed(lengths)) + inner + b"\x00" * levels
    head = bson.encode(a_document(data=None))[4:-1].replace(b"\x0adata\x00", b"")
    body = head + b"\x03data\x00" + data + b"\x00"
    return (len(body) + 4).to_bytes(4, "little") + body


def test_200_kb_are_taken_and_more_than_a_mebibyte_is_refused() -> None:
    large = {"text": "x" * 200_000}
    assert data_of(with_data(large)) == large
    found = with_data({"text": "x" * (1 << 20)})
    assert (found.verdict, found.job) == (Verdict.REFUSED, None)
    assert "1,048,576" in found.why[0]


def test_what_is_too_long_as_a_struct_may_fit_as_json() -> None:
    numbers = {"n": [1] * 100_000}  # 13 bytes each in a Struct, 2 in JSON
    found = with_data(numbers)
    assert (found.verdict, raw_of(found)) == (Verdict.CHANGED, numbers)


def test_the_largest_payload_fits_in_a_spec() -> None:
    taken = 0
    for size in range(limits.JOB_SPEC_BYTES - 600, limits.JOB_SPEC_BYTES, 20):
        found = with_data({"text": "x" * size})
        if found.job is None or found.job.spec.payload is None:
            continue
        taken += 1
        retry = job_pb2.RetryPolicy(max_attempts=1, backoff=job_pb2.RetryPolicy.EXPONENTIAL, jitter=0.2)
        retry.initial_delay.FromMilliseconds(2_000)
        retry.max_delay.FromMilliseconds(3_600_000)
        spec = job_pb2.JobSpec(queue="q" * 100, type="t" * 100, priority=-1, retry=retry)
        spec.retention.completed_for.FromSeconds(86_400)
        spec.retention.failed_for.FromSeconds(86_400)
        payload = found.job.spec.payload
        (spec.raw if payload.kind == job_pb2.JobSpec.RAW_FIELD_NUMBER else spec.data).MergeFromString(payload.body)
        assert spec.ByteSize() <= limits.JOB_SPEC_BYTES
    assert 0 < taken < 30


@pytest.mark.parametrize("data", [{"a": "__"}, {"__": 1}, ["__"], {"a": Regex("__")}, {"a": Code("__")}])
def test_text_that_is_not_utf_8_is_refused(data: Any) -> None:
    found = becomes(bson.encode(a_document(data=data)).replace(b"__", b"\xff\xfe"))
    assert (found.verdict, found.source_state, found.job) == (Verdict.REFUSED, "scheduled", None)
    assert "UTF-8" in found.why[0]


def test_the_same_job_has_the_same_bytes_in_every_run() -> None:
    forth = {str(n): n for n in range(50)}
    back = dict(reversed(forth.items()))
    assert job_of(with_data(forth)).spec.payload == job_of(with_data(back)).spec.payload


ENDED = {"nextRunAt": None, "lastRunAt": EARLIER, "lastFinishedAt": EARLIER}


@pytest.mark.parametrize(
    ("result", "shown", "whys"),
    [
        ({"sent": 1}, {"sent": 1}, 0),
        ("text", "text", 0),
        ([SOME_ID], [{"$oid": str(SOME_ID)}], 1),
        (0, 0, 0),
    ],
)
def test_a_saved_result_is_kept(result: Any, shown: Any, whys: int) -> None:
    found = becomes(a_document(result=result, **ENDED), ALL)
    body = job_of(found).result
    assert body is not None
    assert python_from_value(job_pb2.Result.FromString(body).data) == shown
    assert len(found.why) == whys


def test_a_result_that_is_nested_deep_is_raw_json() -> None:
    found = becomes(a_document(result=nested(50), **ENDED), ALL)
    body = job_of(found).result
    assert body is not None
    raw = job_pb2.Result.FromString(body).raw
    assert (raw.content_type, json.loads(raw.body)) == ("application/json", nested(50))


@pytest.mark.parametrize("result", ["x" * (256 << 10), "__"], ids=["too large", "not UTF-8"])
def test_a_result_that_cannot_be_kept_costs_no_job(result: str) -> None:
    document = bson.encode(a_document(result=result, **ENDED)).replace(b"__", b"\xff\xfe")
    found = becomes(document, ALL)
    assert (found.verdict, job_of(found).result) == (Verdict.CHANGED, None)
    assert "left out" in found.why[0]


@given(VALUES)
def test_any_data_becomes_a_payload_that_the_api_would_have_taken(data: Any) -> None:
    found = with_data(data)
    payload = job_of(found).spec.payload
    if payload is not None:
        acceptable(payload)
