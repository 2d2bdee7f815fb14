"""What the built-in payloads ask of their messages is asked when a job is scheduled."""

from __future__ import annotations

from typing import Any

import pytest
from tocsin.v1 import job_pb2, payloads_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api.requests import schedule_jobs
from unit.server.api.api_requests import as_read, violations

MAIL = {"to": ["ada@example.com"], "text": "Hi"}
PATH = "job.email_notification"


def wrong(**payload: Any) -> set[str]:
    spec = job_pb2.JobSpec(**payload)
    return set(violations(schedule_jobs.schedule_job, pb.ScheduleJobRequest(job=spec)))


def wrong_mail(**words: Any) -> set[str]:
    return {
        field.removeprefix(PATH).removeprefix(".")
        for field in wrong(email_notification=payloads_pb2.EmailNotification(**{**MAIL, **words}))
    }


def taken(**payload: Any) -> None:
    schedule_jobs.schedule_job(as_read(pb.ScheduleJobRequest(job=job_pb2.JobSpec(**payload))))


@pytest.mark.parametrize("injected", ["a@b.c\r\nBcc: x@y.z", "a@b.c\n", "Ada\r <a@b.c>", "a@b.c\x00"])
def test_a_line_break_in_a_header_is_refused(injected: str) -> None:
    assert wrong_mail(to=["ada@example.com", injected]) == {"to[1]"}
    assert wrong_mail(cc=[injected], bcc=[injected], reply_to=injected, **{"from": injected}) == {
        "cc[0]",
        "bcc[0]",
        "reply_to",
        "from",
    }
    assert wrong_mail(subject=injected) == {"subject"}


def test_a_mail_needs_1_to_100_well_formed_addresses() -> None:
    assert wrong_mail(to=[]) == {"to"}
    assert wrong_mail(to=["a@b.c"] * 101) == {"to"}
    assert wrong_mail(to=["", "nobody", "Ada <ada@example.com>", "a@b@c d"]) == {"to[0]", "to[1]", "to[3]"}
    taken(email_notification=payloads_pb2.EmailNotification(to=["Ada <ada@example.com>"] * 100, text="Hi"))


def test_a_mail_needs_a_body_and_a_short_subject() -> None:
    assert wrong_mail(text="") == {""}
    assert wrong_mail(subject="s" * 999) == {"subject"}
    for words in ({"text": "t"}, {"html": "h"}, {"template": "welcome"}):
        taken(email_notification=payloads_pb2.EmailNotification(to=["a@b.c"], subject="s" * 998, **words))


@pytest.mark.parametrize("name", ["../etc/passwd", "a b", "é", "a" * 101, "a\x00"])
def test_a_template_has_a_plain_name(name: str) -> None:
    assert wrong_mail(template=name) == {"template"}


def test_a_raw_payload_has_a_short_content_type() -> None:
    taken(type="t", raw=payloads_pb2.RawPayload(content_type="x" * 255))
    for content_type in ("x" * 256, "a/b\r\nc"):
        raw = payloads_pb2.RawPayload(content_type=content_type)
        assert wrong(type="t", raw=raw) == {"job.raw.content_type"}


def test_a_text_message_needs_numbers_and_a_text() -> None:
    sms = payloads_pb2.SmsNotification(to=["+4915112345678", "0151"], text="x" * 1601, **{"from": "a\nb"})
    assert wrong(sms_notification=sms) == {f"job.sms_notification.{name}" for name in ("to[1]", "text", "from")}
    assert wrong(sms_notification=payloads_pb2.SmsNotification()) == {
        "job.sms_notification.to",
        "job.sms_notification.text",
    }


def test_reminders_need_what_they_remind_of_and_someone_to_remind() -> None:
    booking = payloads_pb2.BookingReminder(time_zone="Mars/Base")
    booking.offset.seconds = -1
    assert wrong(booking_reminder=booking) == {
        "job.booking_reminder",
        "job.booking_reminder.booking_id",
        "job.booking_reminder.booking_time",
        "job.booking_reminder.offset",
        "job.booking_reminder.time_zone",
    }
    assert wrong(payment_reminder=payloads_pb2.PaymentReminder()) == {
        "job.payment_reminder",
        "job.payment_reminder.payment_id",
        "job.payment_reminder.due_time",
        "job.payment_reminder.amount_minor",
        "job.payment_reminder.currency",
    }


def a_booking(**words: Any) -> payloads_pb2.BookingReminder:
    booking = payloads_pb2.BookingReminder(**{"booking_id": "b", "email_to": ["a@b.c"], **words})
    booking.booking_time.seconds = 1
    return booking


