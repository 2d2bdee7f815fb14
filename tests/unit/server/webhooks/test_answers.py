"""What answers mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tocsin_server.webhooks.answers import DEFAULT_LEASE, Failure, failure, lease_of
from tocsin_server.webhooks.sending import Answer

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def failed(status: int, body: bytes | None = b"", **headers: str) -> Failure | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure("https://example.com", Answer(status, named, body), NOW, ["hush-hush-hush-hush"])


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_any_2xx_is_no_failure(status: int) -> None:
    assert failed(status) is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_no_time_and_the_servers_own_faults_are_tried_again(status: int) -> None:
    assert failed(status) == Failure(f"https://example.com answers {status}")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_final(status: int) -> None:
    found = failed(status, location="http://169.254.169.254/")
    assert found is not None
    assert (found.final, "not followed" in found.message, "169" in found.message) == (True, True, False)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 451, 499])
def test_any_other_4xx_is_final(status: int) -> None:
    found = failed(status, retry_after="5")
    assert found == Failure(f"https://example.com answers {status}", final=True)


@pytest.mark.parametrize(
    ("status", "wait"),
    [(429, timedelta(seconds=7)), (503, timedelta(seconds=7)), (500, None), (408, None), (425, None)],
)
def test_retry_after_counts_where_it_is_defined(status: int, wait: timedelta | None) -> None:
    found = failed(status, retry_after="7")
    assert found is not None
    assert (found.final, found.retry_in) == (False, wait)


def test_a_date_is_as_good_as_seconds_and_nothing_lasts_longer_than_a_day() -> None:
    for header, wait in (("Sun, 29 Nov 2026 12:01:00 GMT", timedelta(minutes=1)), ("9999999", timedelta(days=1))):
        found = failed(503, retry_after=header)
        assert found is not None
        assert found.retry_in == wait


def test_what_the_answer_says_is_told_in_one_line_cut_and_without_secrets() -> None:
    said = b'{"error":\r\n "no hush-hush-hush-hush"}\x1b[31m' + b"x" * 9000
    found = failed(400, said, content_type="application/problem+json; charset=utf-8")
    assert found is not None
    assert found.message.startswith('https://example.com answers 400: {"error": "no ***"} [31mxxx')
    assert len(found.message) < 300


@pytest.mark.parametrize("kind", ["text/html", "image/png", "application/octet-stream"])
def test_what_is_no_text_is_not_told(kind: str) -> None:
    found = failed(400, b"<html>", content_type=kind)
    assert found is not None
    assert found.message == "https://example.com answers 400"


@pytest.mark.parametrize(
    ("header", "lease"),
    [
        (None, DEFAULT_LEASE),
        ("soon", DEFAULT_LEASE),
        ("-5", DEFAULT_LEASE),
        ("600", timedelta(minutes=10)),
        (" 3600 ", timedelta(hours=1)),
        ("1", timedelta(seconds=5)),
        ("999999", timedelta(hours=12)),
        ("9" * 99, DEFAULT_LEASE),
    ],
)
def test_who_accepts_says_how_long_it_needs(header: str | None, lease: timedelta) -> None:
    assert lease_of(Answer(202, {} if header is None else {"tocsin-lease": header}, b"")) == lease
