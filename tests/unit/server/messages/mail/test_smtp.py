"""Mail by SMTP, taken by a real server."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from support.mail_server import PASSWORD, USER, certificate, mail_server
from support.ports import free_port
from tocsin_server.messages.errors import Deferred, Refused
from tocsin_server.messages.mail.message import Letter, Mail, compose
from tocsin_server.messages.mail.transport import MailTransport
from tocsin_server.messages.mail.url import open_transport
from tocsin_server.messages.stamp import Stamp

NOW = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"


def a_mail(*to: str, bcc: tuple[str, ...] = ()) -> Mail:
    letter = Letter("Shop <shop@example.com>", to or ("ada@example.com",), "Hello", "Hi Ada\n.\nBye", "", bcc=bcc)
    return compose(letter, Stamp("default", "job-1", NOW, 1, NOW))


def transport(url: str, timeout: timedelta = timedelta(seconds=10)) -> MailTransport:
    return open_transport(url, timeout)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(tls: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's context, its certificate known to this process as a private authority's would be."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
    return tls[1]


async def test_a_mail_arrives_as_it_was_written() -> None:
    mail = a_mail("Ada <ada@example.com>", "bob@example.com", bcc=("eve@example.com",))
    async with mail_server() as server:
        delivery = await transport(f"smtp://127.0.0.1:{server.port}").send(mail)

    assert delivery.accepted == ("ada@example.com", "bob@example.com", "eve@example.com")
    assert delivery.refused == {}
    assert server.only_mail().sender == "shop@example.com"
    assert server.only_mail().recipients == ["ada@example.com", "bob@example.com", "eve@example.com"]
    assert server.only_mail().content == mail.content
    assert server.only_mail().message.get_content().splitlines() == ["Hi Ada", ".", "Bye"]
    assert not server.only_mail().tls


async def test_starttls_is_used_where_it_is_offered(trusted: ssl.SSLContext) -> None:
    async with mail_server(starttls=trusted) as server:
        await transport(f"smtp://127.0.0.1:{server.port}").send(a_mail())
    assert server.only_mail().tls


async def test_starttls_can_be_left_out(trusted: ssl.SSLContext) -> None:
    async with mail_server(starttls=trusted) as server:
        await transport(f"smtp://127.0.0.1:{server.port}?starttls=never").send(a_mail())
    assert not server.only_mail().tls


async def test_nothing_is_sent_where_starttls_is_demanded_and_not_offered() -> None:
    async with mail_server() as server:
        with pytest.raises(Deferred, match="STARTTLS"):
            await transport(f"smtp://127.0.0.1:{server.port}?starttls=always").send(a_mail())
    assert server.mails == []


async def test_user_and_password_are_given_after_starttls(trusted: ssl.SSLContext) -> None:
    async with mail_server(starttls=trusted, auth=True) as server:
        await transport(f"smtp://{LOGIN}localhost:{server.port}").send(a_mail())
    assert (server.only_mail().tls, server.only_mail().user) == (True, USER)


async def test_smtps_is_encrypted_from_the_first_byte(trusted: ssl.SSLContext) -> None:
    async with mail_server(tls=trusted) as server:
        await transport(f"smtps://localhost:{server.port}").send(a_mail())
    assert len(server.mails) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_nobody_vouches_for_is_refused(scheme: str, tls: tuple[Path, ssl.SSLContext]) -> None:
    starttls, from_the_start = (tls[1], None) if scheme == "smtp" else (None, tls[1])
    async with mail_server(starttls=starttls, tls=from_the_start) as server:
        with pytest.raises(Deferred, match="SSL_CERT_FILE"):
            await transport(f"{scheme}://localhost:{server.port}").send(a_mail())
    assert server.mails == []


@pytest.mark.parametrize("option", ["", "?starttls=auto"])
async def test_a_password_never_goes_in_clear_text_unasked(option: str) -> None:
    async with mail_server(auth=True) as server:
        with pytest.raises(Deferred, match="STARTTLS"):
            await transport(f"smtp://{LOGIN}127.0.0.1:{server.port}{option}").send(a_mail())
        assert server.mails == []
        await transport(f"smtp://{LOGIN}127.0.0.1:{server.port}?starttls=never").send(a_mail())
    assert server.only_mail().user == USER


async def test_a_refused_login_is_tried_again_later_and_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="tocsin_server")
    caplog.set_level("DEBUG", logger="aiosmtplib")
    async with mail_server(auth=True) as server:
        wrong = f"smtp://{LOGIN.replace('s3cret', 's3cret-old')}127.0.0.1:{server.port}?starttls=never"
        sender = transport(wrong)
        with pytest.raises(Deferred, match="user or password") as caught:
            await sender.send(a_mail())
    shown = "".join((*traceback.format_exception(caught.value), repr(sender), caplog.text))
    assert "s3cret" not in shown
    assert quote(PASSWORD, safe="") not in shown


async def test_the_others_get_the_mail_of_which_some_recipients_were_refused() -> None:
    async with mail_server() as server:
        server.answers = {"bob@example.com": "550 5.1.1 no such user", "cy@example.com": "451 later"}
        mail = a_mail("ada@example.com", "bob@example.com", bcc=("cy@example.com",))
        delivery = await transport(f"smtp://127.0.0.1:{server.port}").send(mail)
    assert delivery.accepted == ("ada@example.com",)
    assert delivery.refused == {"bob@example.com": "550 5.1.1 no such user", "cy@example.com": "451 later"}
    assert server.only_mail().recipients == ["ada@example.com"]


@pytest.mark.parametrize(
    "answers",
    [
        {"shop@example.com": "553 not from here"},
        {"ada@example.com": "550 no such user", "bob@example.com": "553 nor this one"},
        {"DATA": "554 looks like spam"},
    ],
    ids=["sender", "all recipients", "content"],
)
async def test_what_is_refused_for_good_is_not_tried_again(answers: dict[str, str]) -> None:
    async with mail_server() as server:
        server.answers = answers
        with pytest.raises(Refused, match=r"refused .* (553 not|550 no|554 looks)"):
            await transport(f"smtp://127.0.0.1:{server.port}").send(a_mail("ada@example.com", "bob@example.com"))
    assert server.mails == []


@pytest.mark.parametrize(
    "answers",
    [
        {"shop@example.com": "451 too many at once"},
        {"ada@example.com": "550 no such user", "bob@example.com": "450 greylisted"},
        {"DATA": "452 no room"},
        {"DATA": "421 going down"},
    ],
    ids=["sender", "one recipient of all", "content", "server"],
)
async def test_what_is_refused_for_now_is_tried_again(answers: dict[str, str]) -> None:
    async with mail_server() as server:
        server.answers = answers
        with pytest.raises(Deferred):
            await transport(f"smtp://127.0.0.1:{server.port}").send(a_mail("ada@example.com", "bob@example.com"))
    assert server.mails == []


async def test_a_server_that_is_away_is_tried_again() -> None:
    port = free_port()
    with pytest.raises(Deferred, match=f"the mail server 127.0.0.1:{port} cannot be reached"):
        await transport(f"smtp://{LOGIN}127.0.0.1:{port}").send(a_mail())


async def test_a_server_that_falls_silent_is_waited_for_no_longer_than_the_timeout() -> None:
    async with mail_server() as server:
        server.silent_at = "DATA"
        with pytest.raises(Deferred, match="Timed out"):
            await transport(f"smtp://127.0.0.1:{server.port}", timedelta(milliseconds=200)).send(a_mail())


async def test_a_mail_once_taken_counts_as_sent_whatever_the_server_does_then() -> None:
    async with mail_server() as server:
        server.silent_at = "QUIT"
        sender = transport(f"smtp://127.0.0.1:{server.port}", timedelta(milliseconds=200))
        assert (await sender.send(a_mail())).accepted == ("ada@example.com",)
    assert len(server.mails) == 1


async def test_a_cancelled_mail_leaves_no_connection_behind() -> None:
    async with mail_server() as server:
        server.silent_at = "DATA"
        sending = asyncio.create_task(transport(f"smtp://127.0.0.1:{server.port}").send(a_mail()))
        await server.content_came.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.wait_for(server.all_gone.wait(), 5)


async def test_letters_beyond_ascii_before_the_at_sign_need_a_server_that_takes_them() -> None:
    mail = a_mail("ädä@exämple.com")
    async with mail_server() as server:
        with pytest.raises(Refused, match="SMTPUTF8"):
            await transport(f"smtp://127.0.0.1:{server.port}").send(mail)
    assert server.mails == []
    async with mail_server(utf8=True) as server:
        delivery = await transport(f"smtp://127.0.0.1:{server.port}").send(mail)
    assert delivery.accepted == ("ädä@xn--exmple-cua.com",)
    assert server.only_mail().recipients == ["ädä@xn--exmple-cua.com"]
    assert "ädä@xn--exmple-cua.com".encode() in server.only_mail().content
