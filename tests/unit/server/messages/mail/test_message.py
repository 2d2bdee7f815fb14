"""Mails as bytes: what a reader finds in them, and what nobody can put into them."""

from __future__ import annotations

import email.header
import email.utils
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import SMTP

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tocsin_server.messages.errors import Refused
from tocsin_server.messages.mail.message import Letter, Mail, compose
from tocsin_server.messages.stamp import Stamp

NOW = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)
STAMP = Stamp("default", "job-1", NOW, 1, NOW)
LETTER = Letter("Shop <shop@example.com>", ["ada@example.com"], "Hello", "Hi Ada", "")
FREE = st.text(
    st.one_of(st.sampled_from('",;:<>@\\.()[] =?äß😀_'), st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))),
    max_size=200,
)


def parsed(mail: Mail) -> EmailMessage:
    message = message_from_bytes(mail.content, policy=SMTP)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def decoded(text: str) -> str:
    return str(email.header.make_header(email.header.decode_header(text)))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_text_and_html_are_alternatives_text_first() -> None:
    message = parsed(compose(replace(LETTER, html="<p>Hi Ädä</p>"), STAMP))
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert [part.get_content().strip() for part in message.iter_parts()] == ["Hi Ada", "<p>Hi Ädä</p>"]


@pytest.mark.parametrize(("text", "html", "kind"), [("Hi", "", "text/plain"), ("", "<p>Hi</p>", "text/html")])
def test_one_body_alone_is_no_multipart(text: str, html: str, kind: str) -> None:
    message = parsed(compose(replace(LETTER, text=text, html=html), STAMP))
    assert message.get_content_type() == kind
    assert message.get_content().strip() == text or html


def test_the_headers_say_who_when_and_what() -> None:
    letter = Letter(
        sender="Läden <shop@example.com>",
        to=["Ada Lovelace <ada@example.com>", '"Babbage, Charles" <cb@example.com>'],
        cc=["cc@example.com"],
        bcc=["eve@example.com", "ada@example.com"],
        reply_to="Hilfe <help@example.com>",
        subject="Grüße 🎄",
        text="Hi",
        html="",
    )
    mail = compose(letter, STAMP)
    message = parsed(mail)
    assert str(message["From"]) == "Läden <shop@example.com>"
    assert [(a.display_name, a.addr_spec) for a in message["To"].addresses] == [
        ("Ada Lovelace", "ada@example.com"),
        ("Babbage, Charles", "cb@example.com"),
    ]
    assert message["Cc"] == "cc@example.com"
    assert message["Reply-To"] == "Hilfe <help@example.com>"
    assert message["Subject"] == "Grüße 🎄"
    assert message["Date"].datetime == NOW
    assert message["Message-ID"] == mail.message_id
    assert mail.content.isascii()


def test_bcc_is_in_the_envelope_and_nowhere_else() -> None:
    mail = compose(replace(LETTER, bcc=["Eve <eve@example.com>"]), STAMP)
    assert mail.recipients == ("ada@example.com", "eve@example.com")
    assert b"eve" not in mail.content.lower()
    assert "Bcc" not in parsed(mail)


def test_a_recipient_named_twice_gets_one_mail() -> None:
    mail = compose(replace(LETTER, to=["ada@example.com", "Ada <ada@example.com>"], cc=["ada@example.com"]), STAMP)
    assert mail.recipients == ("ada@example.com",)


@given(name=FREE, subject=FREE)
@example(name="Lovelace, Ädä", subject="=?utf-8?q?x=0D=0ABcc:_eve@example.com?=")
@example(name='Ada "A\\" <x>", eve@example.com', subject='"\\')
@example(name="=?utf-8?q?x?= <eve@example.com>,", subject="a" * 998)
def test_names_and_subjects_are_read_as_written_whatever_they_hold(name: str, subject: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    mail = compose(replace(LETTER, to=[f'"{quoted}" <b@example.com>', "c@example.com"], subject=subject), STAMP)

    for message in (message_from_bytes(mail.content), parsed(mail)):  # the old way to read a mail, and the new one
        assert list(message.keys()) == [
            *("Date", "Message-ID", "From", "To", "Subject", "Auto-Submitted"),
            *("Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
        ]
    raw: Message = message_from_bytes(mail.content)
    [(shown, first), (_, second)] = email.utils.getaddresses([raw["To"]])
    assert (first, second) == ("b@example.com", "c@example.com")
    assert [a.addr_spec for a in parsed(mail)["To"].addresses] == ["b@example.com", "c@example.com"]
    # Folding may stand at a space: runs of white space count as one.
    assert squeezed(decoded(shown)) == squeezed(name)
    assert squeezed(decoded(raw["Subject"])) == squeezed(subject)
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("evil", ["x\r\nBcc: eve@example.com", "x\ny", "x\ry", "x\0y", "x\u2028y", "x\x85y", "x\x1cy"])
@pytest.mark.parametrize("place", ["subject", "sender", "reply_to", "to", "cc", "bcc"])
def test_a_line_break_in_a_header_is_refused(place: str, evil: str) -> None:
    address = f"{evil} <a@example.com>"
    value = {"subject": evil, "sender": address, "reply_to": address}.get(place, [address])
    with pytest.raises(Refused, match="control character"):
        compose(replace(LETTER, **{place: value}), STAMP)  # type: ignore[arg-type]  # the field's type hangs on its name


def test_a_mail_without_recipient_or_body_is_refused() -> None:
    with pytest.raises(Refused, match="recipient"):
        compose(replace(LETTER, to=[]), STAMP)
    with pytest.raises(Refused, match="neither text nor html"):
        compose(replace(LETTER, text=""), STAMP)


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(bool))
@example("NUL \0 and bell \a")
@example("." + "long" * 1000)
@example("From here\n.\nto there")
def test_a_body_arrives_whole_and_in_lines_that_every_server_takes(text: str) -> None:
    mail = compose(replace(LETTER, text=text), STAMP)
    assert mail.content.isascii()
    assert b"\0" not in mail.content
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    assert b"\n" not in mail.content.replace(b"\r\n", b"")
    assert parsed(mail).get_content().encode().splitlines() == text.encode().splitlines()


def test_every_attempt_has_a_message_id_of_its_own_and_ids_of_any_letters_do() -> None:
    stamps = [
        STAMP,
        replace(STAMP, attempt=2),
        replace(STAMP, job_id="日本 \u202e<@>{}:" * 10),
        replace(STAMP, queue="other"),
        replace(STAMP, create_time=NOW + timedelta(days=365)),  # the id was free again
    ]
    mails = [compose(LETTER, stamp) for stamp in stamps]
    assert len({mail.message_id for mail in mails}) == len(stamps)
    for mail in mails:
        assert mail.message_id.isascii()
        assert mail.message_id.endswith("@example.com>")
        assert len(mail.message_id) < 100
    assert compose(LETTER, STAMP).message_id == mails[0].message_id


def test_the_longest_domain_leaves_the_message_id_whole() -> None:
    domain = f"{'b' * 63}.{'c' * 63}.{'d' * 63}.com"
    mail = compose(replace(LETTER, sender=f"shop@{domain}"), STAMP)
    assert f"Message-ID: {mail.message_id}\r\n".encode() in mail.content
