"""What requests of jobs say, and what becomes of answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tocsin.payloads import Payload, put_payload
from tocsin.v1 import job_pb2
from tocsin.v1.payloads_pb2 import BookingReminder, HttpRequest, RawPayload
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry, HandedOver, RetryLater
from tocsin.worker.source import LeasedJob
from tocsin_server.domain.defaults import PushTarget
from tocsin_server.handlers.http_request import HttpRequestHandler, RequestFailed, RequestRefused, TargetBusy
from tocsin_server.webhooks.errors import AddressRefused, NoAnswer, Unanswered
from tocsin_server.webhooks.sending import ANSWER_BYTES, Answer, Caller, OutgoingCall

URL = "https://example.com/secret-path?key=hush"
SECRETS = {"orders": ("new-secret-of-orders", "old-secret-of-orders")}
TARGET = PushTarget(URL, {"X-Team": "a"}, "orders", timedelta(seconds=3))


class Answering(Caller):
    """Answers as told, without a network."""

    def __init__(self, *answers: Answer | Unanswered) -> None:
        self.answers = list(answers)
        self.calls: list[OutgoingCall] = []

    async def send(self, call: OutgoingCall) -> Answer:
        self.calls.append(call)
        answer = self.answers.pop(0) if self.answers else Answer(200, {}, b"")
        if isinstance(answer, Unanswered):
            raise answer
        return answer


def a_job(
    payload: Payload = None, *, type_: str = "t", told: Callable[[float, str], None] | None = None, **words: Any
) -> JobContext:
    spec = job_pb2.JobSpec()
    put_payload(spec, payload)
    name = spec.WhichOneof("payload")
    kind = 0 if name is None else job_pb2.JobSpec.DESCRIPTOR.fields_by_name[name].number
    body = b"" if name is None else getattr(spec, name).SerializeToString()
    made = datetime(2026, 11, 29, tzinfo=UTC)
    job = {
        "queue": "q",
        "job_id": "j ü",
        "type": type_,
        "attempt": 2,
        "token": b"t" * 14,
        "create_time": made,
        "schedule_time": made,
    }
    return JobContext(LeasedJob(payload_kind=kind, payload_body=body, **{**job, **words}), told)


async def sent(job: JobContext, caller: Answering | None = None) -> OutgoingCall:
    caller = caller or Answering()
    await HttpRequestHandler(caller, SECRETS, lambda job: f"token-of-{job.attempt}").push(job, TARGET)
    return caller.calls[0]


async def answered(answer: Answer | Unanswered, job: JobContext | None = None) -> object:
    return await HttpRequestHandler(Answering(answer), SECRETS).push(job or a_job(), TARGET)


def answer(status: int = 200, body: bytes | None = b"", kind: str = "", **headers: str) -> Answer:
    return Answer(status, {**({"content-type": kind} if kind else {}), **headers}, body)


async def test_a_request_says_which_job_it_is_of() -> None:
    call = await sent(a_job())
    signature = call.headers["Tocsin-Signature"]
    assert signature.startswith("t=")
    assert signature.count(",v1=") == 2
    about = {name: value for name, value in call.headers.items() if name not in ("Tocsin-Signature", "Idempotency-Key")}
    assert about == {
        "X-Team": "a",
        "Tocsin-Queue": "q",
        "Tocsin-Job-Id": "j%20%C3%BC",
        "Tocsin-Type": "t",
        "Tocsin-Attempt": "2",
        "Tocsin-Token": "token-of-2",
    }
    assert (call.method, call.timeout) == ("POST", timedelta(seconds=3))


async def key(payload: Payload = None, **words: Any) -> str:
    return (await sent(a_job(payload, **words))).headers["Idempotency-Key"]


async def test_the_idempotency_key_is_one_over_all_attempts_and_no_other_jobs() -> None:
    first = await key({"a": 1})
    assert await key({"a": 1}, attempt=3, failures=2, token=b"u" * 14) == first
    later = datetime(2026, 11, 29, 0, 0, 1, tzinfo=UTC)
    others = [
        await key({"a": 1}, create_time=later),  # made anew under the same id
        await key({"a": 1}, job_id="k"),
        await key({"a": 1}, queue="p"),
        await key({"a": 2}),  # replaced, or updated
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("payload", "body", "kind"),
    [
        ({"n": 3, "s": "é", "l": [None, 0.5]}, {"n": 3, "s": "é", "l": [None, 0.5]}, "application/json"),
        ({}, {}, "application/json"),
        (
            BookingReminder(booking_id="b", email_to=["a@b.c"]),
            {"booking_id": "b", "email_to": ["a@b.c"]},
            "application/json",
        ),
    ],
)
async def test_a_pushed_payload_is_json(payload: Payload, body: object, kind: str) -> None:
    call = await sent(a_job(payload))
    assert (json.loads(call.body), call.headers["Content-Type"]) == (body, kind)


async def test_pushed_bytes_are_what_they_are() -> None:
    call = await sent(a_job(RawPayload(content_type="image/png", body=b"\x00\xff")))
    assert (call.body, call.headers["Content-Type"]) == (b"\x00\xff", "image/png")
    assert (await sent(a_job(b"x"))).headers["Content-Type"] == "application/octet-stream"
    nothing = await sent(a_job())
    assert (nothing.body, "Content-Type" in nothing.headers) == (b"", False)


@pytest.mark.parametrize(
    ("body", "kind", "result"),
    [
        (b'{"a": [1, null]}', "application/json; charset=utf-8", {"a": [1, None]}),
        (b"[1]", "application/problem+json", [1]),
        (b"null", "application/json", None),
        (b"", "application/json", None),
        (b"", "", None),
        (b"{broken", "application/json", RawPayload(content_type="application/json", body=b"{broken")),
        (
            b"9007199254740993",
            "application/json",
            RawPayload(content_type="application/json", body=b"9007199254740993"),
        ),
        (b"NaN", "application/json", RawPayload(content_type="application/json", body=b"NaN")),
        (
            b"[" * 40 + b"]" * 40,
            "application/json",
            RawPayload(content_type="application/json", body=b"[" * 40 + b"]" * 40),
        ),
        (b'{"a": 1}', "text/plain", RawPayload(content_type="text/plain", body=b'{"a": 1}')),
        (b"\xff", "", RawPayload(body=b"\xff")),
    ],
)
async def test_a_body_is_the_result(body: bytes, kind: str, result: object) -> None:
    assert await answered(answer(body=body, kind=kind)) == result


@pytest.mark.parametrize("body", [None, b"x" * ANSWER_BYTES])
async def test_a_body_that_cannot_be_kept_is_said_to_be_missing(body: bytes | None) -> None:
    said: list[tuple[float, str]] = []
    job = a_job(told=lambda fraction, message: said.append((fraction, message)))
    assert await answered(answer(body=body), job) is None
    assert said == [(1.0, "https://example.com answers 200, with more than the 262,144 bytes that are kept")]


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (answer(500), RequestFailed, "https://example.com answers 500"),
        (answer(429, **{"retry-after": "7"}), TargetBusy, "https://example.com answers 429"),
        (answer(404, b"no", "text/plain"), RequestRefused, "https://example.com answers 404: no"),
        (answer(302), RequestRefused, "redirects are not followed"),
        (NoAnswer("x did not answer"), RequestFailed, "x did not answer"),
        (AddressRefused("x is this machine itself"), RequestRefused, "x is this machine itself"),
    ],
)
async def test_a_failure_is_tried_again_or_not(said: Answer | Unanswered, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        await answered(said)
    assert "hush" not in str(raised.value)
    assert raised.value.__cause__ is None
    if isinstance(raised.value, RetryLater):
        assert raised.value.delay == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("headers", "timeout", "lease"),
    [({}, None, 900), ({"tocsin-lease": "60"}, None, 60), ({"tocsin-lease": "3600"}, timedelta(seconds=30), 30)],
)
async def test_202_hands_the_attempt_over(headers: Mapping[str, str], timeout: timedelta | None, lease: int) -> None:
    with pytest.raises(HandedOver) as over:
        await answered(answer(202, **headers), a_job(timeout=timeout))
    assert over.value.lease == timedelta(seconds=lease)


async def test_an_http_request_is_made_as_it_says() -> None:
    caller = Answering()
    request = HttpRequest(url=URL, method="DELETE", headers={"Content-Type": "text/x"}, body=b"b")
    await HttpRequestHandler(caller, {}).send(a_job(request, type_="http_request"))
    call = caller.calls[0]
    assert (call.method, call.body, call.headers["Content-Type"]) == ("DELETE", b"b", "text/x")
    assert call.timeout == timedelta(seconds=30)
    assert not {"Tocsin-Signature", "Tocsin-Token"} & call.headers.keys()


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest(url="http://127.1/"),
        HttpRequest(url=URL, secret_ref="unknown"),
        HttpRequest(url=URL, headers={"Host": "internal"}),
    ],
)
async def test_what_was_let_in_by_another_way_is_refused_when_it_is_sent(request_: HttpRequest) -> None:
    caller = Answering()
    with pytest.raises(DoNotRetry):
        await HttpRequestHandler(caller, SECRETS).send(a_job(request_, type_="http_request"))
    assert caller.calls == []
