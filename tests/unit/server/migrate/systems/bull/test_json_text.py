"""JSON texts as payloads and results."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st
from tocsin.v1 import job_pb2, payloads_pb2
from tocsin_server.domain import limits
from tocsin_server.migrate.systems.bull.json_text import (
    BROKEN_RESULT,
    DATA,
    NO_OBJECT,
    NO_RESULT,
    NOT_EXACT,
    PAYLOAD_BYTES,
    RAW,
    Unfit,
    payload_of,
    result_of,
)

_DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | _DOUBLES | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _JSON, max_size=5))
def test_an_object_is_a_struct_that_says_the_same(value: dict[str, object]) -> None:
    payload, why = payload_of(json.dumps(value).encode())
    assert (payload.kind, why) == (DATA, None)
    assert json_format.MessageToDict(struct_pb2.Struct.FromString(payload.body)) == value


@given(_JSON.filter(lambda value: not isinstance(value, dict)))
def test_what_is_no_object_is_its_own_text(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    payload, why = payload_of(text)
    raw = payloads_pb2.RawPayload.FromString(payload.body)
    assert (payload.kind, why, raw.content_type, raw.body) == (RAW, NO_OBJECT, "application/json", text)


def test_the_same_object_has_the_same_bytes_in_every_process() -> None:
    keys = [f"key {n}" for n in range(200)]
    one = payload_of(json.dumps(dict.fromkeys(keys, 1)).encode())
    other = payload_of(json.dumps(dict.fromkeys(reversed(keys), 1)).encode())
    assert one == other
    assert one[0].body.index(b"key 1") < one[0].body.index(b"key 2")


def test_an_object_whose_struct_is_too_large_is_raw_and_too_large_a_text_is_refused() -> None:
    numbers = b'{"a":[' + b",".join([b"1"] * 200_000) + b"]}"
    payload, why = payload_of(numbers)
    assert (payload.kind, why) == (RAW, NOT_EXACT)
    with pytest.raises(Unfit):
        payload_of(b'"' + b"x" * PAYLOAD_BYTES + b'"')


def test_a_result_is_any_value() -> None:
    result, why = result_of(b'["a",1,null]')
    assert why is None
    said: object = json_format.MessageToDict(job_pb2.Result.FromString(result or b"").data)
    assert said == ["a", 1, None]


def test_a_result_that_no_value_holds_is_its_text() -> None:
    result, why = result_of(b"12345678901234567890")
    assert why is None
    raw = job_pb2.Result.FromString(result or b"").raw
    assert (raw.content_type, raw.body) == ("application/json", b"12345678901234567890")


@pytest.mark.parametrize(
    ("text", "why"), [(None, None), (b"null", None), (b"{", BROKEN_RESULT), (b"\xff", BROKEN_RESULT)]
)
def test_no_result_is_none(text: bytes | None, why: str | None) -> None:
    assert result_of(text) == (None, why)


def test_a_result_that_is_too_long_is_dropped() -> None:
    assert result_of(b'"' + b"x" * (limits.RESULT_BYTES - 20) + b'"')[0] is not None
    assert result_of(b'"' + b"x" * limits.RESULT_BYTES + b'"') == (None, NO_RESULT)
