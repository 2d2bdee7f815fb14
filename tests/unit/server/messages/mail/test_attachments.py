"""Mails with files, as a reader finds them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tocsin_server.messages.errors import Refused
from tocsin_server.messages.mail.body import Attachment
from tocsin_server.messages.mail.message import Letter, Mail, Priority, compose
from tocsin_server.messages.stamp import Stamp

NOW = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)
STAMP = Stamp("default", "job-1", NOW, 1, NOW)
LETTER = Letter("Shop <shop@example.com>", ["ada@example.com"], "Hello", "Hi Ada\n", "")


def parsed(mail: Mail) -> EmailMessage:
    message = message_from_bytes(mail.content, policy=SMTP)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def with_files(*files: Attachment, **changed: object) -> EmailMessage:
    letter = replace(LETTER, attachments=files, **changed)  # type: ignore[arg-type]  # fields by name
    return parsed(compose(letter, STAMP))


def test_files_stand_beside_text_and_html() -> None:
    files = (Attachment("a.pdf", b"%PDF\0\xff"), Attachment("b.csv", b"a,b\r\n", "text/csv; charset=utf-8"))
    message = with_files(*files, html="<p>Hi</p>")
    assert message.get_content_type() == "multipart/mixed"
    assert [part.get_content_type() for part in message.walk()][1:] == [
        *("multipart/alternative", "text/plain", "text/html"),
        *("application/pdf", "text/csv"),
    ]
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == "Hi Ada"
    found = list(message.iter_attachments())
    assert [part.get_filename() for part in found] == ["a.pdf", "b.csv"]
    assert [part.get_payload(decode=True) for part in found] == [b"%PDF\0\xff", b"a,b\r\n"]
    assert found[0].get_content_disposition() == "attachment"


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=255),
    st.binary(max_size=300),
)
@example("=?utf-8?q?=0D=0ABcc:x?=.pdf", b"")
@example('a";filename="b.exe', b"--=_")
@example("日本" * 127, b"\r\n--\r\n.\r\n")
@example("%0D%0A'*0*=x; y\\", b"\r\n")
@example("a" * 61 + ".txt", b"x")
def test_a_file_arrives_under_its_name_whatever_that_is(name: str, content: bytes) -> None:
    mail = compose(replace(LETTER, attachments=[Attachment(name, content, "application/pdf")]), STAMP)
    assert mail.content.isascii()
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    assert b"\n" not in mail.content.replace(b"\r\n", b"")
    message = parsed(mail)
    [part] = message.iter_attachments()
    assert part.get_payload(decode=True) == content
    assert [*part.keys()] == ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]
    assert "Bcc" not in message
    # The standard library strips spaces off the ends of what it reads.
    assert (part.get_filename() or "").strip() == name.strip()


@pytest.mark.parametrize(
    ("filename", "kind"),
    [
        ("a.png", "image/png"),
        ("a.eml", "application/octet-stream"),  # message/rfc822 would be shown as a mail of its own
        ("a.tar.gz", "application/gzip"),
        ("a", "application/octet-stream"),
        ("a.nobody-knows", "application/octet-stream"),
    ],
)
def test_what_is_not_said_is_guessed_of_the_name(filename: str, kind: str) -> None:
    [part] = with_files(Attachment(filename, b"x")).iter_attachments()
    assert part.get_content_type() == kind


@pytest.mark.parametrize("name", ["", "a\r\nBcc: eve@example.com", "a\0", "a\u2028b", "a\x85"])
def test_a_line_break_in_a_name_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="file name"):
        with_files(Attachment(name, b"x"))


@pytest.mark.parametrize("kind", ["a/b\r\nBcc: eve@example.com", "multipart/mixed", "message/rfc822", "pdf"])
def test_a_type_that_is_none_is_refused(kind: str) -> None:
    with pytest.raises(Refused, match="content_type"):
        with_files(Attachment("a", b"x", kind))


def test_files_alone_are_no_mail() -> None:
    with pytest.raises(Refused, match="neither text nor html"):
        with_files(Attachment("a", b"x"), text="")


def test_a_text_cannot_put_a_file_of_its_own_behind_itself() -> None:
    first = compose(replace(LETTER, attachments=[Attachment("a", b"x")]), STAMP)
    boundary = parsed(first).get_boundary()
    smuggled = f"Hi\r\n--{boundary}\r\nContent-Disposition: attachment\r\n\r\nx"
    again = parsed(compose(replace(LETTER, text=smuggled, attachments=[Attachment("a", b"x")]), STAMP))
    assert len(list(again.iter_attachments())) == 1


@pytest.mark.parametrize(
    ("priority", "headers"),
    [
        (None, (None, None)),
        (Priority.LOW, ("5", "low")),
        (Priority.NORMAL, ("3", "normal")),
        (Priority.HIGH, ("1", "high")),
    ],
)
def test_the_priority_is_told_in_both_headers(
    priority: Priority | None, headers: tuple[str | None, str | None]
) -> None:
    message = parsed(compose(replace(LETTER, priority=priority), STAMP))
    assert (message["X-Priority"], message["Importance"]) == headers


def test_a_second_run_is_known_by_its_message_id_and_parts_of_one_run_are_told_apart() -> None:
    first, second, part = (
        compose(LETTER, stamp).message_id for stamp in (STAMP, replace(STAMP, attempt=2), replace(STAMP, part=3))
    )
    job = STAMP.job_mark
    assert (first, second, part) == (
        f"<{job}.1@example.com>",
        f"<{job}.2@example.com>",
        f"<{job}.1.3@example.com>",
    )
