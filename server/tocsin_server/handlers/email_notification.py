"""Jobs of type email_notification: a mail, written or made from a template, handed to the mail transport."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from tocsin.v1.payloads_pb2 import EmailNotification
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry
from tocsin.worker.registry import Handlers

from tocsin_server.domain.addresses import BadAddress, parse_address
from tocsin_server.handlers.mail.errors import MailRefused
from tocsin_server.handlers.mail.message import Letter, Mail, Stamp, compose
from tocsin_server.handlers.mail.opening import open_transport
from tocsin_server.handlers.mail.rendering import Rendered, Templates
from tocsin_server.handlers.mail.settings import MailSettings, MailSettingsError

TYPE = "email_notification"

_NO_TRANSPORT = "no mail can be sent: set mail.transport to smtp://HOST, smtps://HOST or file:FOLDER"
_EXACT = 2**53  # above, a double no longer holds every whole number
_NO_PARTS = Rendered(subject=None, text=None, html=None)


class EmailNotificationHandler:
    """Sends the mails of email_notification jobs.

    MailSettingsError from the constructor where a setting cannot be used. One that is missing is no error: jobs that
    need it fail, and `warnings` says so before.
    """

    def __init__(self, settings: MailSettings) -> None:
        url = settings.transport_url
        self._transport = open_transport(url, settings.timeout) if url else None
        self._template_folder = settings.templates
        self._templates = Templates(settings.templates) if settings.templates else None
        self._sender = settings.sender or ""
        if self._sender:
            try:
                parse_address(self._sender)
            except BadAddress as error:
                raise MailSettingsError(f"mail.sender: the address {error}") from None

    def register(self, handlers: Handlers) -> None:
        """Make these handlers serve email_notification."""
        handlers.on(TYPE)(self.send)

    def warnings(self) -> tuple[str, ...]:
        """What will make jobs of this type fail; for the log at start and for queue health."""
        said = [] if self._transport else [f"{TYPE}: {_NO_TRANSPORT}"]
        if self._template_folder is not None and not self._template_folder.is_dir():
            said.append(f"{TYPE}: mail.templates: there is no folder {self._template_folder}")
        return tuple(said)

    async def send(self, job: JobContext) -> dict[str, object]:
        """Send the job's mail.

        Returns {"message_id", "accepted": [address], "refused": [{"address", "answer"}]}: some recipients may be
        refused while the others get the mail. DoNotRetry where this mail can never be sent; MailDeferred where a later
        attempt may succeed.
        """
        payload = job.payload
        if not isinstance(payload, EmailNotification):
            raise DoNotRetry(f"a job of type {TYPE} needs the payload email_notification")
        if self._transport is None:
            raise DoNotRetry(_NO_TRANSPORT)
        try:
            # Off the event loop: templates are read from a disk, a large mail takes a while to be encoded.
            mail = await asyncio.to_thread(self._compose, payload, job)
            delivery = await self._transport.send(mail)
        except MailRefused as error:
            raise DoNotRetry(str(error)) from error
        return {
            "message_id": mail.message_id,
            "accepted": list(delivery.accepted),
            "refused": [{"address": address, "answer": answer} for address, answer in delivery.refused.items()],
        }

    def _compose(self, payload: EmailNotification, job: JobContext) -> Mail:
        # `from` is a word of Python.
        sender: str = getattr(payload, "from") or self._sender
        if not sender:
            raise MailRefused("the mail names no sender: give it `from`, or set mail.sender")
        made = self._rendered(payload)
        letter = Letter(
            sender=sender,
            to=payload.to,
            cc=payload.cc,
            bcc=payload.bcc,
            reply_to=payload.reply_to,
            # What the payload says itself goes before what the template makes.
            subject=payload.subject or made.subject or "",
            text=payload.text or made.text or "",
            html=payload.html or made.html or "",
        )
        return compose(letter, Stamp(job.queue, job.job_id, job.create_time, job.attempt, datetime.now(UTC)))

    def _rendered(self, payload: EmailNotification) -> Rendered:
        if not payload.template:
            return _NO_PARTS
        if self._templates is None:
            raise MailRefused("the mail wants a template: set mail.templates to the folder of the templates")
        return self._templates.render(payload.template, _plain(payload.template_data))


def _plain(data: Struct) -> dict[str, object]:
    """The values as Python has them; 3.0 becomes 3, as nobody wants to read "3.0 tickets"."""
    return {name: _whole(value) for name, value in MessageToDict(data).items()}


def _whole(value: object) -> object:
    match value:
        case float() if value.is_integer() and abs(value) <= _EXACT:
            return int(value)
        case dict():
            return {name: _whole(inner) for name, inner in value.items()}
        case list():
            return [_whole(inner) for inner in value]
    return value
