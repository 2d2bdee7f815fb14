"""A cookie is opened by those who have its secret, in its time, and by nobody else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tocsin_server.web import sealing
from tocsin_server.web.sealing import Seal, secret_of

TOKEN = "tcs_" + "k" * 43
HOUR = timedelta(hours=1)


def test_any_server_with_the_same_secret_opens_it() -> None:
    one, two = Seal(lambda: b"secret", HOUR), Seal(lambda: b"secret", HOUR)
    cookie = one.sealed(TOKEN)
    assert two.opened(cookie) == TOKEN
    assert TOKEN not in cookie
    assert one.sealed(TOKEN) != cookie
    assert Seal(lambda: b"another", HOUR).opened(cookie) is None


@pytest.mark.parametrize("cookie", ["", "x", "é", "=" * 100, "A" * 10_000, "AAAA.BBBB", "\0"])
def test_what_is_no_cookie_of_ours_is_none(cookie: str) -> None:
    assert Seal(lambda: b"secret", HOUR).opened(cookie) is None


def test_each_changed_letter_is_seen() -> None:
    seal = Seal(lambda: b"secret", HOUR)
    cookie = seal.sealed(TOKEN)
    for at in range(len(cookie) - 1):  # the last letter has bits that say nothing
        other = "A" if cookie[at] != "A" else "B"
        assert seal.opened(cookie[:at] + other + cookie[at + 1 :]) is None


def test_it_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_900_000_000.0
    monkeypatch.setattr(sealing, "time", lambda: now)
    seal = Seal(lambda: b"secret", HOUR)
    cookie = seal.sealed(TOKEN)
    now += 3_599
    assert seal.opened(cookie) == TOKEN
    now += 2
    assert seal.opened(cookie) is None


def test_the_secret_of_a_file_is_that_of_its_tokens_in_any_order() -> None:
    assert secret_of(["b", "a"]) == secret_of(["a", "b"]) != secret_of(["a"])
    assert secret_of([]) == b""
