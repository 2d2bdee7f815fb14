"""Serves the jobs of either kind of reminder: renders, asks the fence, and sends by e-mail, text message or both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from google.protobuf.message import Message
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry
from tocsin.worker.registry import Handlers

from tocsin_server.handlers.reminders.brand import Brand
from tocsin_server.handlers.sender import Sender
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.messages.delivery import Channel
from tocsin_server.messages.errors import Refused
from tocsin_server.messages.mail.body import Attachment
from tocsin_server.messages.mail.calendar_file import CalendarEvent, calendar_file, calendar_uid
from tocsin_server.messages.mail.mailer import MailChannel, Mailer
from tocsin_server.messages.sms.texter import SmsChannel, Texter
from tocsin_server.messages.templates.rendering import MAIL, SMS, Rendered, Templates, TemplateUnfit
from tocsin_server.operations.reminders.fence import ReminderFence

P = TypeVar("P", bound=Message)


@dataclass(frozen=True, slots=True)
class DueReminder:
    """What is sent, to whom, and which set it belongs to."""

    kind: str  # "booking" or "payment"
    set_id: str  # the id of the booking or payment
    set_revision: int | None  # None: it belongs to no set
    template: str  # "": the one of its kind
    data: Mapping[str, object] = field(repr=False)  # what the template is filled with
    email_to: Sequence[str]
    sms_to: Sequence[str]
    payload: Message = field(repr=False)
    event: CalendarEvent | None = None  # for calendars, sent along by mail
    too_late: str = ""  # why nobody is reminded any more


class ReminderSender:
    """Sends reminders of both kinds. `templates` are the user's and ours."""

    def __init__(
        self,
        mailer: Mailer,
        texter: Texter,
        templates: Templates,
        sender: Sender,
        fence: ReminderFence,
        loop: ServerLoop,
        brand: Brand,
    ) -> None:
        self._mailer = mailer
        self._texter = texter
        self._templates = templates
        self._sender = sender
        self._fence = fence
        self._loop = loop
        self._brand = brand

    async def now(self) -> datetime:
        """The store's clock."""
        return await self._loop.run(self._fence.now)

    async def send(self, job: JobContext, reminder: DueReminder, now: datetime) -> dict[str, object]:
        """Send it to all who have not got it by an earlier attempt.

        Returns {"email": ..., "sms": ...}, those that were asked for, as messages.delivery says, "sms" with its
        length; or {"skipped": ...}, why nothing was sent: its set has moved on, a later one of the set is due, or it is
        too late. DoNotRetry where it can never be sent.
        """
        if reminder.too_late:
            return {"skipped": reminder.too_late}
        try:
            made = await asyncio.to_thread(self._rendered, reminder)
            channels, sms = self._channels(job, reminder, made, now)
        except (TemplateUnfit, Refused) as error:
            raise DoNotRetry(str(error)) from error

        skipped = ""

        async def begin() -> bool:
            nonlocal skipped
            skipped = await self._unwanted(job, reminder, now)
            return not skipped

        results = await self._sender.send(job, reminder.payload, channels, begin)
        if results is None:
            return {"skipped": skipped}
        if sms is not None:
            results[sms.name] = {**sms.measured, **results[sms.name]}
        return dict(results)

    def _rendered(self, reminder: DueReminder) -> Rendered:
        parts = [*(MAIL if reminder.email_to else ()), *([SMS] if reminder.sms_to else ())]
        ours = f"{reminder.kind}_reminder"
        data = {**reminder.data, **self._brand.data}
        return self._templates.render(reminder.template or ours, data, parts, fallback=ours)

    def _channels(
        self, job: JobContext, reminder: DueReminder, made: Rendered, now: datetime
    ) -> tuple[list[Channel], SmsChannel | None]:
        channels: list[Channel] = []
        if reminder.email_to:
            words = (made.subject or "", made.text or "", made.html or "")
            files: Sequence[Attachment] = ()
            if (event := reminder.event) is not None:
                uid = calendar_uid(self._mailer.sender_domain, job.queue, event.booking_id)
                files = (calendar_file(event, uid, now),)
            channels.append(MailChannel(self._mailer, job, reminder.email_to, *words, attachments=files))
        sms = self._texter.channel(job, made.sms or "", reminder.sms_to) if reminder.sms_to else None
        return [*channels, *([sms] if sms else ())], sms

    async def _unwanted(self, job: JobContext, reminder: DueReminder, now: datetime) -> str:
        revision = reminder.set_revision
        if revision is None:
            return ""
        return await self._loop.run(
            lambda: self._fence.begin(
                queue=job.queue,
                kind=reminder.kind,
                set_id=reminder.set_id,
                revision=revision,
                job_id=job.job_id,
                attempt=job.attempt,
                now=now,
            )
        )


class ReminderHandler(Generic[P]):
    """Sends the reminders of the jobs of a type. `read` makes one of their payload, to be sent at that time; it may
    raise DoNotRetry."""

    def __init__(
        self, type_: str, payload: type[P], read: Callable[[P, datetime], DueReminder], sender: ReminderSender
    ) -> None:
        self._type = type_
        self._payload = payload
        self._read = read
        self._sender = sender

    def register(self, handlers: Handlers) -> None:
        """Make these handlers serve the type."""
        handlers.on(self._type)(self.send)

    async def send(self, job: JobContext) -> dict[str, object]:
        """Send the job's reminder. Returns and raises as ReminderSender.send."""
        payload = job.payload
        if not isinstance(payload, self._payload):
            raise DoNotRetry(f"a job of type {self._type} needs the payload {self._type}")
        now = await self._sender.now()
        return await self._sender.send(job, self._read(payload, now), now)
