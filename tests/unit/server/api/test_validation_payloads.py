"""What the built-in payloads ask of their messages is asked when a job is scheduled."""

from __future__ import annotations

from typing import Any

import pytest
from api_requests import as_read, violations
from tocsin.v1 import job_pb2, payloads_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api.validation import scheduling

MAIL = {"to": ["ada@example.com"], "text": "Hi"}
PATH = "job.email_notification"


def wrong(**payload: Any) -> set[str]:
    spec = job_pb2.JobSpec(**payload)
    return set(violations(scheduling.check_schedule_job, pb.ScheduleJobRequest(job=spec)))


def wrong_mail(**words: Any) -> set[str]:
    return {
        field.removeprefix(PATH).removeprefix(".")
        for field in wrong(email_notification=payloads_pb2.EmailNotification(**{**MAIL, **words}))
    }


def taken(**payload: Any) -> None:
    scheduling.check_schedule_job(as_read(pb.ScheduleJobRequest(job=job_pb2.JobSpec(**payload))))


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
    payment = payloads_pb2.PaymentReminder(payment_id="p", currency="euro", email_to=["no"])
    payment.due_time.seconds = 1
    assert wrong(payment_reminder=payment) == {"job.payment_reminder.currency", "job.payment_reminder.email_to[0]"}


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
