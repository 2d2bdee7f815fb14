"""What may stand in messages to people: web addresses, numbers, zones, media types, directions."""

from __future__ import annotations

import pytest
from tocsin_server.domain.formats import is_e164, is_https, is_media_type
from tocsin_server.domain.text_direction import turns, unturned
from tocsin_server.domain.time_zones import UnknownZone, zone_of


@pytest.mark.parametrize(
    "text", ["https://pay.example.com", "https://pay.example.com:8443/i/1?a=b&c=%20#x", "https://[2001:db8::1]/"]
)
def test_an_https_address_is_taken(text: str) -> None:
    assert is_https(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "https://", "https:///path", "http://x", "HTTPS://x", "javascript:alert(1)", "//x", "x"),
        *("https://x y", "https://x\r\n", "https://x\x00", 'https://x/"onclick=', "https://x/<b>", "https://x/'"),
        *("https://bank.example@evil.example", "https://a:b@x", "https://x:port", "https://x:0", "https://[x"),
        *("https://bücher.example", "https://x/\u202e", "https://x\\@y", "https://x/`", " https://x"),
    ],
)
def test_all_else_is_no_https_address(text: str) -> None:
    assert not is_https(text)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("+4915112345678", True),
        ("+123456789012345", True),
        ("+1234567", True),
        ("+1234567890123456", False),
        ("+123456", False),
        ("+0151123456", False),
        ("015112345678", False),
        ("+49 151 12345678", False),
        ("+4915112345678\n", False),
        ("+٤٩١٥١١٢٣٤٥", False),
        ("", False),
    ],
)
def test_a_number_is_one_in_e164_form(text: str, is_one: bool) -> None:
    assert is_e164(text) is is_one


def test_a_zone_is_named_as_iana_names_it() -> None:
    assert zone_of("Europe/Berlin").key == "Europe/Berlin"
    assert zone_of("").key == "UTC"


@pytest.mark.parametrize(
    "name",
    [
        *("Mars/Base", "Europe", "../etc/passwd", "/etc/passwd", "Europe/Berlin\0", "a" * 5_000, "Europe/Berlin\n"),
        *("localtime", "posixrules", "Factory", "right/Europe/Berlin", "posix/UTC", "zone.tab", "."),
    ],
)
def test_what_is_no_zone_is_unknown(name: str) -> None:
    with pytest.raises(UnknownZone):
        zone_of(name)


@pytest.mark.parametrize("text", ["application/pdf", "text/csv; charset=utf-8", "image/svg+xml", "application/x-a.b"])
def test_a_media_type_is_taken(text: str) -> None:
    assert is_media_type(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "pdf", "a/b/c", "a/b\r\nX: y", "a b/c", "text/plain;", 'text/plain; name="x"', "text/plain; a=b; c=d"),
        *("multipart/mixed", "Message/RFC822", "a/" + "b" * 200, "text/plain\n"),
    ],
)
def test_what_is_no_media_type_of_a_file_is_refused(text: str) -> None:
    assert not is_media_type(text)


def test_what_turns_the_direction_is_found_and_marks_that_turn_nothing_are_left() -> None:
    assert turns("photo\u202egnp.exe")
    assert unturned("a\u202eb\u2067c\u2069d") == "abcd"
    arabic = "\u200fمرحبا\u061c"
    assert (turns(arabic), unturned(arabic)) == (False, arabic)
