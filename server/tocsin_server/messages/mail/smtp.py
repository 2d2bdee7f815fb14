"""Mail by SMTP: one connection a mail."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

import aiosmtplib

from tocsin_server.messages.errors import Deferred, Refused
from tocsin_server.messages.mail.message import Mail
from tocsin_server.messages.mail.transport import Delivery, MailTransport

_GOODBYE_SECONDS = 2.0  # a server that does not answer QUIT holds up nobody for long
_SAID_CHARACTERS = 200  # of a server's answer, in errors and results


class SmtpTls(Enum):
    """When the connection is encrypted. Certificates are checked in all cases but NEVER."""

    FROM_THE_START = 1
    STARTTLS = 2  # or nothing is sent
    IF_OFFERED = 3  # by STARTTLS; a password is sent over an encrypted connection only
    NEVER = 4  # a password goes in clear text


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where to connect, and as whom. None: without login."""

    host: str
    port: int
    tls: SmtpTls
    user: str | None = None
    password: str = field(default="", repr=False)


class SmtpTransport(MailTransport):
    """Hands mails to one SMTP server. `timeout` is the longest wait for any one of its answers."""

    def __init__(self, server: SmtpServer, timeout: timedelta) -> None:
        self.server = server
        self._timeout = timeout.total_seconds()
        # Reading the system's certificates takes longer than a mail: once, here.
        self._tls_context = None if server.tls is SmtpTls.NEVER else ssl.create_default_context()
        self._greeting_name: str | None = None  # this host's, for EHLO; asked of the name service once

    async def send(self, mail: Mail) -> Delivery:
        """Connect, hand over, part.

        What the server says for good about this mail (5xx to sender, recipients or content) is Refused. All else
        is Deferred, a refused login too: with mended settings the same mail goes.
        """
        async with self._connected() as smtp:
            try:
                # A server that offers SMTPUTF8 offers 8BITMIME too (RFC 6531). SIZE is added by the library.
                options = ["SMTPUTF8", "BODY=8BITMIME"] if mail.smtputf8 else []
                refused, _ = await smtp.sendmail(mail.sender, mail.recipients, mail.content, mail_options=options)
            except aiosmtplib.SMTPRecipientsRefused as error:
                raise _all_refused(error.recipients) from error
            except aiosmtplib.SMTPResponseException as error:
                what = "the sender" if isinstance(error, aiosmtplib.SMTPSenderRefused) else "the mail"
                raise _not_sent(error.code)(f"the mail server refused {what}: {_said(error)}") from error
            except aiosmtplib.SMTPNotSupported as error:
                raise Refused(
                    "an address has letters beyond ASCII before its @, and the mail server does not offer SMTPUTF8"
                ) from error
            except (aiosmtplib.SMTPException, OSError) as error:
                raise Deferred(f"{self._where} broke off while the mail was handed over: {_plain(error)}") from error
            accepted = tuple(address for address in mail.recipients if address not in refused)
            return Delivery(accepted, {address: _answer(said.code, said.message) for address, said in refused.items()})

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiosmtplib.SMTP]:
        server = self.server
        smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            timeout=self._timeout,
            local_hostname=self._greeting_name,
            use_tls=server.tls is SmtpTls.FROM_THE_START,
            start_tls={SmtpTls.STARTTLS: True, SmtpTls.IF_OFFERED: None}.get(server.tls, False),
            tls_context=self._tls_context,
        )
        try:
            await self._connect(smtp)
            self._greeting_name = smtp.local_hostname
            yield smtp
            # The mail is taken: nothing that goes wrong from here may have it sent again.
            with contextlib.suppress(Exception):
                await smtp.quit(timeout=min(_GOODBYE_SECONDS, self._timeout))
        finally:
            smtp.close()

    async def _connect(self, smtp: aiosmtplib.SMTP) -> None:
        try:
            await smtp.connect()
        except aiosmtplib.SMTPResponseException as error:
            raise Deferred(f"{self._where} does not want to talk: {_said(error)}", everyone=True) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Deferred(f"{self._where} cannot be reached: {_plain(error)}{_hint(error)}", everyone=True) from error
        if self.server.user is not None:
            await self._log_in(smtp, self.server.user)

    async def _log_in(self, smtp: aiosmtplib.SMTP, user: str) -> None:
        if self.server.tls is not SmtpTls.NEVER and smtp.get_transport_info("sslcontext") is None:
            raise Deferred(
                f"{self._where} offers no STARTTLS, and the password is not sent in clear text. "
                "If that is wanted, add ?starttls=never to mail.transport",
                everyone=True,
            )
        try:
            await smtp.login(user, self.server.password)
        except aiosmtplib.SMTPAuthenticationError as error:
            # The server's words and the cause are left out: an answer may repeat what it was sent.
            raise Deferred(
                f"{self._where} refused user or password in mail.transport ({error.code})", everyone=True
            ) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Deferred(f"{self._where}: logging in failed, {type(error).__name__}", everyone=True) from None

    @property
    def _where(self) -> str:
        return f"the mail server {self.server.host}:{self.server.port}"


def _all_refused(recipients: list[aiosmtplib.SMTPRecipientRefused]) -> Refused | Deferred:
    # One "later" among them is enough to try again.
    code = min(error.code for error in recipients)
    first = recipients[0]
    more = f" (and {len(recipients) - 1} more)" if len(recipients) > 1 else ""
    return _not_sent(code)(f"the mail server refused {first.recipient}{more}: {_said(first)}")


def _not_sent(code: int) -> type[Refused] | type[Deferred]:
    return Refused if 500 <= code < 600 else Deferred


def _said(error: aiosmtplib.SMTPResponseException) -> str:
    return _answer(error.code, error.message)


def _answer(code: int, message: str) -> str:
    # Bytes that were no UTF-8 came as surrogates, which cannot be stored.
    words = message.encode("utf-8", "replace").decode()[:_SAID_CHARACTERS]
    return f"{code} {' '.join(words.split())}"


def _hint(error: BaseException) -> str:
    # With smtps the library wraps it, with STARTTLS it does not.
    if isinstance(error, ssl.SSLCertVerificationError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return ". Name the certificate of its authority in the environment, as SSL_CERT_FILE"
    return ""


def _plain(error: Exception) -> str:
    return " ".join(str(error).encode("utf-8", "replace").decode().split()) or type(error).__name__
