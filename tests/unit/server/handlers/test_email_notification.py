"""The handler of email_notification, given jobs as the runtime gives them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from support.mail_server import mail_server
from support.ports import free_port
from tocsin.v1.payloads_pb2 import EmailNotification
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry
from tocsin.worker.payloads import encode_result
from tocsin.worker.source import LeasedJob
from tocsin_server.handlers.email_notification import EmailNotificationHandler
from tocsin_server.messages.errors import Deferred, MessageSettingsError
from tocsin_server.messages.mail.mailer import Mailer
from tocsin_server.settings import MailSettings

NOW = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)
TO_ADA = EmailNotification(to=["ada@example.com"], subject="Hello", text="Hi Ada")
EMAIL_NOTIFICATION = 12  # the payload's field in tocsin.v1.JobSpec


def a_job(payload: EmailNotification = TO_ADA, kind: int = EMAIL_NOTIFICATION) -> JobContext:
    body = payload.SerializeToString()
    return JobContext(LeasedJob("default", "xmas-ada", "email_notification", 1, b"token", kind, body, NOW, NOW))


def to_ada(sender: str = "shop@example.com", **fields: Any) -> EmailNotification:
    payload = EmailNotification(**{"to": ["ada@example.com"], **fields})
    setattr(payload, "from", sender)
    return payload


def settings(url: str | None, templates: Path | None = None) -> MailSettings:
    return MailSettings(transport=url, sender="Shop <shop@example.com>", templates=templates)


def handler_of(given: MailSettings) -> EmailNotificationHandler:
    return EmailNotificationHandler(Mailer(given, timeout=timedelta(seconds=5)), given.templates)


def only_mail(folder: Path) -> EmailMessage:
    [file] = folder.iterdir()
    message = message_from_bytes(file.read_bytes(), policy=SMTP)
    assert isinstance(message, EmailMessage)
    return message


async def test_a_job_sends_its_mail_and_its_result_says_who_got_it() -> None:
    async with mail_server() as server:
        server.answers = {"bob@example.com": "550 no such user"}
        handler = handler_of(settings(f"smtp://127.0.0.1:{server.port}"))
        payload = EmailNotification(
            to=["Ada <ada@example.com>", "bob@example.com"],
            cc=["cy@example.com"],
            bcc=["eve@example.com"],
            reply_to="help@example.com",
            subject="Grüße",
            text="Hi",
            html="<p>Hi</p>",
        )
        result = await handler.send(a_job(payload))

    mail = server.only_mail()
    assert mail.recipients == ["ada@example.com", "cy@example.com", "eve@example.com"]
    assert result == {
        "message_id": mail.message["Message-ID"],
        "accepted": mail.recipients,
        "refused": [{"address": "bob@example.com", "answer": "550 no such user"}],
    }
    assert encode_result(result)
    assert mail.message["From"] == "Shop <shop@example.com>"
    assert mail.message["Subject"] == "Grüße"
    assert mail.message["Reply-To"] == "help@example.com"
    assert [part.get_content_type() for part in mail.message.iter_parts()] == ["text/plain", "text/html"]
    assert b"eve" not in mail.content


async def test_the_payloads_own_sender_goes_before_the_servers(tmp_path: Path) -> None:
    handler = handler_of(settings(f"file:{tmp_path}"))
    await handler.send(a_job(to_ada("own@example.com", text="Hi")))
    assert only_mail(tmp_path)["From"] == "own@example.com"


async def test_a_template_is_filled_with_the_jobs_data(tmp_path: Path) -> None:
    templates, outbox = tmp_path / "templates", tmp_path / "outbox"
    templates.mkdir()
    for name, content in {
        "order.subject": "Order {{ order.number }}\n",
        "order.txt": "{{ name }}: {{ order.items | join(', ') }}, {{ order.total }}",
        "order.html": "<p>{{ name }}</p>",
    }.items():
        (templates / name).write_text(content)
    data = Struct()
    data.update({"name": "<Ada>", "order": {"number": 7, "items": ["tea", "ink"], "total": 9.5}})
    handler = handler_of(settings(f"file:{outbox}", templates))

    await handler.send(a_job(to_ada(template="order", template_data=data)))

    mail = only_mail(outbox)
    assert mail["Subject"] == "Order 7"
    assert [part.get_content().strip() for part in mail.iter_parts()] == [
        "<Ada>: tea, ink, 9.5",
        "<p>&lt;Ada&gt;</p>",
    ]


async def test_what_the_payload_says_itself_goes_before_the_template(tmp_path: Path) -> None:
    templates, outbox = tmp_path / "templates", tmp_path / "outbox"
    templates.mkdir()
    (templates / "w.subject").write_text("theirs")
    (templates / "w.txt").write_text("theirs")
    handler = handler_of(settings(f"file:{outbox}", templates))
    await handler.send(a_job(to_ada(template="w", subject="mine", text="mine")))
    assert (only_mail(outbox)["Subject"], only_mail(outbox).get_content().strip()) == ("mine", "mine")


async def test_files_and_priority_are_sent_along(tmp_path: Path) -> None:
    payload = to_ada(text="Hi", priority=EmailNotification.HIGH)
    payload.attachments.add(filename="Rechnung Nr. 7 für Ada.pdf", content=b"%PDF")
    await handler_of(settings(f"file:{tmp_path}")).send(a_job(payload))
    mail = only_mail(tmp_path)
    [file] = mail.iter_attachments()
    assert (file.get_filename(), file.get_content_type()) == ("Rechnung Nr. 7 für Ada.pdf", "application/pdf")
    assert mail["X-Priority"] == "1"


async def test_without_a_transport_the_job_fails_at_once_and_says_which_setting_to_set() -> None:
    with pytest.raises(DoNotRetry, match=r"set mail\.transport"):
        await handler_of(MailSettings()).send(a_job())


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (to_ada("", text="Hi"), r"mail\.sender"),
        (to_ada(text="Hi", template="w"), r"mail\.templates"),
        (to_ada(), "neither text nor html"),
        (to_ada(text="Hi", subject="x\r\nBcc: eve@example.com"), "subject: .*control character"),
        (to_ada(text="Hi", to=["eve"]), "to: an address has no @"),
    ],
)
async def test_a_mail_that_can_never_be_sent_fails_at_once(
    payload: EmailNotification, said: str, tmp_path: Path
) -> None:
    handler = handler_of(MailSettings(transport=f"file:{tmp_path}"))
    with pytest.raises(DoNotRetry, match=said):
        await handler.send(a_job(payload))
    assert os.listdir(tmp_path) == []


async def test_a_mail_refused_for_good_fails_at_once_and_one_refused_for_now_is_tried_again() -> None:
    async with mail_server() as server:
        handler = handler_of(settings(f"smtp://127.0.0.1:{server.port}"))
        server.answers = {"ada@example.com": "550 no such user"}
        with pytest.raises(DoNotRetry, match="550 no such user"):
            await handler.send(a_job())
        server.answers = {"ada@example.com": "451 later"}
        with pytest.raises(Deferred, match="451 later"):
            await handler.send(a_job())
        server.answers = {}
        await handler.send(a_job())
    assert len(server.mails) == 1


async def test_a_server_that_is_away_is_tried_again_and_the_error_holds_no_password() -> None:
    handler = handler_of(settings(f"smtp://ada:hush@127.0.0.1:{free_port()}"))
    with pytest.raises(Deferred, match="cannot be reached") as caught:
        await handler.send(a_job())
    assert "hush" not in str(caught.value)


async def test_another_payload_under_this_type_fails_at_once(tmp_path: Path) -> None:
    handler = handler_of(settings(f"file:{tmp_path}"))
    with pytest.raises(DoNotRetry, match="email_notification"):
        await handler.send(a_job(EmailNotification(), kind=0))


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        (MailSettings(transport="ftp://hush@x"), "mail.transport"),
        (MailSettings(transport="file:o", sender="Shop"), "mail.sender"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_at_start(wrong: MailSettings, setting: str) -> None:
    with pytest.raises(MessageSettingsError, match=setting) as caught:
        Mailer(wrong)
    assert "hush" not in str(caught.value)
