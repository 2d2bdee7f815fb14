"""Names of Bull's as names of Tocsin's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.migrate.systems.bull import names

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")


@pytest.mark.parametrize("name", ["a", "send.mail", "A-1_b", "x" * 100, "__default__"])
def test_a_name_that_fits_is_kept(name: str) -> None:
    assert names.queue_name(name.encode()) == names.type_name(name.encode()) == name


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("send mail", "send-mail-"),
        ("für/alle", "f-r-alle-"),
        ("x" * 101, "x" * 80 + "-"),
        ("", ""),
        ("::", ""),
        ("-a ", "a-"),
    ],
)
def test_a_name_that_does_not_fit_keeps_what_can_be_read(name: str, begins: str) -> None:
    for changed in (names.queue_name(name.encode()), names.type_name(name.encode())):
        assert re.fullmatch(re.escape(begins) + "[0-9a-f]{8}", changed)


def test_a_changed_name_is_the_same_in_every_release() -> None:
    # A second import finds the jobs of the first by these.
    assert names.queue_name(b"send mail") == "send-mail-7fe0a52b"
    assert names.job_id(b"a\nb") == "a-b-7e18f737311b2dc3"


@given(st.binary(max_size=120), st.binary(max_size=120))
def test_no_two_names_fall_together(one: bytes, other: bytes) -> None:
    for change in (names.queue_name, names.type_name, names.job_id):
        assert (change(one) == change(other)) == (one == other)
    assert _NAME.match(names.queue_name(one))
    assert _NAME.match(names.type_name(one))


def test_types_that_tocsin_has_handlers_for_are_not_taken_by_others() -> None:
    assert "email_notification" in names.BUILT_IN
    assert names.type_name(b"email_notification") == "bull.email_notification"
    assert names.type_name(b"bull.email_notification").startswith("bull.email_notification-")
    assert names.queue_name(b"email_notification") == "email_notification"


@pytest.mark.parametrize("job_id", ["1", "order 7/ü", "x" * 200, "repeat:abc:17"])
def test_an_id_that_fits_is_kept(job_id: str) -> None:
    assert names.job_id(job_id.encode()) == job_id


@pytest.mark.parametrize("job_id", [b"", b"x" * 201, "😀".encode() * 151, b"a\x7f", "a\x85".encode(), b"\xff"])
def test_an_id_that_does_not_fit_is_another(job_id: bytes) -> None:
    assert names.job_id(job_id).encode() != job_id


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("ü 1".encode(), "ü 1"),
        (b"a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        (b"\xff", "\\xff"),
        ("a\u202eb".encode(), "a\\u202eb"),
        (b"x" * 300, "x" * 200 + "…"),
    ],
)
def test_names_are_shown_without_what_moves_a_cursor(raw: bytes, text: str) -> None:
    assert names.shown(raw) == text
