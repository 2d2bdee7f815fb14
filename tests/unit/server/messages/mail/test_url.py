"""URLs of mail transports."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tocsin_server.messages.errors import MessageSettingsError
from tocsin_server.messages.mail.outbox import MailOutbox
from tocsin_server.messages.mail.smtp import SmtpServer, SmtpTls, SmtpTransport
from tocsin_server.messages.mail.url import open_transport
from tocsin_server.settings import MailSettings

TIMEOUT = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", SmtpServer("mail.example", 25, SmtpTls.IF_OFFERED)),
        ("smtp://mail.example:2525?starttls=never", SmtpServer("mail.example", 2525, SmtpTls.NEVER)),
        ("smtp://mail.example/?starttls=always", SmtpServer("mail.example", 25, SmtpTls.STARTTLS)),
        ("smtp://ada:pw@mail.example", SmtpServer("mail.example", 587, SmtpTls.STARTTLS, "ada", "pw")),
        ("smtp://ada:pw@mail.example?starttls=auto", SmtpServer("mail.example", 587, SmtpTls.IF_OFFERED, "ada", "pw")),
        ("SMTPS://a%40b:p%2Fw%3A%25@[::1]", SmtpServer("::1", 465, SmtpTls.FROM_THE_START, "a@b", "p/w:%")),
    ],
)
def test_a_url_names_a_server(url: str, server: SmtpServer) -> None:
    transport = open_transport(url, TIMEOUT)
    assert isinstance(transport, SmtpTransport)
    assert transport.server == server


@pytest.mark.parametrize(
    ("url", "folder"),
    [("file:outbox", "outbox"), ("file:/var/out%20box", "/var/out box"), ("file:///var/outbox", "/var/outbox")],
)
def test_a_url_names_a_folder(url: str, folder: str) -> None:
    transport = open_transport(url, TIMEOUT)
    assert isinstance(transport, MailOutbox)
    assert transport.folder == Path(folder).absolute()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example",
        "http://mail.example",
        "smtp:",
        "smtp://",
        "smtp://:25",
        "smtp://ada:hush/hush@mail.example",
        "smtp://ada:hush#hush@mail.example",
        "smtp://ada:hush?hush@mail.example",
        "smtp://mail.example:hush",
        "smtp://mail.example:99999",
        "smtp://[hush",
        "smtp://ada:hush hush@mail.example",
        "smtp://mail.example/hush",
        "smtp://mail.example?hush=1",
        "smtp://mail.example?starttls=hush",
        "smtps://mail.example?starttls=always",
        "file:",
        "file://hush/box",
    ],
)
def test_a_url_that_names_nothing_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(MessageSettingsError, match=r"^mail\.transport: ") as caught:
        open_transport(url, TIMEOUT)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_do_not_show_the_password() -> None:
    assert "hush" not in repr(MailSettings(transport="smtp://ada:hush@mail.example"))
    assert "hush" not in repr(SmtpServer("mail.example", 25, SmtpTls.NEVER, "ada", "hush"))
