"""JobContext and what crosses into and out of handlers: payloads, results, progress, the wish to stop."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf import json_format
from tocsin.payloads import struct_from_dict
from tocsin.v1 import job_pb2, job_service_pb2, payloads_pb2
from tocsin.worker.context import JobContext
from tocsin.worker.errors import JobCancelled, UnfitPayload, UnfitResult
from tocsin.worker.payloads import RESULT_BYTES, encode_result
from unit.client.worker.memory_source import NOW, a_job


def a_struct(**fields: object) -> bytes:
    return struct_from_dict(fields).SerializeToString()


def decoded(value: object) -> job_pb2.Result:
    encoded = encode_result(value)
    assert encoded is not None
    return job_pb2.Result.FromString(encoded)


def test_a_context_shows_its_job() -> None:
    job = a_job(queue="q1", type="t1", attempt=3, failures=2, crashes=1, priority=-5, tags={"a": "b"})
    context = JobContext(job)
    assert (context.queue, context.job_id, context.type) == ("q1", job.job_id, "t1")
    assert (context.attempt, context.failures, context.crashes, context.priority) == (3, 2, 1, -5)
    assert context.tags == {"a": "b"}
    assert (context.create_time, context.schedule_time, context.timeout) == (NOW, NOW, None)


def test_a_context_knows_the_time_that_its_job_is_for() -> None:
    fired = JobContext(a_job(job_id="pay-day@2026-12-31T08:00:00.250Z", fired=True))
    assert fired.schedule_id == "pay-day"
    assert fired.nominal_time == datetime(2026, 12, 31, 8, 0, 0, 250_000, UTC)
    of_a_caller = JobContext(a_job(job_id="pay-day@2026-12-31T08:00:00.250Z"))
    assert (of_a_caller.schedule_id, of_a_caller.nominal_time) == ("", None)


def test_a_struct_is_a_dict_whose_whole_numbers_are_int() -> None:
    body = a_struct(whole=3, part=0.5, large=2.0**60, text="x", none=None, yes=True, deep={"list": [1, [2.0, {}]]})
    context = JobContext(a_job(payload_kind=10, payload_body=body))
    assert context.data == {
        "whole": 3,
        "part": 0.5,
        "large": 2.0**60,
        "text": "x",
        "none": None,
        "yes": True,
        "deep": {"list": [1, [2, {}]]},
    }
    assert type(context.data["whole"]) is int
    assert context.payload is context.data


def test_raw_bytes_come_as_they_were_and_are_no_dict() -> None:
    body = payloads_pb2.RawPayload(content_type="image/png", body=b"\x00\xff").SerializeToString()
    context = JobContext(a_job(payload_kind=11, payload_body=body))
    assert (context.payload, context.content_type) == (b"\x00\xff", "image/png")
    with pytest.raises(UnfitPayload, match=r"read job\.payload"):
        _ = context.data


def test_a_typed_payload_is_its_message_and_shows_as_a_dict() -> None:
    mail = payloads_pb2.EmailNotification(to=["ada@example.com"], reply_to="bob@example.com")
    context = JobContext(a_job(payload_kind=12, payload_body=mail.SerializeToString()))
    assert context.payload == mail
    assert context.data == {"to": ["ada@example.com"], "reply_to": "bob@example.com"}


def test_no_payload_is_none_and_an_empty_dict() -> None:
    context = JobContext(a_job())
    assert (context.payload, context.data, context.content_type) == (None, {}, "")


@pytest.mark.parametrize(("kind", "body"), [(10, b"\xff\xff"), (99, b""), (2, b"x")])
def test_a_payload_is_read_only_when_asked_for_and_a_bad_one_ends_the_job(kind: int, body: bytes) -> None:
    context = JobContext(a_job(payload_kind=kind, payload_body=body))
    with pytest.raises(UnfitPayload, match="cannot be read"):
        _ = context.payload


def test_progress_is_clamped_and_its_message_cut() -> None:
    said: list[tuple[float, str]] = []
    context = JobContext(a_job(), lambda fraction, message: said.append((fraction, message)))
    context.progress(0.5, "half way")
    context.progress(7)
    context.progress(-1, "ü" * 1000)
    assert said == [(0.5, "half way"), (1.0, ""), (0.0, "ü" * 512)]
    with pytest.raises(ValueError, match="fraction from 0 to 1"):
        context.progress(math.nan)
    JobContext(a_job()).progress(0.5)  # a test of somebody's handler need not listen


async def test_progress_can_be_awaited() -> None:
    await JobContext(a_job()).progress(0.5)


def test_a_context_says_whether_and_why_to_stop() -> None:
    context = JobContext(a_job())
    context.raise_if_cancelled()
    assert (context.cancelled, context.cancel_reason) == (False, "")
    context.ask_to_stop("moved")
    context.ask_to_stop("later")
    assert (context.cancelled, context.cancel_reason) == (True, "moved")
    with pytest.raises(JobCancelled, match="moved"):
        context.raise_if_cancelled()


@pytest.mark.parametrize("value", [{}, {"a": [1, 2.5, None, True, "x", {"b": []}]}, [], "text", 0, False, 2**53, -1.5])
def test_what_json_can_say_is_a_result(value: object) -> None:
    assert json.loads(json_format.MessageToJson(decoded(value).data)) == value


def test_bytes_are_a_raw_result_and_none_is_no_result() -> None:
    assert decoded(b"\x00\xff").raw.body == b"\x00\xff"
    assert decoded(bytearray(b"x")).raw.body == b"x"
    assert encode_result(None) is None


def test_a_result_as_deep_as_allowed_is_readable_inside_its_job() -> None:
    value: object = 1
    for _ in range(31):
        value = {"d": value}
    job = job_pb2.Job(result=decoded(value))
    answer = job_service_pb2.GetJobResponse(job=job).SerializeToString()
    assert job_service_pb2.GetJobResponse.FromString(answer).job.result == job.result


def _cyclic() -> list[object]:
    cycle: list[object] = []
    cycle.append(cycle)
    return cycle


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "nan"),
        ({"a": [math.inf]}, r"result\.a\[0\]"),
        (2**53 + 1, r"2\^53"),
        ({"when": timedelta(1)}, r"result\.when is a timedelta"),
        ({1: 2}, "keys must be strings"),
        ({"a", "b"}, "set"),
        (object(), "object"),
        ("\ud800", "surrogate"),
        (_cyclic(), "deep"),
        (b"x" * RESULT_BYTES, "at most 262,144"),
        ("x" * RESULT_BYTES, "at most 262,144"),
    ],
)
def test_what_cannot_be_kept_is_refused_naming_where_and_why(value: object, says: str) -> None:
    with pytest.raises(UnfitResult, match=says):
        encode_result(value)
