"""How mail leaves, named by a URL.

smtp://[user:password@]host[:port][?starttls=auto|always|never]   port 587 with a user, else 25
smtps://[user:password@]host[:port]                               TLS from the first byte; port 465
file:FOLDER                                                       one .eml a mail, nothing is sent

User and password are percent-encoded where they hold one of : / ? # @ %. Messages here never repeat the URL: its parts
may be misplaced pieces of a password.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from tocsin_server.messages.errors import MessageSettingsError
from tocsin_server.messages.mail.outbox import MailOutbox
from tocsin_server.messages.mail.smtp import SmtpServer, SmtpTls, SmtpTransport
from tocsin_server.messages.mail.transport import MailTransport
from tocsin_server.messages.private_files import folder_of

_SMTP_PORT = 25
_SUBMISSION_PORT = 587
_SMTPS_PORT = 465
_STARTTLS = {"auto": SmtpTls.IF_OFFERED, "always": SmtpTls.STARTTLS, "never": SmtpTls.NEVER}


def open_transport(url: str, timeout: timedelta) -> MailTransport:
    """The transport that a URL names; nothing is connected yet. `timeout` bounds the wait for one answer.

    MessageSettingsError where the URL names none.
    """
    scheme, _, rest = url.partition(":")
    match scheme.lower():
        case "file":
            return MailOutbox(folder_of(rest, "mail.transport"))
        case "smtp" | "smtps":
            return SmtpTransport(_server(url), timeout)
    raise MessageSettingsError("mail.transport: it must begin with smtp://, smtps:// or file:")


def _server(url: str) -> SmtpServer:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else {}
    except ValueError:
        # No cause: urllib's message quotes what it could not read.
        raise MessageSettingsError(
            "mail.transport: host, port or options cannot be read; "
            "are : / ? # @ % in the password percent-encoded, as %3A %2F %3F %23 %40 %25?"
        ) from None
    if not host or parts.path.strip("/") or parts.fragment or any(ord(c) <= 32 for c in url):
        raise MessageSettingsError(f"mail.transport: write {parts.scheme}://[user:password@]host[:port]")
    user = unquote(parts.username or "") or None
    tls = _tls(parts, options, user)
    default_port = _SMTPS_PORT if tls is SmtpTls.FROM_THE_START else _SUBMISSION_PORT if user else _SMTP_PORT
    return SmtpServer(host, port or default_port, tls, user, unquote(parts.password or ""))


def _tls(parts: SplitResult, options: dict[str, list[str]], user: str | None) -> SmtpTls:
    starttls = options.pop("starttls", None)
    if options:
        raise MessageSettingsError("mail.transport: the only option is starttls")
    if parts.scheme == "smtps":
        if starttls is not None:
            raise MessageSettingsError("mail.transport: smtps is TLS from the start, it has no starttls")
        return SmtpTls.FROM_THE_START
    if starttls is None:
        # A password in clear text has to be asked for in so many words.
        return SmtpTls.STARTTLS if user else SmtpTls.IF_OFFERED
    if len(starttls) != 1 or starttls[0] not in _STARTTLS:
        raise MessageSettingsError("mail.transport: starttls must be auto, always or never")
    return _STARTTLS[starttls[0]]
