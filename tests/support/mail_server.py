"""A real SMTP server on loopback, which keeps what it takes and refuses what it is told to refuse."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from support.smtp_serving import smtp_served

USER = "post@example.com"
PASSWORD = "s3cret/with:odd@signs%"


@dataclass(slots=True)
class Taken:
    """A mail as it arrived."""

    sender: str
    recipients: list[str]
    content: bytes
    tls: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        """Parsed by the standard library."""
        message = message_from_bytes(self.content, policy=SMTP_POLICY)
        assert isinstance(message, EmailMessage)
        return message


@dataclass  # not slotted: aiosmtpd looks at all attributes, and Python 3.11.2 fails at a slotted one's __weakref__
class MailServer:
    """Answers by address: what stands in `answers` is said to that sender or recipient, "DATA" answers the content."""

    answers: dict[str, str] = field(default_factory=dict)
    mails: list[Taken] = field(default_factory=list)
    port: int = 0
    silent_at: str = ""  # "DATA", "QUIT": to that it never answers
    content_came: asyncio.Event = field(default_factory=asyncio.Event)
    all_gone: asyncio.Event = field(default_factory=asyncio.Event)  # the last connection ended

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self.answers.get(address):
            return answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self.answers.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.content_came.set()
        if self.silent_at == "DATA":
            await asyncio.Event().wait()
        if answer := self.answers.get("DATA"):
            return answer
        assert isinstance(envelope.content, bytes)
        user = session.auth_data if session.authenticated else None
        self.mails.append(
            Taken(envelope.mail_from or "", list(envelope.rcpt_tos), envelope.content, session.ssl is not None, user)
        )
        return "250 taken"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.silent_at == "QUIT":
            await asyncio.Event().wait()
        return "221 Bye"

    def only_mail(self) -> Taken:
        """The one mail that arrived."""
        [mail] = self.mails
        return mail


@asynccontextmanager
async def mail_server(
    *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, auth: bool = False, utf8: bool = False
) -> AsyncIterator[MailServer]:
    """A server on 127.0.0.1: plain, with STARTTLS, or TLS from the start; with or without login and SMTPUTF8."""
    kept = MailServer()
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"hostname": "mail.example", "loop": loop, "enable_SMTPUTF8": utf8}
    if auth:
        # Demanded with TLS only: aiosmtpd warns of the other, rightly. Offered it is; Taken.user says who came.
        options |= {"authenticator": _authenticate, "auth_required": bool(starttls), "auth_require_tls": bool(starttls)}

    class Connection(SMTP):
        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            kept.all_gone.set()

    def connected() -> SMTP:
        kept.all_gone.clear()
        return Connection(kept, tls_context=starttls, **options)

    async with smtp_served(connected, tls) as kept.port:
        yield kept


def _authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
) -> AuthResult:
    if (data.login, data.password) == (USER.encode(), PASSWORD.encode()):
        return AuthResult(success=True, auth_data=data.login.decode())
    # Some servers are so talkative; what they repeat must not reach a log.
    return AuthResult(
        success=False, handled=False, message=f"535 no such user {data.login.decode()} with {data.password.decode()}"
    )


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A fresh certificate of localhost and 127.0.0.1, signed by itself: its file, and a server's context with it."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context
