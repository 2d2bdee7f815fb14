"""Rules on whom this server writes to, and in whose name."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.messages.errors import Deferred, MessageSettingsError, Refused
from tocsin_server.messages.mail.addresses import parse_address
from tocsin_server.messages.rules import Hourly, MailRules, TextRules
from tocsin_server.settings import MailSettings, SmsSettings

MAIL = MailRules.of(
    MailSettings(
        sender="Shop <shop@own.example>",
        allowed_senders=("@shop.example", "Ceo@Bank.example"),
        allowed_recipient_domains=("example.com", "*.partner.example", "faß.de"),
    )
)
TEXTS = TextRules.of(SmsSettings(sender="+15550100", allowed_prefixes=("+49", "+4312"), allowed_senders=("SHOP",)))


@pytest.mark.parametrize(
    ("sender", "allowed"),
    [
        ("any@shop.example", True),
        ("Any Body <ANY@SHOP.example>", True),
        ("ceo@bank.example", True),
        ("shop@own.example", True),  # the server's own
        ("other@own.example", False),
        ("cfo@bank.example", False),
        ("ceo@bank.example.evil.example", False),
        ("any@not-shop.example", False),
        ("any@sub.shop.example", False),
        ('"ceo@bank.example" <ceo@evil.example>', False),
    ],
)
def test_senders_are_those_allowed_and_the_servers_own(sender: str, allowed: bool) -> None:
    why = MAIL.against_sender(parse_address(sender))
    assert (why == "") is allowed
    assert allowed or "mail.allowed_senders" in why


@pytest.mark.parametrize(
    ("recipient", "allowed"),
    [
        ("ada@example.com", True),
        ("ada@EXAMPLE.com", True),
        ("ada@eu.partner.example", True),
        ("ada@a.b.partner.example", True),
        ("ada@partner.example", False),
        ("ada@evilpartner.example", False),
        ("ada@sub.example.com", False),
        ("ada@example.com.evil.example", False),
        ("user%evil.example@example.com", False),
        ("evil.example!user@example.com", False),
        ("ada@faß.de", True),
        ("ada@xn--fa-hia.de", True),
        ("ada@fass.de", False),
        ("root@localhost", False),
    ],
)
def test_recipients_are_at_allowed_domains_and_name_no_way_beyond(recipient: str, allowed: bool) -> None:
    why = MAIL.against_recipient(parse_address(recipient))
    assert (why == "") is allowed
    assert allowed or "mail.allowed_recipient_domains" in why


@pytest.mark.parametrize(
    ("number", "allowed"),
    [("+4915112345678", True), ("+431255555", True), ("+431355555", False), ("+19005550100", False)],
)
def test_numbers_begin_as_allowed(number: str, allowed: bool) -> None:
    assert (TEXTS.against_number(number) == "") is allowed


@pytest.mark.parametrize(("sender", "allowed"), [("SHOP", True), ("+15550100", True), ("BANK", False), ("shop", False)])
def test_texts_are_sent_in_allowed_names(sender: str, allowed: bool) -> None:
    assert (TEXTS.against_sender(sender) == "") is allowed


def test_without_rules_everything_is_allowed() -> None:
    mail, texts = MailRules.of(MailSettings()), TextRules.of(SmsSettings())
    assert mail.against_sender(parse_address("a@b.example")) == mail.against_recipient(parse_address("a%b@c.d")) == ""
    assert texts.against_number("+19005550100") == texts.against_sender("ANY") == ""
    mail.hourly.take(1_000_000)


@pytest.mark.parametrize("wrong", ["a b", "@", "no at", "*.example"])
def test_a_rule_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(MessageSettingsError, match=r"mail\.allowed_senders"):
        MailRules.of(MailSettings(allowed_senders=(wrong,)))


def test_of_an_hour_the_one_too_many_is_told_when_there_is_room() -> None:
    hourly = Hourly(1_000, "mail.max_recipients_per_hour")
    for _ in range(10):
        hourly.take(100)
    with pytest.raises(Deferred, match=r"mail\.max_recipients_per_hour") as caught:
        hourly.take(1)
    assert caught.value.retry_in is not None
    assert timedelta(minutes=59) < caught.value.retry_in <= timedelta(hours=1)
    with pytest.raises(Refused, match="more than the 1,000"):
        Hourly(1_000, "mail.max_recipients_per_hour").take(1_001)