def a_payment(**words: Any) -> payloads_pb2.PaymentReminder:
    fields = {"payment_id": "p", "amount_minor": 1, "currency": "EUR", "sms_to": ["+4915112345678"], **words}
    payment = payloads_pb2.PaymentReminder(**fields)
    payment.due_time.seconds = 1
    return payment


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time_zone", "Mars/Base"),
        ("time_zone", "../etc/passwd"),
        ("time_zone", "localtime"),
        ("title", "x" * 201),
        ("title", "a\r\nBcc: eve@example.com"),
        ("recipient_name", "x" * 201),
        ("recipient_name", "a\x00"),
        ("template", "../etc/passwd"),
        ("email_to", ["a@b.c\r\nBcc: x@y.z"]),
        ("sms_to", ["0151"]),
    ],
)
def test_a_reminder_says_what_is_wrong_with_which_field(field: str, value: Any) -> None:
    path = f"{field}[0]" if isinstance(value, list) else field
    assert wrong(booking_reminder=a_booking(**{field: value})) == {f"job.booking_reminder.{path}"}
    assert wrong(payment_reminder=a_payment(**{field: value})) == {f"job.payment_reminder.{path}"}


@pytest.mark.parametrize("location", ["x" * 501, "a\nb"])
def test_a_location_is_one_line_of_500_characters(location: str) -> None:
    assert wrong(booking_reminder=a_booking(location=location)) == {"job.booking_reminder.location"}
    taken(booking_reminder=a_booking(location="x" * 500, title="x" * 200, time_zone="Europe/Berlin"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("currency", "EURO"),
        ("currency", "eur"),
        ("currency", "XXX"),
        ("currency", "DEM"),
        ("currency", ""),
        ("amount_minor", 0),
        ("amount_minor", -5),
        ("payment_url", "http://pay.example.com"),
        ("payment_url", "javascript:alert(1)"),
        ("payment_url", "https://a\r\nb"),
        ("payment_url", "https://bank.example@evil.example/"),
        ("payment_url", "https://x.example/" + "x" * 2_000),
    ],
)
def test_a_payment_says_what_is_wrong_with_which_field(field: str, value: Any) -> None:
    assert wrong(payment_reminder=a_payment(**{field: value})) == {f"job.payment_reminder.{field}"}


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD", "CLF"])
def test_a_payment_may_be_overdue_and_in_any_currency(currency: str) -> None:
    payment = a_payment(currency=currency, payment_url="https://pay.example.com/i?a=1&b=2", amount_minor=2**63 - 1)
    payment.offset.seconds = -86_400
    taken(payment_reminder=payment)


def test_an_attachment_is_a_file_with_a_plain_name_and_type() -> None:
    names = ["", ".", "a/b", "a\\b", "a\r\nX: y", "x" * 256, "photo\u202egnp.exe", "a\u2028b"]
    files = [{"filename": name, "content": b"x"} for name in names]
    assert wrong_mail(attachments=files) == {f"attachments[{i}].filename" for i in range(len(names))}
    kinds = ["pdf", "a/b\r\nX: y", "multipart/mixed", "message/rfc822"]
    files = [{"filename": "a", "content_type": kind} for kind in kinds]
    assert wrong_mail(attachments=files) == {f"attachments[{i}].content_type" for i in range(len(kinds))}
    assert wrong_mail(attachments=[{"filename": "a"}] * 21) == {"attachments"}
    good = {"filename": "Rechnung Nr. 7 für Ada.pdf", "content_type": "application/pdf", "content": b"%PDF"}
    taken(email_notification=payloads_pb2.EmailNotification(**MAIL, attachments=[good] * 20))


def test_a_priority_is_one_of_the_known() -> None:
    assert wrong_mail(priority=9) == {"priority"}
    taken(email_notification=payloads_pb2.EmailNotification(**MAIL, priority=payloads_pb2.EmailNotification.HIGH))


def test_chores_need_bounds() -> None:
    assert wrong(data_cleanup=payloads_pb2.DataCleanup(types=["a b"])) == {
        "job.data_cleanup.older_than",
        "job.data_cleanup.types[0]",
    }
    report = payloads_pb2.ReportGeneration(queue="q/", email_to=["no"])
    report.start_time.seconds = -1
    assert wrong(report_generation=report) == {
        f"job.report_generation.{name}" for name in ("queue", "email_to[0]", "start_time")
    }
    taken(report_generation=payloads_pb2.ReportGeneration())


def a_call(**words: Any) -> payloads_pb2.HttpRequest:
    return payloads_pb2.HttpRequest(**{"url": "https://example.com/", **words})


def test_a_request_needs_an_address_and_plain_headers() -> None:
    path = "job.http_request"
    assert wrong(http_request=payloads_pb2.HttpRequest()) == {f"{path}.url"}
    many = a_call(
        url="http://127.1/", method="TRACE", headers={"A": "b\r\nC: d"}, body=b"x" * 524_289, secret_ref="a/b"
    )
    many.timeout.SetInParent()
    assert wrong(http_request=many) == {
        f"{path}.{name}" for name in ("url", "method", "headers[A]", "body", "secret_ref", "timeout")
    }
    assert wrong(http_request=a_call(headers={f"X-{n}": "" for n in range(51)})) == {f"{path}.headers"}
    whole = a_call(method="PATCH", headers={"X-A": "b"}, body=b"x" * 524_288, secret_ref="orders")
    whole.timeout.seconds = 3600
    taken(http_request=whole)


def test_an_address_in_a_queues_private_network_may_be_scheduled() -> None:
    """Which addresses are allowed is a setting of whichever server sends it."""
    taken(http_request=a_call(url="http://10.0.0.1:8080/"))
