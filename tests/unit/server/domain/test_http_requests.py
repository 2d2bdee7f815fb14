"""Addresses and headers of requests that jobs make."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.http_requests import UnfitAddress, WebAddress, allowed, unfit_headers, wait_of, web_address

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://example.com", WebAddress("https", "example.com", 443, "/", False)),
        ("HTTP://Example.COM:8080/a/../b?c=%20d&e", WebAddress("http", "example.com", 8080, "/a/../b?c=%20d&e", False)),
        ("http://192.0.2.1?x", WebAddress("http", "192.0.2.1", 80, "/?x", True)),
        ("https://[2001:DB8::0:1]:8443/", WebAddress("https", "2001:db8::1", 8443, "/", True)),
        ("http://[::ffff:127.0.0.1]/", WebAddress("http", str(IPv6Address("::ffff:127.0.0.1")), 80, "/", True)),
        ("http://my_host.internal./", WebAddress("http", "my_host.internal", 80, "/", False)),
        ("http://xn--bcher-kva.example/", WebAddress("http", "xn--bcher-kva.example", 80, "/", False)),
        ("http://7up.example/", WebAddress("http", "7up.example", 80, "/", False)),
    ],
)
def test_an_address_is_taken_apart(url: str, address: WebAddress) -> None:
    assert web_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0X7F.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://127.0.0.01/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://example.0x7f/",
        "http://1.2.3.4.5/",
        "http://256.0.0.1/",
    ],
)
def test_a_number_in_another_form_is_no_host(url: str) -> None:
    with pytest.raises(UnfitAddress, match="as four numbers"):
        web_address(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "does not begin"),
        ("ftp://example.com/", "does not begin"),
        ("//example.com/", "does not begin"),
        ("http:example.com", "does not begin"),
        ("javascript:alert(1)", "does not begin"),
        ("http://", "no host"),
        ("http:///path", "no host"),
        ("http://:80/", "no host"),
        ("http://ada:secret@example.com/", "user or password"),
        ("http://example.com@127.0.0.1/", "user or password"),
        ("http://@example.com/", "user or password"),
        ("http://example.com:0/", "port 0"),
        ("http://example.com:65536/", "port"),
        ("http://example.com:x/", "port"),
        ("http://example.com/#top", "fragment"),
        ("http://example.com/#", "fragment"),
        ("http://exa mple.com/", "character"),
        ("http://example.com\\@127.0.0.1/", "character"),
        ("http://example.com/\r\nHost: x", "character"),
        ("\thttp://example.com/", "character"),
        ("http://bücher.example/", "character"),
        ("http://１２７.0.0.1/", "character"),
        ("http://[::1", "cannot be read|brackets"),
        ("http://[fe80::1%25eth0]/", "link|brackets|cannot be read"),
        ("http://[v1.a]/", "brackets|cannot be read"),
        ("http://[127.0.0.1]/", "brackets|cannot be read"),
        ("http://%6cocalhost/", "looked up"),
        ("http://a..b/", "looked up"),
        ("http://.a/", "looked up"),
        ("http://a,b/", "looked up"),
        (f"http://{'a' * 64}.example/", "looked up"),
        (f"http://example.com/{'a' * 2048}", "characters"),
    ],
)
def test_what_is_no_address_is_refused(url: str, why: str) -> None:
    with pytest.raises(UnfitAddress, match=why):
        web_address(url)


@given(st.text(max_size=60) | st.text("http://[]:@%.0x7f1a?#&\\", max_size=40).map("http://{}".format))
def test_any_text_is_an_address_or_refused(url: str) -> None:
    try:
        address = web_address(url)
    except UnfitAddress:
        return
    assert address.host
    assert address.target.startswith("/")
    assert address.authority.isascii()
    assert address.authority.isprintable()
    assert not {"@", " ", "/"} & set(address.authority)
    # What is sent reads back as what was checked.
    again = web_address(f"{address.origin}{address.target}")
    assert again == address


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "x") for name in ("Host", "content-length", "Transfer-Encoding", "CONNECTION", "te", "Upgrade")),
        *((name, "x") for name in ("Expect", "Idempotency-Key", "tocsin-token", "Proxy-Authorization", "Trailer")),
        *((name, "x") for name in ("", "a b", "a:", "a\r\nHost", "é", "a\x00", "(a)", "x" * 101)),
        *(("X-A", value) for value in ("a\r\nX-B: c", "a\nb", "a\x00", " a", "a ", "\ta", "é", "\x7f", "x" * 4097)),
    ],
)
def test_a_header_that_would_change_the_request_is_refused(name: str, value: str) -> None:
    assert [unfit for unfit, _ in unfit_headers({"X-Good": "1", name: value})] == [name[:100]]


def test_a_header_stands_there_once() -> None:
    assert [name for name, _ in unfit_headers({"X-A": "1", "x-a": "2"})] == ["x-a"]


def test_plain_headers_are_taken() -> None:
    fine = {"Authorization": "Bearer abc==", "X-Empty": "", "Content-Type": "text/plain; charset=utf-8", "X": "a\tb c"}
    assert list(unfit_headers(fine)) == []


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, None),
        ("7", timedelta(seconds=7)),
        (" 120 ", timedelta(minutes=2)),
        ("Tue, 24 Nov 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("99999999", timedelta(days=1)),
        ("9" * 5000, timedelta(days=1)),
        ("Fri, 24 Nov 2090 12:01:00 GMT", timedelta(days=1)),
        ("0", None),
        ("-3", None),
        ("1.5", None),
        ("٣", None),
        ("Tue, 24 Nov 2026 11:59:00 GMT", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(header: str | None, wait: timedelta | None) -> None:
    assert wait_of(header, NOW) == wait


def test_allowed_places_are_names_and_networks() -> None:
    names, networks = allowed(["Intranet.Example", "10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"])
    assert names == {"intranet.example"}
    assert [str(network) for network in networks] == ["10.0.0.0/8", "127.0.0.1/32", "::1/128", "fd00::/8"]


@pytest.mark.parametrize(
    "entry", ["", "10.0.0.1/8", "10.0.0.0/33", "*.example.com", "http://example.com", "10.1", "0x7f"]
)
def test_what_is_neither_a_name_nor_a_network_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="neither a host's name nor a network"):
        allowed([entry])
