"""The one way out for mail, for all job types that send any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from tocsin_server.handlers.mail.addresses import BadAddress, parse_address
from tocsin_server.handlers.mail.errors import MailRefused
from tocsin_server.handlers.mail.message import Letter, Mail, Stamp, compose
from tocsin_server.handlers.mail.opening import open_transport
from tocsin_server.handlers.mail.settings import MailSettings, MailSettingsError
from tocsin_server.handlers.mail.transport import Delivery

_NO_TRANSPORT = "no mail can be sent: set mail.transport to smtp://HOST, smtps://HOST or file:FOLDER"
_NO_SENDER = "no sender is set: set mail.sender to the address that mails come from"


@dataclass(frozen=True, slots=True)
class Handed:
    """A mail that was handed over."""

    message_id: str
    delivery: Delivery


class Mailer:
    """Composes letters and hands them to the transport.

    MailSettingsError from the constructor where a setting cannot be used. One that is missing is no error: `missing`
    says it, and what needs it is refused.
    """

    def __init__(self, settings: MailSettings) -> None:
        url = settings.transport_url
        self._transport = open_transport(url, settings.timeout) if url else None
        self._sender = settings.sender or ""
        if self._sender:
            try:
                parse_address(self._sender)
            except BadAddress as error:
                raise MailSettingsError(f"mail.sender: the address {error}") from None

    @property
    def missing(self) -> str:
        """Why no mail can be sent as the server is set up; "" where it can."""
        return "" if self._transport else _NO_TRANSPORT

    @property
    def missing_sender(self) -> str:
        """Why no mail that names no sender itself can be sent; "" where it can."""
        return self.missing or ("" if self._sender else _NO_SENDER)

    async def send(self, write: Callable[[], Letter], stamp: Stamp) -> Handed:
        """Write a letter and hand it over to at least one recipient. Sender "" becomes the server's.

        `write` is called in a thread: templates are read from a disk, a large mail takes a while to be encoded.
        MailRefused where this mail can never be sent; MailDeferred where it may be later.
        """
        if self._transport is None:
            raise MailRefused(_NO_TRANSPORT)
        mail = await asyncio.to_thread(self._compose, write, stamp)
        return Handed(mail.message_id, await self._transport.send(mail))

    def _compose(self, write: Callable[[], Letter], stamp: Stamp) -> Mail:
        letter = write()
        if not letter.sender:
            if not self._sender:
                raise MailRefused("the mail names no sender: give it `from`, or set mail.sender")
            letter = replace(letter, sender=self._sender)
        return compose(letter, stamp)
