"""What counts as an e-mail address."""

from __future__ import annotations

import contextlib
import email.utils

import pytest
from aiosmtplib.email import parse_address as parse_for_envelope
from hypothesis import assume, given
from hypothesis import strategies as st
from tocsin_server.messages.mail.addresses import BadAddress, MailAddress, has_control, parse_address

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("ada@example.com", MailAddress("", "ada", "example.com")),
        ("  Ada <ada@example.com> ", MailAddress("Ada", "ada", "example.com")),
        ("<ada@localhost>", MailAddress("", "ada", "localhost")),
        ("Ada B. (work) <a.d+a@ex-ample.com>", MailAddress("Ada B. (work)", "a.d+a", "ex-ample.com")),
        ('"Lovelace, \\"Ada\\"" <ada@example.com>', MailAddress('Lovelace, "Ada"', "ada", "example.com")),
        ("Ädä 😀 <ädä@exämple.com>", MailAddress("Ädä 😀", "ädä", "xn--exmple-cua.com")),
        ("ada@faß.de", MailAddress("", "ada", "xn--fa-hia.de")),
        ("ada@βόλος.com", MailAddress("", "ada", "xn--nxasmm1c.com")),
        ("ada@MÜNCHEN._x.Example.com", MailAddress("", "ada", "xn--mnchen-3ya._x.Example.com")),
        (
            f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 61}",
            MailAddress("", "a" * 64, f"{'b' * 63}.{'c' * 63}.{'d' * 61}"),
        ),
    ],
)
def test_an_address_is_taken_apart(text: str, mailbox: MailAddress) -> None:
    assert parse_address(text) == mailbox


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("ada", "no @"),
        ("@example.com", "nothing before"),
        ("ada@", "nothing after"),
        ("ada@example.com\r\nBcc: eve@example.com", "line break"),
        ("ada@example.com\n", "line break"),
        ("Ada\u2028Bcc <ada@example.com>", "line break"),
        ("Ada\0 <ada@example.com>", "control"),
        ("a@example.com, b@example.com", "not allowed"),
        ("a@example.com, Bob <b@example.com>", "double quotes"),
        ("Ada <ada@example.com", "not allowed"),
        ("ada@example.com>", "without its <"),
        ('"Ada" Lovelace <ada@example.com>', "double quotes"),
        ('"ada lovelace"@example.com', "not allowed"),
        ("a\u200bda@example.com", "not allowed"),
        ("a..b@example.com", "not allowed"),
        ("ada@example..com", "no domain name"),
        ("ada@-example.com", "no domain name"),
        ("ada@[127.0.0.1]", "no domain name"),
        ("ada@exam\u200dple.com", "own letters"),
        ("ada@exam\u00adple.com", "own letters"),
        ("ada@\u212a.com", "own letters"),
        ("ada@a\uff0ecom", "own letters"),
        ("ada@exa\u0308mple.com", "own letters"),
        ("=?utf-8?q?a=40evil.com=3E?=@b.cd", "encoded word"),
        (f"{'ä' * 33}@example.com", "64 bytes"),
        (f"ada@{'b.' * 200}com", "254 bytes"),
        (f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 62}", "254 bytes"),
        (f"{'n' * 201} <ada@example.com>", "200 characters"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadAddress, match=reason):
        parse_address(text)


@given(TEXT)
def test_any_text_is_an_address_without_control_characters_or_refused(text: str) -> None:
    with contextlib.suppress(BadAddress):
        mailbox = parse_address(text)
        assert not has_control(mailbox.name + mailbox.address)


@given(local=st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[a-z{`'=?]{1,9})?", fullmatch=True))
def test_an_accepted_address_is_the_same_to_the_mail_library_and_in_a_header(local: str) -> None:
    assume("=?" not in local)  # an encoded word is refused
    address = parse_address(f"Ada <{local}@example.com>").address
    assert parse_for_envelope(address) == address
    assert email.utils.getaddresses([f'"Ada" <{address}>']) == [("Ada", address)]
