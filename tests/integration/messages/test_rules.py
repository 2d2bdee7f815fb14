"""Rules on outgoing mail and text messages: what breaks them is not scheduled, and what was scheduled without them is
not sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from support.mail_server import MailServer
from support.servers import Server
from support.sms_provider import SmsProvider
from support.stubs import State, Stubs, refusal, refusal_in, request
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import reminder_service_pb2, reminder_service_pb2_grpc, schedule_service_pb2_grpc
from tocsin.v1 import schedule_service_pb2 as schedule_pb
from tocsin.v1.job_pb2 import JobSpec
from tocsin.v1.payloads_pb2 import BookingReminder, EmailNotification, SmsNotification
from tocsin.v1.schedule_pb2 import Cron, Schedule

Start = Callable[..., Server]
Connect = Callable[[Server], Stubs]
RULES = {
    "TOCSIN_MAIL__ALLOWED_SENDERS": "@example.com",
    "TOCSIN_MAIL__ALLOWED_RECIPIENT_DOMAINS": "example.com",
    "TOCSIN_MAIL__MAX_RECIPIENTS_PER_HOUR": "3",
    "TOCSIN_SMS__ALLOWED_PREFIXES": "+49",
    "TOCSIN_SMS__ALLOWED_SENDERS": "+12025550123",
    "TOCSIN_SMS__MAX_PER_HOUR": "1",
}
ADA = "+4915112345678"


def mail(to: str, sender: str = "", **more: str) -> EmailNotification:
    return EmailNotification(to=[to], subject="s", text="t", **{"from": sender}, **more)  # type: ignore[arg-type]


BAD = {
    "mail.allowed_recipient_domains": {"email_notification": mail("ada@evil.example")},
    "mail.allowed_senders": {"email_notification": mail("ada@example.com", "ceo@bank.example")},
    "sms.allowed_prefixes": {"sms_notification": SmsNotification(to=[ADA, "+19005550100"], text="t")},
    "sms.allowed_senders": {"sms_notification": SmsNotification(to=[ADA], text="t", **{"from": "BANK"})},  # type: ignore[arg-type]
}


@pytest.mark.timeout(120)
async def test_what_breaks_a_rule_is_neither_scheduled_nor_sent(
    start: Start, connect: Connect, ways: dict[str, str], mails: MailServer, provider: SmsProvider
) -> None:
    free = await asyncio.to_thread(start, "--no-dispatch", **ways)
    stubs = connect(free)
    for rule, payload in BAD.items():
        stubs.jobs.ScheduleJob(request("before", "", job_id=rule, **payload))
    ruled = connect(await asyncio.to_thread(start, **ways, **RULES))

    for rule, payload in BAD.items():
        with pytest.raises(grpc.RpcError) as caught:
            ruled.jobs.ScheduleJob(request("q", "", **payload))
        why = refusal(caught.value)
        assert (why.code, why.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert rule in why.message
        assert why.fields[0].startswith(f"job.{next(iter(payload))}.")
    batch = [
        request("q", "", **payload) for payload in (*BAD.values(), {"email_notification": mail("ada@example.com")})
    ]
    answer = ruled.jobs.BatchScheduleJobs(pb.BatchScheduleJobsRequest(requests=batch))
    refused = [refusal_in(result.error) for result in answer.results if result.HasField("error")]
    assert all(rule in why.message for rule, why in zip(BAD, refused, strict=True))
    reminder = BookingReminder(
        booking_id="B-1", time_zone="UTC", email_to=["ada@evil.example"], sms_to=["+19005550100"]
    )
    reminder.booking_time.FromJsonString("2099-12-24T17:00:00Z")
    reminders = reminder_service_pb2_grpc.ReminderServiceStub(ruled.channel)
    with pytest.raises(grpc.RpcError) as caught:
        reminders.ScheduleBookingReminders(
            reminder_service_pb2.ScheduleBookingRemindersRequest(queue="q", reminder=reminder)
        )
    assert refusal(caught.value).fields == ["reminder.email_to[0]", "reminder.sms_to[0]"]

    refuses_where_it_is_said_later(ruled)

    for rule in BAD:
        job = await asyncio.to_thread(ruled.wait_for, "before", rule)
        if rule == "sms.allowed_prefixes":  # one of the two numbers may be written to
            assert job.state == State.COMPLETED
            assert "sms.allowed_prefixes" in str(job.result)
        else:
            assert job.state == State.FAILED
            assert rule in job.errors[-1].message
    assert provider.numbers() == [ADA]
    assert [one.recipients for one in mails.mails] in ([], [["ada@example.com"]])


def refuses_where_it_is_said_later(ruled: Stubs) -> None:
    """A payload that is put in another's place, and the job of a schedule."""
    good = {"email_notification": mail("ada@example.com"), "sms_notification": SmsNotification(to=[ADA], text="t")}
    schedules = schedule_service_pb2_grpc.ScheduleServiceStub(ruled.channel)
    for kind, payload in good.items():
        job = ruled.jobs.ScheduleJob(request("later", "", job_id=kind, delay=3600, **{kind: payload})).job
        assert job.job_id == kind
        schedules.CreateSchedule(a_schedule(kind, **{kind: payload}))
    for rule, payload in BAD.items():
        [kind] = payload
        spec = JobSpec(**payload)  # type: ignore[arg-type]
        update = pb.UpdateJobRequest(queue="later", job_id=kind, job=spec)
        change = schedule_pb.UpdateScheduleRequest(update_mask=FieldMask(paths=["job"]))
        change.schedule.MergeFrom(Schedule(queue="later", schedule_id=kind, job=spec))
        for call, message, path in (
            (ruled.jobs.UpdateJob, update, "job."),
            (schedules.CreateSchedule, a_schedule("other", **payload), "schedule.job."),
            (schedules.UpdateSchedule, change, "schedule.job."),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(message)
            why = refusal(caught.value)
            assert (why.code, why.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
            assert rule in why.message
            assert why.fields[0].startswith(f"{path}{kind}.")
    for kind, payload in good.items():  # none of these has changed
        assert getattr(ruled.get("later", kind).spec, kind) == payload
        kept = schedules.GetSchedule(schedule_pb.GetScheduleRequest(queue="later", schedule_id=kind)).schedule
        assert getattr(kept.job, kind) == payload
        change = schedule_pb.UpdateScheduleRequest(update_mask=FieldMask(paths=["note"]))
        change.schedule.MergeFrom(Schedule(queue="later", schedule_id=kind, note="by hand"))
        assert schedules.UpdateSchedule(change).schedule.note == "by hand"


def a_schedule(schedule_id: str, **payload: object) -> schedule_pb.CreateScheduleRequest:
    spec = JobSpec(**payload)  # type: ignore[arg-type]
    made = Schedule(queue="later", schedule_id=schedule_id, cron=Cron(lines=["0 3 * * *"]), job=spec)
    return schedule_pb.CreateScheduleRequest(schedule=made)


@pytest.mark.timeout(120)
async def test_what_is_too_much_for_an_hour_waits_for_the_next(
    start: Start, connect: Connect, ways: dict[str, str], mails: MailServer
) -> None:
    stubs = connect(await asyncio.to_thread(start, **ways, **RULES))
    for number in range(3):
        stubs.jobs.ScheduleJob(request("q", "", job_id=f"m{number}", email_notification=mail(f"n{number}@example.com")))
        assert (await asyncio.to_thread(stubs.wait_for, "q", f"m{number}")).state == State.COMPLETED
    stubs.jobs.ScheduleJob(request("q", "", job_id="m3", email_notification=mail("n3@example.com")))
    job = await asyncio.to_thread(stubs.wait_for, "q", "m3", State.SCHEDULED)
    assert "mail.max_recipients_per_hour" in job.errors[0].message
    assert 3_400 < job.schedule_time.seconds - job.create_time.seconds <= 3_700
    assert len(mails.mails) == 3
