"""Jobs of type email_notification: a mail, written or made from a template, handed to the mail transport."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tocsin.v1.payloads_pb2 import EmailNotification
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry, RetryLater
from tocsin.worker.registry import Handlers

from tocsin_server.messages.errors import Deferred, Refused
from tocsin_server.messages.mail.body import Attachment
from tocsin_server.messages.mail.mailer import Mailer
from tocsin_server.messages.mail.message import Letter, Priority
from tocsin_server.messages.stamp import Stamp
from tocsin_server.messages.templates.rendering import Rendered, Templates, TemplateUnfit, plain_data

TYPE = "email_notification"

_NO_PARTS = Rendered()
_PRIORITIES = {
    EmailNotification.LOW: Priority.LOW,
    EmailNotification.NORMAL: Priority.NORMAL,
    EmailNotification.HIGH: Priority.HIGH,
}


class EmailNotificationHandler:
    """Sends the mails of email_notification jobs. `templates` is the user's folder, None where there is none."""

    def __init__(self, mailer: Mailer, templates: Path | None) -> None:
        self._mailer = mailer
        self._templates = Templates(templates) if templates else None

    def register(self, handlers: Handlers) -> None:
        """Make these handlers serve email_notification."""
        handlers.on(TYPE)(self.send)

    async def send(self, job: JobContext) -> dict[str, object]:
        """Send the job's mail.

        Returns {"message_id", "accepted": [address], "refused": [{"address", "answer"}]}: some recipients may be
        refused while the others get the mail. DoNotRetry where this mail can never be sent; Deferred where a later
        attempt may succeed.
        """
        payload = job.payload
        if not isinstance(payload, EmailNotification):
            raise DoNotRetry(f"a job of type {TYPE} needs the payload {TYPE}")
        stamp = Stamp.of(job, datetime.now(UTC))
        try:
            handed = await self._mailer.send(lambda: self._letter(payload), stamp)
        except Refused as error:
            raise DoNotRetry(str(error)) from error
        except Deferred as error:
            if error.retry_in is None:
                raise
            raise RetryLater(error.retry_in, str(error)) from error
        refused = handed.delivery.refused
        return {
            "message_id": handed.message_id,
            "accepted": list(handed.delivery.accepted),
            "refused": [{"address": address, "answer": answer} for address, answer in refused.items()],
        }

    def _letter(self, payload: EmailNotification) -> Letter:
        made = self._rendered(payload)
        return Letter(
            sender=getattr(payload, "from"),  # a word of Python
            to=payload.to,
            cc=payload.cc,
            bcc=payload.bcc,
            reply_to=payload.reply_to,
            # What the payload says itself goes before what the template makes.
            subject=payload.subject or made.subject or "",
            text=payload.text or made.text or "",
            html=payload.html or made.html or "",
            attachments=[Attachment(a.filename, a.content, a.content_type) for a in payload.attachments],
            priority=_PRIORITIES.get(payload.priority),
        )

    def _rendered(self, payload: EmailNotification) -> Rendered:
        if not payload.template:
            return _NO_PARTS
        if self._templates is None:
            raise Refused("the mail wants a template: set mail.templates to the folder of the templates")
        try:
            return self._templates.render(payload.template, plain_data(payload.template_data))
        except TemplateUnfit as error:
            raise Refused(str(error)) from error
