"""What a payload may hold, and that it comes back as it went."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import EmailNotification, InvalidArgument, RawPayload, WrongType
from tocsin.payloads import (
    MAX_DEPTH,
    MAX_INTEGER,
    TYPED_PAYLOADS,
    data_of,
    decode_payload,
    dict_from_struct,
    payload_of,
    put_payload,
    python_from_value,
    struct_from_dict,
    value_from_python,
)
from tocsin.v1 import job_pb2
from tocsin.v1 import job_service_pb2 as pb

_PLAIN = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text() | st.floats(-1e300, 1e300)
_JSON = st.recursive(_PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def refused_field(data: dict[str, object]) -> str:
    with pytest.raises(InvalidArgument) as refused:
        struct_from_dict(data)
    [violation] = refused.value.violations
    return violation.field


def test_one_string_where_a_list_is_wanted_is_refused_and_not_taken_for_its_letters() -> None:
    with pytest.raises(WrongType, match=r"email_notification\.to: is a list: \['a@b\.de'\]"):
        put_payload(job_pb2.JobSpec(), EmailNotification(to="a@b.de"))


@given(st.dictionaries(st.text(), _JSON))
def test_a_dict_comes_back_as_it_went(data: dict[str, object]) -> None:
    assert dict_from_struct(struct_from_dict(data)) == data


def test_whole_numbers_come_back_as_int() -> None:
    back = dict_from_struct(struct_from_dict({"a": 3, "b": 3.0, "c": 3.5, "d": 1e300, "e": True}))
    assert [type(back[key]) for key in "abcde"] == [int, int, float, float, bool]


def test_an_integer_that_a_double_cannot_hold_is_refused_with_a_way_out() -> None:
    with pytest.raises(InvalidArgument, match=r"job\.data\.orders\[1\]\.id: .*2\^53.*bytes") as refused:
        struct_from_dict({"orders": [{"id": MAX_INTEGER}, {"id": MAX_INTEGER + 1}]})
    assert refused.value.reason == "INVALID_FIELD"
    assert refused_field({"n": -MAX_INTEGER - 1}) == "job.data.n"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    assert refused_field({"a": {"b": [1.0, number]}}) == "job.data.a.b[1]"


def test_keys_that_are_no_strings_are_refused() -> None:
    assert refused_field({"a": {1: "one"}}) == "job.data.a"


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, 1j])
def test_what_json_does_not_know_is_refused(value: object) -> None:
    assert refused_field({"a": value}) == "job.data.a"


def test_half_a_surrogate_pair_is_refused() -> None:
    assert refused_field({"a": "\ud800"}) == "job.data.a"
    assert refused_field({"\ud800": 1}) == "job.data"


def test_the_deepest_dict_that_is_taken_can_be_parsed_in_a_batch_and_deeper_is_refused() -> None:
    deep: dict[str, object] = {}
    for _ in range(MAX_DEPTH - 1):
        deep = {"a": deep}
    request = pb.BatchScheduleJobsRequest(requests=[pb.ScheduleJobRequest()])
    put_payload(request.requests[0].job, deep)
    assert pb.BatchScheduleJobsRequest.FromString(request.SerializeToString()) == request
    assert refused_field({"a": deep}).startswith("job.data.a.a")


def test_lists_count_as_depth_too() -> None:
    deep: object = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(InvalidArgument, match="nested"):
        value_from_python(deep)


@given(_JSON)
def test_any_json_value_comes_back_as_it_went(value: object) -> None:
    assert python_from_value(value_from_python(value)) == value


def test_bytes_travel_as_raw() -> None:
    spec = job_pb2.JobSpec()
    put_payload(spec, b"\x00\xff")
    assert payload_of(spec) == RawPayload(body=b"\x00\xff")
    with pytest.raises(ValueError, match=r"is bytes: read job\.payload"):
        data_of(payload_of(spec))


def test_an_empty_dict_is_a_payload_and_none_is_not() -> None:
    empty, none = job_pb2.JobSpec(), job_pb2.JobSpec()
    put_payload(empty, {})
    put_payload(none, None)
    assert (payload_of(empty), empty.WhichOneof("payload")) == ({}, "data")
    assert (payload_of(none), data_of(payload_of(none))) == (None, {})


def test_what_is_no_payload_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not list"):
        put_payload(job_pb2.JobSpec(), [1])  # type: ignore[arg-type]  # on purpose


def test_every_payload_of_the_protos_can_be_sent_and_decoded() -> None:
    fields = job_pb2.JobSpec.DESCRIPTOR.oneofs_by_name["payload"].fields
    assert {field.name for field in fields} == {"data", "raw", *TYPED_PAYLOADS.values()}
    for message, name in TYPED_PAYLOADS.items():
        spec = job_pb2.JobSpec()
        put_payload(spec, message())
        assert spec.WhichOneof("payload") == name
        kind = next(field.number for field in fields if field.name == name)
        assert decode_payload(kind, b"") == message()


def test_a_typed_message_reads_as_a_dict_of_its_field_names() -> None:
    mail = EmailNotification(to=["ada@example.com"], reply_to="bob@example.com")
    assert data_of(mail) == {"to": ["ada@example.com"], "reply_to": "bob@example.com"}


@pytest.mark.parametrize("kind", [1, 2, 9, 99])
def test_a_kind_that_is_no_payload_is_refused(kind: int) -> None:
    with pytest.raises(ValueError, match="not known"):
        decode_payload(kind, b"")


def test_no_payload_decodes_to_none() -> None:
    assert decode_payload(0, b"") is None
