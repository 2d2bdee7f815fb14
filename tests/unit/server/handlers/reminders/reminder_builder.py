"""Reminder jobs as the runtime gives them to their handlers, with real ways out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tocsin.v1.payloads_pb2 import BookingReminder, PaymentReminder
from tocsin.worker.context import JobContext
from tocsin.worker.source import LeasedJob
from tocsin_server.handlers.booking_reminder import booking_reminder_handler
from tocsin_server.handlers.payment_reminder import payment_reminder_handler
from tocsin_server.handlers.reminders.brand import Brand
from tocsin_server.handlers.reminders.sending import ReminderSender
from tocsin_server.handlers.sender import Memory, Sender
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.messages.mail.mailer import Mailer
from tocsin_server.messages.sms.texter import Texter
from tocsin_server.messages.templates.rendering import OURS, Templates
from tocsin_server.operations.reminders.fence import ReminderFence
from tocsin_server.settings import MailSettings, SmsSettings

NOW = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)
BOOKING, PAYMENT = 14, 15  # the payloads' fields in tocsin.v1.JobSpec


def booking(**changed: Any) -> BookingReminder:
    """A booking on 24 December, 18:00 in Berlin, of which Ada is reminded."""
    fields = {
        "booking_id": "B-1",
        "time_zone": "Europe/Berlin",
        "title": "Haircut with Kim",
        "location": "Lange Straße 12",
        "recipient_name": "Ada",
        "email_to": ["ada@example.com"],
    }
    payload = BookingReminder(**{**fields, **changed})
    payload.booking_time.FromDatetime(datetime(2026, 12, 24, 17, 0))
    return payload


def payment(**changed: Any) -> PaymentReminder:
    """EUR 1,234.50, due on 24 December, of which Ada is reminded."""
    fields = {
        "payment_id": "P-1",
        "title": "Invoice 118",
        "amount_minor": 123450,
        "currency": "EUR",
        "payment_url": "https://pay.example.com/118?a=1&b=2",
        "email_to": ["ada@example.com"],
    }
    payload = PaymentReminder(**{**fields, **changed})
    payload.due_time.FromDatetime(datetime(2026, 12, 24, 17, 0))
    return payload


def a_job(payload: BookingReminder | PaymentReminder, attempt: int = 1, queue: str = "q") -> JobContext:
    kind = BOOKING if isinstance(payload, BookingReminder) else PAYMENT
    return JobContext(LeasedJob(queue, "job-1", "t", attempt, b"token", kind, payload.SerializeToString(), NOW, NOW))


@dataclass
class Remembered(Memory):
    """The errors of earlier attempts."""

    said: list[str] = field(default_factory=list)

    async def errors(self, job: JobContext) -> Sequence[str]:
        return self.said


@dataclass
class Gate(ReminderFence):
    """A fence that says what it is told to, and keeps what it was asked."""

    says: str = ""
    time: datetime = NOW
    asked: list[dict[str, object]] = field(default_factory=list)

    async def now(self) -> datetime:
        return self.time

    async def begin(self, *, now: datetime, **asked: object) -> str:
        assert now == self.time
        self.asked.append(asked)
        return self.says


@dataclass
class Bench:
    """Handlers of both kinds of reminders. `mail` and `sms` are URLs, None: not set up."""

    mail: str | None
    sms: str | None
    form: str = "json"
    templates: Path | None = None
    name: str | None = None
    colour: str = "#1d4ed8"
    memory: Remembered = field(default_factory=Remembered)
    fence: Gate = field(default_factory=Gate)

    async def send(
        self, payload: BookingReminder | PaymentReminder, attempt: int = 1, queue: str = "q"
    ) -> dict[str, object]:
        settings = MailSettings(
            transport=self.mail, sender="Shop <shop@example.com>", name=self.name, colour=self.colour
        )
        sender = ReminderSender(
            Mailer(settings, timeout=timedelta(seconds=5)),
            Texter(
                SmsSettings(url=self.sms, form=self.form, user="u", password="p", sender="Shop"),
                timeout=timedelta(seconds=5),
            ),
            Templates(*([self.templates] if self.templates else ()), OURS),
            Sender(self.memory),
            self.fence,
            ServerLoop(asyncio.get_running_loop()),
            Brand(settings),
        )
        job = a_job(payload, attempt, queue)
        if isinstance(payload, BookingReminder):
            return await booking_reminder_handler(sender).send(job)
        return await payment_reminder_handler(sender).send(job)
