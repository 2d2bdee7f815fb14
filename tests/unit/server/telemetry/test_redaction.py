"""Addresses are shown without their secrets, whatever characters stand in these."""

from __future__ import annotations

import string
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from tocsin_server.telemetry.redaction import (
    HIDDEN,
    redact_url,
    secrets_beyond_origin,
    secrets_in_url,
    show_address,
    show_origin,
    without_secrets,
)

#: Every character that can be typed, and some that cannot, each between two halves of a password.
CHARACTERS = string.printable + "\x00\x1b\x85\xa0ü\u2028🎄"
BEFORE, AFTER = "Geheim", "42xyz"

LOGINS = [
    "redis://ada:{}@h:6379/0",
    "redis://:{}@h:6379/0",
    "rediss://{}@h/0",
    "unix://:{}@/run/redis.sock?db=0",
    "unix:///run/redis.sock?db=0&password={}",
    "redis+sentinel://ada:{}@h:26379,i:26379/main/0?sentinel_password={}",
    "rediss+cluster://ada:{}@h:6379,i:6379",
    "mongodb://ada:{}@h:1,i:2/db?replicaSet=rs0&tlsCertificateKeyFilePassword={}",
    "mongodb+srv://ada:{}@h/db?authMechanismProperties=AWS_SESSION_TOKEN:{}",
    "smtp://ada:{}@h:587?starttls=never",
    "smtps://ada:{}@h",
    "smtps//ada:{}@h",
    "ada:{}@h:25",
    "redis:ada:{}@h",
    "http://ada:{}@h/",
    "file://ada:{}@h/outbox",
    "redis://h/0?unknown={}",
    "redis://h/0?{}",
    "{}",
]


def secrets() -> Iterator[str]:
    for character in CHARACTERS:
        yield f"{BEFORE}{character}{AFTER}"
        yield quote(f"{BEFORE}{character}{AFTER}", safe="")
    yield BEFORE + string.printable + AFTER
    yield BEFORE + string.printable[::-1] + AFTER


@pytest.mark.parametrize("form", LOGINS)
def test_no_part_of_a_secret_is_seen_in_an_address_whatever_stands_in_it(form: str) -> None:
    for secret in secrets():
        if form == "rediss://{}@h/0" and ":" in secret:
            continue  # a user and a password
        address = form.replace("{}", secret)
        for shown in (show_address(address), show_origin(address)):
            assert BEFORE not in shown, (address, shown)
            assert AFTER not in shown, (address, shown)


@pytest.mark.parametrize("form", [form for form in LOGINS if "://" in form and "file" not in form])
def test_the_secrets_that_logs_must_hide_are_known_whatever_stands_in_them(form: str) -> None:
    for secret in secrets():
        if "unknown=" in form or "?{}" in form or (form.count("{}") and set("&#") & set(secret) and "={}" in form):
            continue  # no login, or one that the driver reads otherwise
        address = form.replace("{}", secret)
        text = f"Error connecting to {secret}: {secret!r}"
        assert secret not in without_secrets(text, secrets_in_url(address)), address


@pytest.mark.parametrize(
    "address",
    [
        "https://{}@h/x",
        "https://ada:{}@h/x",
        "https://h/hook/{}",
        "https://h:8443/hook/{}?apikey={}&sig={}",
        "https://h/x?{}",
        "https//h/{}",
    ],
)
def test_of_a_providers_address_the_origin_alone_is_seen_and_the_rest_is_known_as_secret(address: str) -> None:
    for secret in secrets():
        given = address.replace("{}", secret)
        assert BEFORE not in show_origin(given)
        assert AFTER not in show_origin(given)
    plain = address.replace("{}", "T0SECRETPATH")
    assert "T0SECRETPATH" not in without_secrets(f"posted to {plain}", secrets_beyond_origin(plain))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://ada:pw@h:6379/0", "redis://ada:***@h:6379/0"),
        ("redis://ada:p'w <\"@h", "redis://ada:***@h"),
        ("redis://a-token@h", "redis://***@h"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("unix:///run/redis.sock?db=0&password=x", "unix:///run/redis.sock?db=0&password=***"),
        (
            "redis+sentinel://:x@a:1,b:2/main/0?sentinel_password=y",
            "redis+sentinel://:***@a:1,b:2/main/0?sentinel_password=***",
        ),
        (
            "mongodb://u:x@h:1,i:2/db?tls=true&replicaSet=rs0#x",
            "mongodb://u:***@h:1,i:2/db?tls=true&replicaSet=rs0#***",
        ),
        ("mongodb+srv://h/db", "mongodb+srv://h/db"),
        ("smtp://ada:x@h:25?starttls=never", "smtp://ada:***@h:25?starttls=never"),
        ("file:outbox/here now", "file:outbox/here now"),
        ("redis://ada:p/w@h", HIDDEN),
        ("redis://h:port/0", HIDDEN),
        ("sesame", HIDDEN),
    ],
)
def test_the_rest_of_an_address_is_seen(address: str, shown: str) -> None:
    assert show_address(address) == shown


def test_an_origin_is_scheme_host_and_port() -> None:
    assert show_origin("https://ada:x@api.example.com:8443/a?b#c") == "https://api.example.com:8443"
    assert show_origin("file:outbox") == "file:outbox"


def test_in_a_text_an_address_is_found_with_quotes_and_brackets_in_its_password() -> None:
    for character in "'\"<>()[]{}|;,":
        assert "42xyz" not in redact_url(f"cannot reach redis://ada:Geheim{character}42xyz@h:1 today")
