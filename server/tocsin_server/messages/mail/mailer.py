"""The one way out for mail, for all job types that send any: single letters, and one letter to several people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from tocsin_server.messages.errors import MessageSettingsError, Refused
from tocsin_server.messages.mail.addresses import BadAddress, parse_address
from tocsin_server.messages.mail.body import Attachment
from tocsin_server.messages.mail.message import Letter, Mail, compose
from tocsin_server.messages.mail.transport import Delivery, MailTransport
from tocsin_server.messages.mail.url import open_transport
from tocsin_server.messages.renewed import Renewed
from tocsin_server.messages.rules import MailRules, refuse
from tocsin_server.messages.stamp import SendingAttempt, Stamp
from tocsin_server.settings import MailSettings

_TIMEOUT = timedelta(seconds=30)  # longest wait for one answer of the mail server

_NO_TRANSPORT = "no mail can be sent: set mail.transport to smtp://HOST, smtps://HOST or file:FOLDER"
_NO_SENDER = "no sender is set: set mail.sender to the address that mails come from"


@dataclass(frozen=True, slots=True)
class Handed:
    """A mail that was handed over."""

    message_id: str
    delivery: Delivery


class Mailer:
    """Composes letters and hands them to the transport.

    MessageSettingsError from the constructor where a setting cannot be used. One that is missing is no error: `missing`
    says it, and what needs it is refused.
    """

    def __init__(self, settings: MailSettings, *, timeout: timedelta = _TIMEOUT) -> None:
        secret = settings.transport
        self._transport: Renewed[MailTransport] | None = None
        if secret is not None and secret.get_secret_value():
            self._transport = Renewed(lambda: open_transport(secret.get_secret_value(), timeout), secret)
        self.rules = MailRules.of(settings)
        self._sender = settings.sender or ""
        if self._sender:
            try:
                parse_address(self._sender)
            except BadAddress as error:
                raise MessageSettingsError(f"mail.sender: the address {error}") from None

    @property
    def missing(self) -> str:
        """Why no mail can be sent as the server is set up; "" where it can."""
        return "" if self._transport else _NO_TRANSPORT

    @property
    def missing_sender(self) -> str:
        """Why no mail that names no sender itself can be sent; "" where it can."""
        return self.missing or ("" if self._sender else _NO_SENDER)

    @property
    def sender_domain(self) -> str:
        """The domain of the server's sender, in ASCII; "" where none is set."""
        return parse_address(self._sender).domain if self._sender else ""

    async def send(self, write: Callable[[], Letter], stamp: Stamp) -> Handed:
        """Write a letter and hand it over to at least one recipient. Sender "" becomes the server's.

        `write` is called in a thread: templates are read from a disk, a large mail takes a while to be encoded.
        Refused where this mail can never be sent; Deferred where it may be later.
        """
        if self._transport is None:
            raise Refused(_NO_TRANSPORT)
        mail = await asyncio.to_thread(self._compose, write, stamp)
        self.rules.hourly.take(len(mail.recipients))
        return Handed(mail.message_id, await self._transport.get().send(mail))

    def _compose(self, write: Callable[[], Letter], stamp: Stamp) -> Mail:
        letter = write()
        if not letter.sender:
            if not self._sender:
                raise Refused("the mail names no sender: give it `from`, or set mail.sender")
            letter = replace(letter, sender=self._sender)
        mail = compose(letter, stamp)
        rules = self.rules
        if rules.senders or rules.domains:
            recipients = [parse_address(address) for address in mail.recipients]
            refuse(
                [
                    ("from", rules.against_sender(parse_address(mail.sender))),
                    *(("a recipient", rules.against_recipient(recipient)) for recipient in recipients),
                ]
            )
        return mail


@dataclass(frozen=True, slots=True)
class MailChannel:
    """A mail, on its way to several addresses; each gets one of their own, and nobody sees who else gets it."""

    mailer: Mailer
    job: SendingAttempt
    addresses: Sequence[str]
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    attachments: Sequence[Attachment] = field(default=(), repr=False)
    name: str = "email"

    @property
    def missing(self) -> str:
        """Why nothing can be sent."""
        return self.mailer.missing_sender

    async def send(self, place: int) -> Mapping[str, object]:
        """Send it to one address; its Message-ID. Refused, Deferred."""
        stamp = Stamp.of(self.job, datetime.now(UTC), place + 1)
        letter = Letter("", [self.addresses[place]], self.subject, self.text, self.html, attachments=self.attachments)
        return {"message_id": (await self.mailer.send(lambda: letter, stamp)).message_id}
