"""What providers' answers mean."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.messages.errors import Deferred, Refused
from tocsin_server.messages.sms.answers import trouble
from tocsin_server.messages.sms.forms import JsonForm, TwilioForm


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_no_time_and_too_many_are_tried_again(status: int) -> None:
    found = trouble("here", status, "30", b"{}", TwilioForm(), ())
    assert isinstance(found, Deferred)
    assert (found.retry_in, found.everyone) == (timedelta(seconds=30), True)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 451])
def test_all_else_is_final(status: int) -> None:
    assert isinstance(trouble("here", status, "30", b"{}", TwilioForm(), ()), Refused)


def test_the_providers_own_words_are_told_without_secrets_and_cut() -> None:
    said = b'{"code": 21211, "message": "no hush-hush\\r\\n such number", "status": 400}'
    assert str(trouble("here", 400, None, said, TwilioForm(), ("hush-hush",))) == (
        "here answers 400, error 21211: no *** such number"
    )
    assert str(trouble("here", 400, None, b'{"error": "no"}', JsonForm(), ())) == "here answers 400, no"
    assert len(str(trouble("here", 500, None, b'{"message": "' + b"x" * 9000 + b'"}', JsonForm(), ()))) < 300


@pytest.mark.parametrize("answer", [b"", b"<html>", b"\xff\xfe", b"[1]", b'"x"', b'{"message": [1]}', b"[" * 100_000])
def test_an_answer_that_cannot_be_read_is_told_by_its_status(answer: bytes) -> None:
    assert str(trouble("here", 400, None, answer, TwilioForm(), ())) == "here answers 400"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_repeats_nothing_that_the_provider_says(status: int) -> None:
    found = trouble("here", status, None, b'{"code": 1, "message": "Basic QUJD"}', TwilioForm(), ())
    assert str(found) == f"here refused sms.user, sms.password or the sender ({status})"
