"""The built-in types of a job queue's own words: what they become, and what stays as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from tocsin.payloads import decode_payload, struct_from_dict
from tocsin_server.cli.migrate import may_be_scheduled
from tocsin_server.domain.job import Job, JobSpec, Payload, Retention, Terms
from tocsin_server.domain.retry import RetryPolicy
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.foreign import Foreign, Verdict
from tocsin_server.migrate.systems.own_types import NOT_OWN, OWN, as_own

DUE = datetime(2026, 11, 28, 12, tzinfo=UTC)
KEPT = Retention(timedelta(hours=1), timedelta(hours=1))


def a_job(type_: str, data: dict[str, Any], beside: str = "bull.") -> Foreign:
    payload = Payload(10, struct_from_dict(data).SerializeToString())
    spec = JobSpec("q", beside + type_, payload, 0, Terms(RetryPolicy(), None, KEPT))
    job = Job("1", spec, State.SCHEDULED, DUE, DUE, None, None, 0, 0, 0, revision=1, arrival=0)
    why = (f"its type is '{beside}{type_}', as its name cannot be one here", "its log lines are not taken over")
    return Foreign("q", "1", "delayed", Verdict.CHANGED, why, job)


BOOKING = {
    "bookingId": "b-7",
    "customerEmail": "ada@example.com",
    "customerPhone": "+4915112345678",
    "bookingDate": "2026-11-29T12:00:00.000Z",
    "location": "Berlin",
    "seats": 2,
}
PAYMENT = {
    "paymentId": 118,
    "customerEmail": "ada@example.com",
    "amount": 25.1,
    "currency": "EUR",
    "dueDate": "2026-11-27",
}

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "email_notification",
        {"to": "ada@example.com", "subject": "Hi", "template": "welcome", "data": {"n": 1}, "priority": "normal"},
        {
            "to": ["ada@example.com"],
            "subject": "Hi",
            "template": "welcome",
            "template_data": {"n": 1},
            "priority": "NORMAL",
        },
    ),
    ("sms_notification", {"to": "+4915112345678", "message": "Hi"}, {"to": ["+4915112345678"], "text": "Hi"}),
    (
        "booking_reminder",
        BOOKING,
        {
            "booking_id": "b-7",
            "email_to": ["ada@example.com"],
            "sms_to": ["+4915112345678"],
            "booking_time": "2026-11-29T12:00:00Z",
            "location": "Berlin",
            "offset": "86400s",
            "template_data": {"seats": 2},
        },
    ),
    (
        "payment_reminder",
        PAYMENT,
        {
            "payment_id": "118",
            "email_to": ["ada@example.com"],
            "amount_minor": "2510",
            "currency": "EUR",
            "due_time": "2026-11-27T00:00:00Z",
            "offset": "-129600s",
        },
    ),
    ("data_cleanup", {"olderThanDays": 30, "dryRun": True}, {"older_than": "2592000s", "dry_run": True}),
    (
        "report_generation",
        {"startDate": "2026-11-01", "format": "csv", "recipients": ["ada@example.com"]},
        {"start_time": "2026-11-01T00:00:00Z", "formats": ["CSV"], "email_to": ["ada@example.com"]},
    ),
]


@pytest.mark.parametrize("beside", ["bull.", "agenda."])
@pytest.mark.parametrize(("type_", "data", "said"), CASES, ids=[case[0] for case in CASES])
def test_the_own_six_become_tocsins_six(type_: str, data: dict[str, Any], said: dict[str, Any], beside: str) -> None:
    found = as_own(a_job(type_, data, beside), may_be_scheduled)
    assert found.job is not None
    assert found.job.spec.payload is not None
    assert found.job.spec.type == type_
    message = decode_payload(found.job.spec.payload.kind, found.job.spec.payload.body)
    assert MessageToDict(message, preserving_proto_field_name=True) == said  # type: ignore[arg-type]
    assert found.why == ("its log lines are not taken over", OWN.format(type=type_))


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("email_notification", {"to": "ada@example.com", "subject": "Hi", "text": "x", "campaign": 7}),
        ("email_notification", {"to": "nobody", "subject": "Hi", "text": "x"}),
        ("email_notification", {"to": "ada@example.com", "text": "x", "priority": 3}),
        ("email_notification", {"to": "ada@example.com", "text": "x", "body": "y"}),
        ("sms_notification", {"to": "12", "message": "Hi"}),
        ("booking_reminder", {**BOOKING, "bookingDate": "2026-11-29T12:00:00"}),
        ("booking_reminder", {**BOOKING, "bookingDate": "tomorrow"}),
        ("booking_reminder", {"bookingId": "b"}),
        ("payment_reminder", {**PAYMENT, "amount": 25.001}),
        ("payment_reminder", {**PAYMENT, "currency": "euro"}),
        ("payment_reminder", {**PAYMENT, "amount": "much"}),
        ("data_cleanup", {"olderThanDays": 30, "table": "logs"}),
        ("report_generation", {"format": "pdf"}),
        ("report_generation", {"reportType": "sales"}),
    ],
)
def test_what_cannot_be_said_in_full_stays_as_it_was(type_: str, data: dict[str, Any]) -> None:
    before = a_job(type_, data)
    found = as_own(before, may_be_scheduled)
    assert found.job == before.job
    assert found.why == (*before.why, NOT_OWN.format(type=type_))


def test_a_date_of_mongodb_is_a_date() -> None:
    dates = ({"$date": "2026-11-29T12:00:00Z"}, 1_795_953_600_000, "2026-11-29T13:00:00+01:00")
    jobs = [as_own(a_job("booking_reminder", {**BOOKING, "bookingDate": date}), may_be_scheduled).job for date in dates]
    assert jobs[0] is not None
    assert jobs[0].spec.type == "booking_reminder"
    assert {job.spec.payload for job in jobs if job is not None} == {jobs[0].spec.payload}
