"""Renders a reminder, asks the fence, and sends it by e-mail, text message or both."""

from __future__ import annotations

import asyncio
from datetime import datetime

from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry

from tocsin_server.handlers.crossing import ServerLoop
from tocsin_server.handlers.mail.channel import MailChannel
from tocsin_server.handlers.mail.mailer import Mailer
from tocsin_server.handlers.reminders.fence import Fence
from tocsin_server.handlers.reminders.reminder import Reminder
from tocsin_server.handlers.sending.delivery import Channel
from tocsin_server.handlers.sending.sender import Sender
from tocsin_server.handlers.sms.errors import SmsRefused
from tocsin_server.handlers.sms.texter import SmsChannel, Texter
from tocsin_server.handlers.templates.rendering import MAIL, SMS, Rendered, Templates, TemplateUnfit


class ReminderSender:
    """Sends reminders of both kinds. `templates` are the user's and ours."""

    def __init__(
        self, mailer: Mailer, texter: Texter, templates: Templates, sender: Sender, fence: Fence, loop: ServerLoop
    ) -> None:
        self._mailer = mailer
        self._texter = texter
        self._templates = templates
        self._sender = sender
        self._fence = fence
        self._loop = loop

    async def now(self) -> datetime:
        """The store's clock."""
        return await self._loop.run(self._fence.now)

    async def send(self, job: JobContext, reminder: Reminder, now: datetime) -> dict[str, object]:
        """Send it to all who have not got it by an earlier attempt.

        Returns {"email": ..., "sms": ...}, those that were asked for, as sending.delivery.deliver says, "sms" with its
        length; or {"skipped": ...}, why nothing was sent: its set has moved on, a later one of the set is due, or it is
        too late. DoNotRetry where it can never be sent.
        """
        if reminder.too_late:
            return {"skipped": reminder.too_late}
        try:
            made = await asyncio.to_thread(self._rendered, reminder)
            channels, sms = self._channels(job, reminder, made)
        except (TemplateUnfit, SmsRefused) as error:
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

    def _rendered(self, reminder: Reminder) -> Rendered:
        parts = [*(MAIL if reminder.email_to else ()), *([SMS] if reminder.sms_to else ())]
        ours = f"{reminder.kind}_reminder"
        return self._templates.render(reminder.template or ours, reminder.data, parts, fallback=ours)

    def _channels(self, job: JobContext, reminder: Reminder, made: Rendered) -> tuple[list[Channel], SmsChannel | None]:
        channels: list[Channel] = []
        if reminder.email_to:
            words = (made.subject or "", made.text or "", made.html or "")
            channels.append(MailChannel(self._mailer, job, reminder.email_to, *words))
        sms = self._texter.channel(job, made.sms or "", reminder.sms_to) if reminder.sms_to else None
        return [*channels, *([sms] if sms else ())], sms

    async def _unwanted(self, job: JobContext, reminder: Reminder, now: datetime) -> str:
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
