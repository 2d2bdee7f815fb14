"""Jobs that send, from the call over a real server to what arrives, on both stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from support.mail_server import MailServer
from support.servers import Server
from support.sms_provider import TOKEN, Answer, SmsProvider
from support.stubs import State, Stubs, refusal, request
from tocsin.v1 import job_pb2, job_service_pb2
from tocsin.v1.payloads_pb2 import BookingReminder, EmailNotification, PaymentReminder, SmsNotification

Start = Callable[..., Server]
Connect = Callable[[Server], Stubs]
ADA, BOB = "+4915112345678", "+4915112345679"


def booking(**fields: Any) -> BookingReminder:
    given = {"booking_id": "B-1", "time_zone": "Europe/Berlin", "title": "Haircut", "email_to": ["ada@example.com"]}
    payload = BookingReminder(**{**given, **fields})
    payload.booking_time.FromDatetime(datetime(2099, 12, 24, 17, 0))
    return payload


def payment(**fields: Any) -> PaymentReminder:
    given = {"payment_id": "P-1", "amount_minor": 1235, "currency": "KWD", "sms_to": [ADA]}
    payload = PaymentReminder(**{**given, **fields})
    payload.due_time.FromDatetime(datetime(2099, 12, 24, 17, 0))
    return payload


async def run(stubs: Stubs, **payload: Any) -> job_pb2.Job:
    """Schedule a job for now and wait for its end; retried after 10 ms where nothing else is asked for."""
    wanted = request("q", "", **payload)
    wanted.job.retry.initial_delay.FromMilliseconds(10)
    job_id = stubs.jobs.ScheduleJob(wanted).job.job_id
    return await asyncio.to_thread(stubs.wait_for, "q", job_id)


def result_of(job: job_pb2.Job) -> dict[str, Any]:
    assert job.state == State.COMPLETED, job.errors
    return json_format.MessageToDict(job.result.data)


@pytest.mark.timeout(90)
async def test_each_type_is_sent(
    start: Start, connect: Connect, ways: dict[str, str], mails: MailServer, provider: SmsProvider
) -> None:
    stubs = connect(await asyncio.to_thread(start, **ways))

    mail = EmailNotification(to=["ada@example.com"], subject="Hello", text="Hi", priority=EmailNotification.HIGH)
    mail.attachments.add(filename="a.pdf", content=b"%PDF")
    sent = result_of(await run(stubs, email_notification=mail))
    [file] = mails.only_mail().message.iter_attachments()
    assert (file.get_filename(), file.get_payload(decode=True)) == ("a.pdf", b"%PDF")
    assert mails.only_mail().message["Message-ID"] == sent["message_id"]
    assert mails.only_mail().message["Importance"] == "high"

    texted = result_of(await run(stubs, sms_notification=SmsNotification(to=[ADA, BOB], text="Grüße " + "x" * 160)))
    assert (texted["encoding"], texted["length"], texted["segments"]) == ("GSM-7", 166, 2)
    assert [one["address"] for one in texted["accepted"]] == provider.numbers() == [ADA, BOB]
    assert provider.posted[0].form["From"] == "+12025550123"

    reminded = result_of(await run(stubs, booking_reminder=booking(sms_to=[ADA])))
    assert set(reminded) == {"email", "sms"}
    assert mails.mails[1].message["Subject"] == "Reminder: Haircut, Thu 24 Dec 2099, 18:00"
    assert provider.posted[2].form["Body"] == "Reminder: Haircut, Thu 24 Dec 2099, 18:00 CET"

    result_of(await run(stubs, payment_reminder=payment()))
    assert provider.posted[3].form["Body"] == "Reminder: your payment, KWD 1.235, due Thu 24 Dec 2099"
    assert stubs.health("q").warnings == []


@pytest.mark.timeout(90)
async def test_over_all_attempts_each_recipient_gets_it_once(
    start: Start, connect: Connect, ways: dict[str, str], mails: MailServer, provider: SmsProvider
) -> None:
    server = await asyncio.to_thread(start, **ways)
    stubs = connect(server)
    provider.answers += [Answer(201), Answer(429, {"code": 20429}, {"Retry-After": "1"}), Answer(503)]
    job = await run(stubs, booking_reminder=booking(sms_to=[ADA, BOB]))
    result = result_of(job)

    assert len(mails.mails) == 1
    assert provider.numbers() == [ADA, BOB, BOB, BOB]
    assert (job.attempt, job.failures) == (3, 2)
    first, second = job.errors
    assert first.message.startswith("sent already to 1-2 of 3")
    assert second.time.ToDatetime() - first.time.ToDatetime() >= (
        datetime(2026, 1, 1, 0, 0, 1) - datetime(2026, 1, 1)
    ), "Retry-After was not honoured"
    assert (result["email"]["earlier"], result["sms"]["earlier"]) == (["ada@example.com"], [ADA])
    assert TOKEN not in str(job) + server.said(1_000_000)
    assert "Haircut" not in server.said(1_000_000)


@pytest.mark.timeout(90)
async def test_what_is_refused_for_good_fails_at_once_and_a_retry_by_hand_sends_to_nobody_twice(
    start: Start, connect: Connect, ways: dict[str, str], mails: MailServer, provider: SmsProvider
) -> None:
    stubs = connect(await asyncio.to_thread(start, **ways))
    provider.answers += [Answer(400, {"code": 21211, "message": "not a number"})]
    job = await run(stubs, sms_notification=SmsNotification(to=[ADA], text="Hi"))
    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert "400, error 21211: not a number" in job.errors[-1].message

    provider.answers += [Answer(401, {"message": TOKEN})]
    job = await run(stubs, booking_reminder=booking(sms_to=[ADA]))
    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert TOKEN not in str(job)
    stubs.jobs.RetryJob(job_service_pb2.RetryJobRequest(queue="q", job_id=job.job_id))
    again = await asyncio.to_thread(stubs.wait_for, "q", job.job_id)
    assert (again.state, again.attempt) == (State.COMPLETED, 2)
    assert (len(mails.mails), provider.taken) == (1, 1)


@pytest.mark.timeout(90)
async def test_ways_that_are_not_set_up_fail_such_jobs_and_health_says_so(start: Start, connect: Connect) -> None:
    server = await asyncio.to_thread(start)
    stubs = connect(server)
    for payload in ({"sms_notification": SmsNotification(to=[ADA], text="Hi")}, {"payment_reminder": payment()}):
        job = await run(stubs, **payload)
        assert (job.state, job.attempt) == (State.FAILED, 1)
        assert "set sms.url" in job.errors[-1].message
    assert "set sms.url" in server.said()
    assert "set sms.url" in str(stubs.health("q"))


@pytest.mark.timeout(60)
async def test_a_bad_payload_is_refused_when_it_is_scheduled_with_its_field(start: Start, connect: Connect) -> None:
    stubs = connect(await asyncio.to_thread(start))
    payloads = {
        "job.booking_reminder.time_zone": {"booking_reminder": booking(time_zone="Mars/Base")},
        "job.payment_reminder.currency": {"payment_reminder": payment(currency="EURO")},
        "job.payment_reminder.payment_url": {"payment_reminder": payment(payment_url="javascript:alert(1)")},
        "job.sms_notification.to[1]": {"sms_notification": SmsNotification(to=[ADA, "0151"], text="Hi")},
        "job.email_notification.attachments[0].filename": {
            "email_notification": EmailNotification(
                to=["ada@example.com"], text="Hi", attachments=[{"filename": "a\r\nBcc: eve@example.com"}]
            )
        },
    }
    for field, payload in payloads.items():
        with pytest.raises(grpc.RpcError) as caught:
            await run(stubs, **payload)
        refused = refusal(caught.value)
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
